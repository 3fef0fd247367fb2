/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FILES_EVENTFD_H
#define FILES_EVENTFD_H

#include "files/kinds.h"

extern const struct file_kind eventfd_kind;

#endif
