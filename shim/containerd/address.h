/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CONTAINERD_ADDRESS_H
#define CONTAINERD_ADDRESS_H

/* Where shims listen, and who does. */

#define ADDRESS_DIR "/run/containerd/s"

/* The name of a group's socket: containerd's address, its namespace, the group. To be freed. */
char *address_path(const char *dir, const char *containerd, const char *ns, const char *group);
/* One at a time looks for shims and makes them in this directory, which is made: until the descriptor is closed. */
int address_lock(const char *dir);
/* A bound socket, for the shim to listen(2) at itself. -EADDRINUSE without a trail: a living shim has the name. With the lock. */
int address_bind(const char *path);
/* Waits, for so long at most, until a dead shim's workers have ended, too. Returns at once when the shim lives. */
void address_settle(const char *path, unsigned ms);
/* Removes the socket of a dead shim. With the lock. */
void address_remove(const char *path);

#endif
