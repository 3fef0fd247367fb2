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

#include <stdio.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "dump.h"
#include "network_lock.h"
#include "ns/ns.h"
#include "restore.h"

static const char *const names[CK_ACTIONS] = {
	[CK_PRE_DUMP] = "pre-dump", [CK_NETWORK_LOCK] = "network-lock", [CK_POST_DUMP] = "post-dump", [CK_NETWORK_UNLOCK] = "network-unlock",
	[CK_PRE_RESTORE] = "pre-restore", [CK_SETUP_NAMESPACES] = "setup-namespaces",
	[CK_POST_SETUP_NAMESPACES] = "post-setup-namespaces", [CK_POST_RESTORE] = "post-restore", [CK_PRE_RESUME] = "pre-resume",
	[CK_POST_RESUME] = "post-resume", [CK_STATUS_READY] = "status-ready",
};

const char *ck_action_name(enum ck_action action)
{
	return names[action];
}

int action_run(const struct ck_actions *actions, enum ck_action action, const struct image_dir *images, pid_t root)
{
	char path[64];

	if (!actions)
		return 0;
	snprintf(path, sizeof path, "/proc/%d/fd/%d", getpid(), images->fd);
	log_debug("%s", names[action]);
	return actions->run(actions->arg, &(struct ck_action_event){ .action = action, .images = path, .root = root });
}

int action_dump_begin(void *ctx)
{
	struct dump *d = ctx;

	return action_run(d->o->actions, CK_PRE_DUMP, d->images, d->o->pid);
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
