/* SPDX-License-Identifier: Apache-2.0 */
/* The freezer cgroup of a container that is dumped.
 *
 * The engine stops tasks without it, which costs less. It matters when the group is frozen already (a paused container): no batch
 * can run in it. With cgroup2 a frozen task can be seized: the group is thawed when all stand. A task frozen by cgroup v1 never
 * reaches its ptrace stop: that group is thawed first. Either is frozen again before the tasks are let go, so that none goes on for a
 * moment; with v1 once more afterwards, since a group with a task that stood at the first time may be FREEZING for ever.
 *
 * In the group there may be processes that are not of the tree: they came in from outside (exec). Those of a frozen group are seized like the tree,
 * and stand while it is thawed: the files that belong to the checkpoint do not change.
 *
 * Not handled: with v1 a task goes on from the thaw until it is seized; processes that are not of the tree in groups below this one, or traced by
 * somebody else (a warning says so), go on meanwhile; a dump that is killed leaves the group thawed, and its tasks running. */
#define LOG_PREFIX "freezer"
#include "freezer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/proc.h"
#include "base/str.h"
#include "remote/remote.h"

#define PASSES_MAX 1000

static int freezer_read(const char *dir, const char *file, char *out, size_t size)
{
	autofree char *path = str_printf("%s/%s", dir, file), *text = NULL;
	ssize_t n = file_read(AT_FDCWD, path, &text, 65536);

	if (n < 0)
		return (int)n;
	snprintf(out, size, "%.*s", (int)strcspn(text, "\n"), text);
	return 0;
}

static int freezer_write(const char *dir, const char *file, const char *text)
{
	autofree char *path = str_printf("%s/%s", dir, file);
	int r = file_write(AT_FDCWD, path, text);

	return r < 0 ? fail(-r, "write %s to %s", text, path) : 0;
}

int freezer_look(struct dump *d)
{
	char state[32];

	if (!d->o->freeze_cgroup)
		return 0;
	if (freezer_read(d->o->freeze_cgroup, "cgroup.freeze", state, sizeof state) == 0) {
		d->freezer_v2 = true;
		d->was_frozen = !strcmp(state, "1");
		return 0;
	}
	int r = freezer_read(d->o->freeze_cgroup, "freezer.state", state, sizeof state);
	if (r < 0)
		return fail(-r, "%s is not a freezer cgroup", d->o->freeze_cgroup);
	d->was_frozen = strcmp(state, "THAWED") != 0;
	return 0;
}

int freezer_thaw(struct dump *d, bool v2)
{
	if (!d->was_frozen || d->freezer_v2 != v2)
		return 0;
	return v2 ? freezer_write(d->o->freeze_cgroup, "cgroup.freeze", "0") : freezer_write(d->o->freeze_cgroup, "freezer.state", "THAWED");
}

/* --- strangers ------------------------------------------------------------------------------------------------------------------ */

struct stranger {
	pid_t tid;
	struct remote *remote;
};
struct strangers {
	ARRAY(struct stranger) list;
};

static bool is_of_tree(const struct dump *d, long pid)
{
	for (size_t i = 0; i < d->tree->tasks.n; i++)
		if (d->tree->tasks.data[i]->host_pid == pid)
			return true;
	return false;
}

static int each_stranger(struct dump *d, int (*meet)(struct dump *d, pid_t pid, const struct proc_stat *st))
{
	autofree char *path = str_printf("%s/cgroup.procs", d->o->freeze_cgroup), *text = NULL;
	ssize_t n = file_read(AT_FDCWD, path, &text, 16u << 20);
	char *end;
	int r = 0;

	if (n < 0)
		return fail((int)-n, "read %s", path);
	for (char *at = text; *at && r >= 0; at = end + strspn(end, "\n")) {
		struct proc_stat st;
		long pid = strtol(at, &end, 10);
		if (end == at)
			break;
		if (pid > 0 && !is_of_tree(d, pid) && proc_stat_read((pid_t)pid, &st) == 0 && st.state != 'Z' && st.state != 'X')
			r = meet(d, (pid_t)pid, &st);
	}
	return r;
}

/* The end of the container would take it along unsaved. */
static int refuse(struct dump *d, pid_t pid, const struct proc_stat *st)
{
	(void)d;
	fail_text(EBUSY, "process %d (%s) is in the container but does not descend from its first process: it cannot be saved", pid, st->comm);
	fail_hint("it was brought in by exec: end it first, or leave the container running (--leave-running)");
	return -EBUSY;
}

static bool is_met(const struct strangers *s, pid_t tid)
{
	for (size_t i = 0; i < s->list.n; i++)
		if (s->list.data[i].tid == tid)
			return true;
	return false;
}

/* Its threads are on their way to their stops. What cannot be seized is noted all the same: it is not tried again. */
static int seize(struct dump *d, pid_t pid, const struct proc_stat *st)
{
	autofree int *tids = NULL;
	ssize_t n = proc_numbers(pid, "task", &tids);

	for (ssize_t i = 0; i < n; i++) {
		struct stranger new = { .tid = tids[i] };
		size_t mark = err_mark();
		if (is_met(d->strangers, tids[i]))
			continue;
		int r = remote_seize(tids[i], &new.remote);
		if (r < 0 && r != -ESRCH)
			log_warn("process %d (%s) goes on while the paused container is saved: %s", pid, st->comm, err_line(mark));
		err_rewind(mark);
		array_push(&d->strangers->list) = new;
	}
	return 0;
}

static int wait_for(struct dump *d, struct stranger *s)
{
	int signal, r = s->remote ? remote_wait_stop(s->remote, &signal, d->o->timeout) : 0;

	if (r == -ESRCH)
		remote_release(&s->remote, 0);
	return r == -ESRCH ? 0 : r;
}

/* Until a pass finds nobody new: with v1 they run, and may fork. */
static int hold(struct dump *d)
{
	d->strangers = arena_alloc(d->arena, sizeof *d->strangers);
	*d->strangers = (struct strangers){ 0 };
	for (int pass = 0; pass < PASSES_MAX; pass++) {
		size_t had = d->strangers->list.n;
		int r = each_stranger(d, seize);
		for (size_t i = had; i < d->strangers->list.n && r >= 0; i++)
			r = wait_for(d, &d->strangers->list.data[i]);
		if (r < 0 || d->strangers->list.n == had)
			return r;
	}
	return fail_text(EAGAIN, "processes in %s that were brought in by exec fork faster than they can be stopped", d->o->freeze_cgroup);
}

int freezer_strangers(struct dump *d)
{
	if (!d->o->freeze_cgroup)
		return 0;
	if (!d->o->leave_running)
		return each_stranger(d, refuse);
	return d->was_frozen ? hold(d) : 0;
}

void freezer_let_go(struct dump *d)
{
	for (size_t i = 0; d->strangers && i < d->strangers->list.n; i++)
		remote_release(&d->strangers->list.data[i].remote, 0);
	if (d->strangers)
		array_free(&d->strangers->list);
}

void freezer_end(struct dump *d)
{
	size_t mark = err_mark();

	if (d->was_frozen && d->freezer_v2)
		freezer_write(d->o->freeze_cgroup, "cgroup.freeze", "1");
	else if (d->was_frozen)
		freezer_write(d->o->freeze_cgroup, "freezer.state", "FROZEN");
	err_rewind(mark);
}
