/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FILES_EVENTPOLL_H
#define FILES_EVENTPOLL_H

#include "files/kinds.h"

extern const struct file_kind eventpoll_kind;

#endif
