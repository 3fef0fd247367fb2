/* SPDX-License-Identifier: Apache-2.0 */
/* The mount calls that work on descriptors: fsopen, fspick, fsconfig, fsmount, open_tree, move_mount (5.2), mount_setattr (5.12). The C
 * library has wrappers in <sys/mount.h>, which cannot be included together with <linux/mount.h>: the constants are in the one
 * and the newest flags only in the other. */
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "rootfs/internal.h"

static int result(long r)
{
	return r < 0 ? -errno : (int)r;
}

int sys_open_tree(int dir, const char *path, unsigned flags)
{
	return result(syscall(SYS_open_tree, dir, path, flags | OPEN_TREE_CLOEXEC));
}

int sys_move_mount(int tree, int to_dir, const char *to)
{
	return result(syscall(SYS_move_mount, tree, "", to_dir, to, MOVE_MOUNT_F_EMPTY_PATH | (*to ? 0 : MOVE_MOUNT_T_EMPTY_PATH)));
}

int sys_mount_setattr(int dir, const char *path, unsigned flags, uint64_t set, uint64_t clear, uint64_t propagation)
{
	struct mount_attr a = { .attr_set = set, .attr_clr = clear, .propagation = propagation };
	return result(syscall(SYS_mount_setattr, dir, path, flags, &a, sizeof a));
}

int sys_mount_idmap(int tree, bool recursive, int user_namespace)
{
	struct mount_attr a = { .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)user_namespace };
	return result(syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &a, sizeof a));
}

int sys_fspick(int dir)
{
	return result(syscall(SYS_fspick, dir, "", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH));
}

int sys_fsopen(const char *type)
{
	return result(syscall(SYS_fsopen, type, FSOPEN_CLOEXEC));
}

int sys_fsconfig(int fs, unsigned command, const char *key, const char *value)
{
	return result(syscall(SYS_fsconfig, fs, command, key, value, 0));
}

int sys_fsmount(int fs, unsigned attributes)
{
	return result(syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attributes));
}
