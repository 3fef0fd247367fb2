/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_ROOTFS_H
#define OCI_ROOTFS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "spec/spec.h"

/* A container's root filesystem, built by init itself in its new mount namespace. Between rootfs_build() and rootfs_enter() the
 * host's tree is still there; afterwards only what the configuration asked for. */
struct rootfs {
	const struct spec *spec;
	const struct spec_pairs *cgroups;   /* for mounts of type cgroup */
	bool own_cgroup_namespace, no_pivot;
	int *trees;                         /* from rootfs_prepare(); may be NULL */
	int root;                           /* the container's root mount, O_PATH; -1 before rootfs_build() */
	ARRAY(int) read_only_later;         /* mounts that become read-only when everything below them is in place */
};

/* What the runtime does before it clones init: opens the bind mounts that init could not (idmap.c). One descriptor or -1 for each mount
 * of the configuration, to be freed with rootfs_prepared_free(), also after a failure. */
int rootfs_prepare(const struct spec *s, int **trees);
void rootfs_prepared_free(const struct spec *s, int **trees);
int rootfs_build(struct rootfs *r);
/* Makes it this process's root: pivot_root, old tree gone; read-only if the configuration says so; the directory is /. */
int rootfs_enter(struct rootfs *r);

/* Opens a path inside the container's root: no link or ".." leads out of it. flags as open(2). A descriptor or bare -errno. */
int rootfs_open(int root, const char *path, int flags);

/* Binds an open file to a path inside the root, which is made if it is missing. */
int rootfs_bind(int root, const char *path, int fd);

/* The mount options of the specification, for `features`: NULL-terminated when name is. */
struct mount_option {
	const char *name;
	enum { OPTION_ATTR, OPTION_ATTR_REC, OPTION_CLEAR, OPTION_CLEAR_REC, OPTION_PROPAGATION, OPTION_PROPAGATION_REC, OPTION_BIND,
		OPTION_FS, OPTION_CLASSIC, OPTION_REMOUNT, OPTION_COPY_UP, OPTION_IDMAP, OPTION_NONE } kind;
	uint64_t value;   /* OPTION_FS, OPTION_CLASSIC: mount(2)'s flag */
};
extern const struct mount_option mount_options[];

#endif
