/* SPDX-License-Identifier: Apache-2.0 */
/* What a runtime asks of a checkpoint before it prepares the place for it. */
#include "checkpoint.h"

#include <errno.h>

#include "base/err.h"
#include "files/builder.h"
#include "inventory.h"
#include "ns/ns.h"

static int read_info(struct restore *r, struct ck_image_info *info)
{
	int ret = inventory_read(r);

	if (ret >= 0)
		ret = tree_read(r);
	if (ret >= 0)
		ret = ns_read(r);
	if (ret >= 0)
		ret = files_orphan_terminal(r, &info->terminal);
	if (ret < 0)
		return ret;
	info->root_pid = tree_root(r->tree)->pid;
	info->pid_ns = r->own_ns[NSK_PID];
	info->net_ns = r->own_ns[NSK_NET];
	info->ipc_ns = r->own_ns[NSK_IPC];
	info->uts_ns = r->own_ns[NSK_UTS];
	info->mnt_ns = r->own_ns[NSK_MNT];
	info->user_ns = r->own_ns[NSK_USER];
	info->cgroup_ns = r->own_ns[NSK_CGROUP];
	info->has_times = r->has_times;
	info->monotonic = r->monotonic;
	info->boottime = r->boottime;
	return 0;
}

int ck_image_info(const char *images_dir, struct ck_image_info *info)
{
	/* asked on behalf of a husk that does not exist yet */
	struct ck_restore_options o = { .images_dir = images_dir, .husk = -1 };
	struct restore r = { .o = &o };

	*info = (struct ck_image_info){ 0 };
	r.tree = tree_new();
	r.arena = &r.tree->arena;
	int ret = image_dir_open(images_dir, &r.images);
	if (ret >= 0)
		ret = read_info(&r, info);
	image_dir_free(r.images);
	tree_free(r.tree);
	return ret;
}
