/* SPDX-License-Identifier: Apache-2.0 */
/* The contents of namespaces, one row a kind, saved and restored in this order; and the reading side of namespace ids. */
#include <errno.h>
#include <sched.h>
#include <string.h>

#include "base/err.h"
#include "ns/internal.h"

const struct ns_content ns_contents[] = {
	{ "pid", NSK_PID, pid_save, NULL },
	{ "time", NSK_TIME, time_save, NULL },
	{ "uts", NSK_UTS, uts_save, uts_restore },
	{ "ipc", NSK_IPC, ipc_save, ipc_restore },
	{ "net", NSK_NET, net_save, net_restore },
	{ "mount", NSK_MNT, mount_save, mount_restore },
	{ NULL },
};

static bool is_own(const struct dump *d, enum ns_kind kind)
{
	switch (kind) {
	case NSK_PID: return d->own_pid_ns;
	case NSK_UTS: return d->own_uts_ns;
	case NSK_IPC: return d->own_ipc_ns;
	case NSK_NET: return d->own_net_ns;
	case NSK_MNT: return d->own_mnt_ns;
	case NSK_TIME: return true;
	default: return false;
	}
}

int ns_save(struct dump *d)
{
	int r = 0;

	for (const struct ns_content *c = ns_contents; c->name && r >= 0; c++)
		if (is_own(d, c->kind))
			r = c->save(d, c->kind == NSK_TIME && !d->own_time_ns ? 0 : ns_id(d, c->kind));
	return r < 0 ? r : cgroup_save(d);
}

void ns_end(struct dump *d)
{
	cgroup_dump_end(d);   /* the rest is in the arena */
}

static uint32_t image_id(const TaskKobjIdsEntry *e, enum ns_kind kind)
{
	switch (kind) {
	case NSK_PID: return e->pid_ns_id;
	case NSK_NET: return e->net_ns_id;
	case NSK_IPC: return e->ipc_ns_id;
	case NSK_UTS: return e->uts_ns_id;
	case NSK_TIME: return e->time_ns_id;
	case NSK_MNT: return e->mnt_ns_id;
	case NSK_USER: return e->user_ns_id;
	case NSK_CGROUP: return e->cgroup_ns_id;
	default: return 0;
	}
}

static bool image_own(const struct restore *r, const struct task *t, enum ns_kind kind)
{
	return image_id(t->ids, kind) && image_id(t->ids, kind) != image_id(r->root_ids, kind);
}

static int check_same(struct restore *r, const struct task *t)
{
	const struct task *root = tree_root(r->tree);

	for (int k = 0; k < NSK_KINDS; k++)
		if (t->state != TASK_DEAD && image_id(t->ids, (enum ns_kind)k) != image_id(root->ids, (enum ns_kind)k))
			return fail_text(ENOTSUP, "task %d of the checkpoint has a %s namespace other than the root task's: not supported yet", t->pid,
					 ns_rows[k].proc);
	return 0;
}

int ns_read(struct restore *r)
{
	struct task *root = tree_root(r->tree);
	int ret = 0;

	if (!r->root_ids)
		return fail_text(EBADMSG, "inventory.img does not say which namespaces the dumping tool had");
	for (size_t i = 1; i < r->tree->tasks.n && ret >= 0; i++)
		ret = check_same(r, r->tree->tasks.data[i]);
	for (int k = 0; k < NSK_KINDS && ret >= 0; k++) {
		r->own_ns[k] = image_own(r, root, (enum ns_kind)k);
		if (r->own_ns[k] && k != NSK_TIME)
			r->clone_flags |= ns_rows[k].clone_flag;
	}
	if (ret >= 0)
		ret = net_read(r, root->ids->net_ns_id);
	if (ret < 0)
		return ret;
	if (r->own_ns[NSK_USER])
		return fail_text(ENOTSUP, "the checkpoint has a user namespace: not supported yet");
	if (!r->o->husk)
		ret = ns_join_read(r, root->ids);
	if (ret >= 0)
		ret = cgroup_read(r);
	return ret < 0 ? ret : time_read(r, r->own_ns[NSK_TIME] ? root->ids->time_ns_id : 0);
}

int ns_build(struct restore *r, struct task *root)
{
	return r->own_ns[NSK_MNT] && !r->o->husk ? mount_build(r, root, root->ids->mnt_ns_id) : 0;
}

void ns_restored(struct restore *r)
{
	ns_join_end(r);
	cgroup_end(r);
}

static bool wanted(const struct restore *r, enum ns_kind kind)
{
	return r->own_ns[kind] && !ns_joined(r, kind) && (r->o->husk || kind != NSK_MNT);
}

int ns_restore(struct restore *r, struct task *root)
{
	int ret = 0;

	for (const struct ns_content *c = ns_contents; c->name && ret >= 0; c++)
		if (c->restore && wanted(r, c->kind))
			ret = c->restore(r, root, image_id(root->ids, c->kind));
	return ret;
}

