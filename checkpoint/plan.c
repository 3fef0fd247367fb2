/* SPDX-License-Identifier: Apache-2.0 */
/* Planning the births of a tree.
 *
 * A session cannot be entered: a process makes one (setsid) or is born in its parent's. So a task with a session that is not its own
 * must be cloned by a process that is in that session at that moment:
 *
 * 1. by its parent, after the parent's setsid() (the parent leads the session) or if the parent never calls it;
 * 2. by its parent, before the parent's setsid() ("early": the parent left the session later);
 * 3. if its parent was never in that session, the task was an orphan that moved up. A sibling that is in the session makes it with
 *    CLONE_PARENT;
 * 4. or, when nobody is left in the session but orphans, a helper with the pid of the leader that has gone: a child of the parent, it
 *    calls setsid(), makes the orphans with CLONE_PARENT and ends.
 *
 * A task that leads its own session can be born anywhere, unless children of its own need the session it was born in (rule 2): then
 * it inherits their need. A session that needs more than this (an orphan of a living leader that is not its sibling) is refused. */
#include "plan.h"

#include <errno.h>

#include "base/err.h"

/* Is an ancestor of t in that session, so that t can be born in it? */
static bool session_above(const struct task *t, pid_t sid)
{
	for (const struct task *p = t->parent; p; p = p->parent)
		if (p->sid == sid)
			return true;
	return false;
}

pid_t plan_need(const struct task *t)
{
	if (t->sid != t->pid)
		return t->sid;
	for (size_t i = 0; i < t->children.n; i++) {
		pid_t need = plan_need(t->children.data[i]);
		if (need != PLAN_ANY && need != t->sid && session_above(t, need))
			return need;
	}
	return PLAN_ANY;
}

/* A child of p, other than t, that is in session sid by itself or by p. */
static struct task *sibling_in_session(const struct task *p, const struct task *t, pid_t sid)
{
	for (size_t i = 0; i < p->children.n; i++) {
		struct task *s = p->children.data[i];
		if (s != t && s->sid == sid && s->pid == sid)
			return s;
	}
	return NULL;
}

static int plan_child(struct restore *r, struct task *p, struct task *c)
{
	struct restore_task *rp = restore_task(p), *rc = restore_task(c);
	pid_t need = plan_need(c);

	rc->maker = p;
	rc->born_sid = p->sid;
	if (need == PLAN_ANY || need == p->sid)
		return 0;
	rc->born_sid = need;
	if (need == rp->born_sid) {
		rc->early = true;
		return 0;
	}
	rc->maker = sibling_in_session(p, c, need);
	if (rc->maker)
		return 0;
	if (!tree_find(r->tree, need)) {
		rc->helper = need;
		return 0;
	}
	return fail_text(ENOTSUP,
			 "task %d belongs to the session of task %d, which is neither its parent nor its sibling: this cannot be rebuilt yet",
			 c->pid, need);
}

int plan_births(struct restore *r)
{
	struct tree *tree = r->tree;

	for (size_t i = 0; i < tree->tasks.n; i++)
		tree->tasks.data[i]->priv = arena_new(r->arena, struct restore_task);
	struct task *root = tree_root(tree);
	if (root->sid != root->pid && !r->o->shell_job) {
		fail_text(EINVAL, "the root task %d is in session %d, which is not in the checkpoint", root->pid, root->sid);
		fail_hint("restore it as a job of this shell or program: --shell-job");
		return -EINVAL;
	}
	restore_task(root)->born_sid = root->sid == root->pid ? 0 : root->sid;
	for (size_t i = 0; i < tree->tasks.n; i++) {
		struct task *p = tree->tasks.data[i];
		for (size_t k = 0; k < p->children.n; k++) {
			int ret = plan_child(r, p, p->children.data[k]);
			if (ret < 0)
				return ret;
		}
	}
	return 0;
}

static bool pid_used(const struct tree *t, pid_t pid)
{
	for (size_t i = 0; i < t->tasks.n; i++) {
		const struct task *task = t->tasks.data[i];
		if (task->pgid == pid || task->sid == pid)
			return true;
		for (size_t k = 0; k < task->n_threads; k++)
			if (task->threads[k].tid == pid)
				return true;
	}
	return false;
}

pid_t plan_free_pid(const struct tree *t, pid_t after)
{
	do
		after++;
	while (pid_used(t, after));
	return after;
}
