/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_ROOTFS_INTERNAL_H
#define OCI_ROOTFS_INTERNAL_H

#include <fcntl.h>
#include <linux/limits.h>
#include <linux/mount.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "rootfs/rootfs.h"

/* The mount calls of 5.2 and 5.12 (the C library's header clashes with the kernel's, which is newer). -errno on failure. */
int sys_open_tree(int dir, const char *path, unsigned flags);
int sys_move_mount(int tree, int to_dir, const char *to);   /* to "": onto to_dir itself */
int sys_mount_setattr(int dir, const char *path, unsigned flags, uint64_t set, uint64_t clear, uint64_t propagation);
int sys_mount_idmap(int tree, bool recursive, int user_namespace);
int sys_fspick(int dir);   /* to configure what is mounted there again */
int sys_fsopen(const char *type);
int sys_fsconfig(int fs, unsigned command, const char *key, const char *value);
int sys_fsmount(int fs, unsigned attributes);

/* Paths inside the root. The directory, or the empty file, is made with all directories above it if it is missing; the result is
 * an O_PATH descriptor of it or -errno with the trail filled. rootfs_parent() makes and opens the directory above the path and
 * gives the last component. */
int rootfs_open_direct(int root, const char *path, int flags);   /* as rootfs_open(); -ELOOP if there is a link in the path */
int rootfs_directory(int root, const char *path);
int rootfs_file(int root, const char *path);
int rootfs_parent(int root, const char *path, char name[NAME_MAX + 1]);
/* Without "." and ".." and doubled slashes, "/" first. */
void rootfs_clean(char out[PATH_MAX], const char *path);

/* What the options of a mount say. */
struct mount_plan {
	bool bind, recursive, remount, copy_up, idmap, idmap_recursive;
	bool classic;           /* asks for something that only mount(2) does: flags */
	unsigned long flags;
	uint64_t set, clear, set_rec, clear_rec, propagation, propagation_rec;
	const char *data[64];   /* for the filesystem: "size=64k", "ro" … */
	size_t n_data;
};
/* mount(2)'s flag for one of those words, 0 for one that asks for the default; -ENOENT: it is a word of the filesystem's own. */
long mount_option_flag(const char *word);
int mount_plan_read(const struct spec_mount *m, struct mount_plan *p);

int rootfs_open_source(const struct spec *s, const struct spec_mount *m, const struct mount_plan *p);   /* a bind mount's tree, not attached */
uint64_t rootfs_propagation(const struct spec *s);   /* rootfsPropagation as MS_… */

/* attributes.c: as sys_mount_setattr(), by mount(2) where the kernel has only that; of mounts that are attached. */
int mount_set(int dir, const char *path, unsigned how, uint64_t set, uint64_t clear, uint64_t propagation);
int mount_set_options(int mount, const struct mount_plan *p, const char *what);   /* p's attributes; what: for the trail */
/* Attaches a detached tree with p's attributes to the mount point that was opened. */
int mount_attach(int tree, int target, const struct mount_plan *p, const char *what);
unsigned long mount_classic_flags(uint64_t attributes);   /* as mount(2) has them */
/* True for the few files of procfs over which a configuration may mount something (clean path). */
bool rootfs_may_cover(const char *path);
int rootfs_mount(struct rootfs *r, const struct spec_mount *m);
/* A new filesystem, not attached: its mount's descriptor, or -errno with the trail filled. */
int rootfs_new_fs(const char *type, const char *source, const struct mount_plan *p, const char *destination);
/* Copies what is in one directory to another, on another filesystem (copyup.c). */
int rootfs_copy_up(int from, int to, const struct mount_plan *p, const char *destination);
int rootfs_mount_cgroup(struct rootfs *r, const struct spec_mount *m, const struct mount_plan *p);
int rootfs_devices(struct rootfs *r);
int rootfs_mask(struct rootfs *r);
int rootfs_read_only_paths(struct rootfs *r);

#endif
