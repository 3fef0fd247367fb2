/* SPDX-License-Identifier: Apache-2.0 */
/* An open file at a path of the container: a mount of that very file, whatever is at the names that led to it. */
#include "base/err.h"
#include "base/fd.h"
#include "rootfs/internal.h"

int rootfs_bind(int root, const char *path, int fd)
{
	autoclose int tree = sys_open_tree(fd, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
	if (tree < 0)
		return fail(-tree, "bind a file to %s: clone its mount", path);
	autoclose int target = rootfs_file(root, path);
	if (target < 0)
		return target;
	int r = sys_move_mount(tree, target, "");
	return r < 0 ? fail(-r, "bind a file to %s in the container", path) : 0;
}
