/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FILES_PIDFD_H
#define FILES_PIDFD_H

#include "files/kinds.h"

extern const struct file_kind pidfd_kind;

#endif
