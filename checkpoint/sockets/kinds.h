/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SOCKETS_KINDS_H
#define SOCKETS_KINDS_H

#include "files/kinds.h"

extern const struct file_kind unix_kind, inet_kind;

/* "a netlink socket", for a socket that no kind takes. */
const char *socket_describe(const struct file_info *f);

#endif
