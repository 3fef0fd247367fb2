/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FILES_TIMERFD_H
#define FILES_TIMERFD_H

#include "files/kinds.h"

extern const struct file_kind timerfd_kind;

#endif
