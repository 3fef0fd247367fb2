/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FILES_SIGNALFD_H
#define FILES_SIGNALFD_H

#include "files/kinds.h"

extern const struct file_kind signalfd_kind;

#endif
