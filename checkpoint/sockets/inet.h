/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SOCKETS_INET_H
#define SOCKETS_INET_H

#include "restore.h"

/* Before anything is made: the address map is read, connections are wanted, and the addresses of sockets are there (ready: so is the network
 * namespace that they will be in, the husk's or the caller's). */
int inet_check(struct restore *r, bool ready);
/* Engine side: the tasks run in a moment, connections go on. */
int inet_resume(struct restore *r);

#endif
