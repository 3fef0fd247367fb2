/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_INIT_SPAWN_H
#define OCI_INIT_SPAWN_H

#include <stdbool.h>
#include <sys/types.h>

#include "container/container.h"
#include "oci.h"
#include "spec/spec.h"

/* Making a container's init up to the point where it waits.
 *
 * oci_spawn_init() makes the cgroups, clones init into new namespaces and lets it build the root filesystem, hostname, sysctls.
 * Then, for create, it takes on the process's attributes and waits for start; for restore it stays root with all capabilities and
 * waits in read() on a socket, with no other descriptor open but 0, 1 and 2. It returns once init waits. On failure nothing is
 * left: init is dead and reaped, the cgroups are gone; the trail has init's own account. c->cgroups, c->joined and init's pid are
 * noted in c and saved. */
struct oci_spawn_options {
	const struct oci_create_options *create;   /* NULL: all defaults. Taken from it: no_pivot, no_new_keyring, preserve_fds, console_socket */
	bool restore;
	pid_t set_pid;                   /* pid in the innermost pid namespace; 0: the kernel chooses */
	/* Run in the caller around the clone. before_clone may unshare(CLONE_NEWTIME) and write the offsets (a time namespace is
	 * then not made by the clone itself); after_clone runs whenever before_clone succeeded, also when the clone failed. */
	int (*before_clone)(void *arg);
	int (*network_made)(void *arg, pid_t init);   /* before devices and hooks get at its network namespace */
	int (*after_clone)(void *arg);
	void *arg;
	/* Restore only: the caller's end of the socket on which init waits. Init exits when it is closed (the caller died). */
	int *park_fd;
	int terminal;                    /* restore: the number that the terminal must have; -1: any */
	int *console;                    /* restore: gets its other end; nobody has been given it */
};

int oci_spawn_init(struct container *c, const struct spec *s, const struct oci_spawn_options *o, pid_t *host_pid);
/* Undoes a successful oci_spawn_init(): kills and reaps what is in the cgroups, init included, and removes them. */
int oci_spawn_undo(struct container *c);

#endif
