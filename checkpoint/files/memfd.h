/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FILES_MEMFD_H
#define FILES_MEMFD_H

#include "files/kinds.h"

extern const struct file_kind memfd_kind;

#endif
