/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_CONTAINER_H
#define OCI_CONTAINER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/str.h"
#include "oci.h"
#include "spec/spec.h"

/* A container as its state directory ROOT/ID has it. The files there:
 *
 *   state.json    what is below, replaced atomically by container_save()
 *   config.json   the bundle's configuration as it was at create (container_spec() reads it back)
 *   start         socket on which init waits for start; without it, or when init has executed a program, a living init means running
 *
 * and whatever create puts beside them: container_remove() takes the whole directory. Strings belong to the container's
 * arena: assign what container_str() or arena_*(&c->arena, …) returned.
 *
 * Locking: one command at a time changes a container. The lock is a flock() on the directory itself, so it needs no file and
 * goes with its holder. It is the open description that holds it: a child that keeps c->dir_fd open keeps the lock, hence
 * everything that init inherits must be closed before it waits (the descriptor is CLOEXEC). container_unlock() releases it
 * for all copies. oci_create(), oci_start(), oci_restore() and oci_checkpoint() return with the container unlocked. */
#define CONTAINER_START_SOCKET "start"

struct container {
	struct arena arena;
	char *root, *id, *dir;          /* dir: ROOT/ID */
	int dir_fd;
	int late_fd;                    /* to be closed when nobody waits: that takes a while (init/exe.c); or -1 */
	bool locked;

	/* state.json */
	char *oci_version, *bundle, *config, *rootfs, *created, *owner;   /* created: RFC 3339 UTC with nanoseconds */
	pid_t pid;                      /* of init in the host's numbering; 0: not made yet */
	uint64_t pid_start;             /* its start time (clock ticks since boot): tells it from a later process of that number */
	struct spec_pairs annotations;
	/* Where its processes are: hierarchy as /proc/PID/cgroup names it ("memory", "cpu,cpuacct", "name=systemd", "" on v2) and
	 * the absolute host path of its directory. Filled by create, in the order in which they were made. */
	struct spec_pairs cgroups;
	struct spec_pairs resctrl;      /* Intel RDT groups that were made for it (cgroup/rdt.h) */
	/* Namespaces that were joined rather than made: kind as in the specification ("network") and path. */
	struct spec_pairs joined;
	char *descriptors[3];           /* link targets of stdin, stdout and stderr at create: "/dev/null", "pipe:[123]" */
	bool restored;                  /* rebuilt from a checkpoint */
	bool no_new_keyring;            /* its processes keep the session keyring of the caller */
	bool private_pid;               /* has a pid namespace of its own: all its processes go with init */
	bool poststart, poststop;       /* its configuration has such hooks */
};

/* Checks the id and makes the state directory with its files, or fails with "container with given ID already exists". The
 * container comes back locked, without init and cgroups. */
int container_new(const char *root, const char *id, const struct spec *spec, struct container **out);
/* Writes state.json. */
int container_save(struct container *c);
/* Takes the state directory away (not processes, not cgroups). A missing one is success. */
int container_remove(struct container *c);
/* Waits for the other command that works on the container, a minute at most. -ENOENT: it was deleted meanwhile. Fields are read
 * again from state.json, as that command may have changed them. */
int container_lock(struct container *c);
void container_unlock(struct container *c);
/* Takes note of init: its pid and start time (which container_save() then writes). */
int container_set_init(struct container *c, pid_t pid);
/* A pidfd of init if it still is the process that create made and has not ended; -ESRCH otherwise. */
int container_init_pidfd(struct container *c);
/* Appends to one of the pair lists of c. */
void container_add_pair(struct container *c, struct spec_pairs *list, const char *key, const char *value);
char *container_str(struct container *c, const char *s);   /* a copy in its arena; NULL for NULL */
/* The configuration at create, to be freed with spec_free(). */
int container_spec(struct container *c, struct spec **out);
/* True for letters, digits and "_+-." but not "." or "..", at most 255 bytes. */
bool container_id_valid(const char *id);
/* The document of `state` as one value of a larger text. */
struct json_out;
void container_describe(struct container *c, struct json_out *o);

#endif
