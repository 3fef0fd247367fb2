/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FILES_PIPE_H
#define FILES_PIPE_H

#include "files/kinds.h"

extern const struct file_kind pipe_kind;

#endif
