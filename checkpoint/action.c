/* SPDX-License-Identifier: Apache-2.0 */
/* The points of a dump and a restore at which others have something to do: programs of an administrator's (hooks/), or the client of an
 * RPC connection. Names, order and what an error means are CRIU's (criu(8), --action-script).
 *
 * In a dump with actions the tree stands until post-dump is over: a script may copy what the images do not have, a file system for
 * one. network-lock and network-unlock are network_lock.c's.
 *
 * The engine waits for each action. An action must leave the tasks alone. */
#define LOG_PREFIX "action"
#include "action.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "dump.h"
#include "files/builder.h"
#include "network_lock.h"
#include "ns/ns.h"
#include "restore.h"

static const char *const names[CK_ACTIONS] = {
	[CK_PRE_DUMP] = "pre-dump", [CK_NETWORK_LOCK] = "network-lock", [CK_POST_DUMP] = "post-dump", [CK_NETWORK_UNLOCK] = "network-unlock",
	[CK_PRE_RESTORE] = "pre-restore", [CK_SETUP_NAMESPACES] = "setup-namespaces",
	[CK_POST_SETUP_NAMESPACES] = "post-setup-namespaces", [CK_POST_RESTORE] = "post-restore", [CK_PRE_RESUME] = "pre-resume",
	[CK_POST_RESUME] = "post-resume", [CK_STATUS_READY] = "status-ready", [CK_QUERY_EXT_FILES] = "query-ext-files",
	[CK_ORPHAN_PTS_MASTER] = "orphan-pts-master",
};

const char *ck_action_name(enum ck_action action)
{
	return names[action];
}

static int run(const struct ck_actions *actions, const struct image_dir *images, struct ck_action_event event)
{
	char path[64];

	if (!actions)
		return 0;
	snprintf(path, sizeof path, "/proc/%d/fd/%d", getpid(), images->fd);
	log_debug("%s", names[event.action]);
	event.images = path;
	return actions->run(actions->arg, &event);
}

int action_run(const struct ck_actions *actions, enum ck_action action, const struct image_dir *images, pid_t root)
{
	return run(actions, images, (struct ck_action_event){ .action = action, .root = root, .fd = -1 });
}

int action_dump_begin(void *ctx)
{
	struct dump *d = ctx;

	return action_run(d->o->actions, CK_PRE_DUMP, d->images, d->o->pid);
}

static size_t count(const char *const *list)
{
	size_t n = 0;

	while (list && list[n])
		n++;
	return n;
}

int action_dump_query(void *ctx)
{
	struct dump *d = ctx;
	const char *const *more = NULL;
	int r = run(d->o->actions, d->images, (struct ck_action_event){ .action = CK_QUERY_EXT_FILES, .root = d->o->pid, .fd = -1, .external = &more });
	size_t had = count(d->o->external), n = count(more);

	if (r < 0 || !n)
		return r;
	const char **all = arena_array(d->arena, const char *, had + n + 1);
	for (size_t i = 0; i < had + n; i++)
		all[i] = i < had ? d->o->external[i] : more[i - had];
	d->own_options.external = all;
	return 0;
}

int action_dump_end(void *ctx)
{
	struct dump *d = ctx;

	return action_run(d->o->actions, CK_POST_DUMP, d->images, d->o->pid);
}

int action_restore_begin(void *ctx)
{
	struct restore *r = ctx;

	return action_run(r->o->actions, CK_PRE_RESTORE, r->images, 0);
}

static int in_namespaces(struct restore *r, enum ck_action action)
{
	bool any = false;

	for (int i = 0; i < NSK_KINDS; i++)
		any |= r->own_ns[i];
	return any ? action_run(r->o->actions, action, r->images, tree_root(r->tree)->host_pid) : 0;
}

int action_restore_made(void *ctx)
{
	return in_namespaces(ctx, CK_SETUP_NAMESPACES);
}

int action_restore_terminals(void *ctx)
{
	struct restore *r = ctx;
	int ret = 0;

	for (uint32_t i = 0; r->o->orphan_pts_master && ret >= 0; i++) {
		autoclose int fd = builder_orphan_master(r, i);
		if (fd < 0)
			return fd == -ENOENT ? 0 : fd;
		ret = run(r->o->actions, r->images,
			  (struct ck_action_event){ .action = CK_ORPHAN_PTS_MASTER, .root = tree_root(r->tree)->host_pid, .fd = fd });
	}
	return ret;
}

int action_restore_filled(void *ctx)
{
	return in_namespaces(ctx, CK_POST_SETUP_NAMESPACES);
}

/* What has no say any more is only logged. */
static void tell(struct restore *r, enum ck_action action)
{
	size_t mark = err_mark();

	if (action_run(r->o->actions, action, r->images, tree_root(r->tree)->host_pid) < 0)
		log_warn("%s: %s", names[action], err_line(mark) ? err_line(mark) : "failed");
	err_rewind(mark);
}

int action_restore_end(void *ctx)
{
	struct restore *r = ctx;
	pid_t root = tree_root(r->tree)->host_pid;
	int ret = action_run(r->o->actions, CK_POST_RESTORE, r->images, root);

	if (ret >= 0)
		ret = net_lock_restore_scripts(r);
	if (ret >= 0 && r->o->actions)
		tell(r, CK_PRE_RESUME);
	return ret;
}

void action_restore_runs(void *ctx)
{
	struct restore *r = ctx;

	if (r->o->actions)
		tell(r, CK_POST_RESUME);
}
