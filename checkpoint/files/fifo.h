/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FILES_FIFO_H
#define FILES_FIFO_H

#include "files/kinds.h"

extern const struct file_kind fifo_kind;

#endif
