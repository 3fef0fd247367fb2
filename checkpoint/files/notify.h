/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FILES_NOTIFY_H
#define FILES_NOTIFY_H

#include "files/kinds.h"

extern const struct file_kind inotify_kind, fanotify_kind;

#endif
