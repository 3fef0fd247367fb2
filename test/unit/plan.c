/* SPDX-License-Identifier: Apache-2.0 */
/* Who makes whom: births planned for trees of every shape of sessions. */
#include "plan.h"

#include <errno.h>

#include "base/err.h"
#include "harness.h"

static struct ck_restore_options options;
static struct restore r = { .o = &options };

static struct task *add(struct task *parent, pid_t pid, pid_t sid)
{
	if (!parent) {
		r.tree = tree_new();
		r.arena = &r.tree->arena;
	}
	struct task *t = tree_add(r.tree, parent, pid, 1);
	t->sid = sid;
	t->pgid = sid;
	return t;
}

static void children_of_a_leader(void)
{
	struct task *root = add(NULL, 1, 1), *a = add(root, 2, 1), *b = add(root, 3, 3), *c = add(b, 4, 3);

	CHECK_OK(plan_births(&r));
	CHECK(restore_task(a)->maker == root && !restore_task(a)->early);
	CHECK(restore_task(b)->maker == root && restore_task(c)->maker == b);
	tree_free(r.tree);
}

static void child_of_the_old_session_is_early(void)
{
	struct task *root = add(NULL, 1, 1), *a = add(root, 2, 2), *old = add(a, 3, 1), *new = add(a, 4, 2);

	CHECK_OK(plan_births(&r));
	CHECK(restore_task(old)->early && restore_task(old)->maker == a);
	CHECK(!restore_task(new)->early);
	CHECK_EQ(restore_task(a)->born_sid, 1);
	tree_free(r.tree);
}

static void need_goes_up_through_leaders(void)
{
	/* 3 leads a session of its own, but its child was born in 2's: 3 must be born there too */
	struct task *root = add(NULL, 1, 1), *a = add(root, 2, 2), *b = add(a, 3, 3), *c = add(b, 4, 2);

	CHECK_EQ(plan_need(b), 2);
	CHECK_OK(plan_births(&r));
	CHECK(!restore_task(b)->early && restore_task(c)->early);
	tree_free(r.tree);
}

static void orphan_of_a_dead_leader_gets_a_helper(void)
{
	struct task *root = add(NULL, 1, 1), *a = add(root, 20, 19), *b = add(root, 21, 19);

	CHECK_OK(plan_births(&r));
	CHECK_EQ(restore_task(a)->helper, 19);
	CHECK_EQ(restore_task(b)->helper, 19);
	tree_free(r.tree);
}

static void orphan_of_a_living_sibling_is_made_by_it(void)
{
	struct task *root = add(NULL, 1, 1), *a = add(root, 19, 19), *b = add(root, 21, 19);

	CHECK_OK(plan_births(&r));
	CHECK(restore_task(b)->maker == a && !restore_task(b)->helper);
	tree_free(r.tree);
}

static void orphan_of_a_distant_leader_is_refused(void)
{
	struct task *root = add(NULL, 1, 1), *a = add(root, 2, 1);

	add(a, 19, 19);
	add(root, 21, 19);
	CHECK_EQ(plan_births(&r), -ENOTSUP);
	CHECK_HAS(err_line(0), "task 21");
	tree_free(r.tree);
}

static void foreign_session_needs_shell_job(void)
{
	struct task *root = add(NULL, 50, 40), *a = add(root, 51, 40);

	CHECK_EQ(plan_births(&r), -EINVAL);
	CHECK_HAS(err_line(1), "--shell-job");
	options.shell_job = true;
	CHECK_OK(plan_births(&r));
	CHECK(restore_task(a)->maker == root);
	tree_free(r.tree);
}

static void free_pids(void)
{
	struct task *root = add(NULL, 1, 1);

	add(root, 3, 2);
	CHECK_EQ(plan_free_pid(r.tree, 0), 4);
	tree_free(r.tree);
}

const struct test tests[] = {
	TEST(children_of_a_leader),
	TEST(child_of_the_old_session_is_early),
	TEST(need_goes_up_through_leaders),
	TEST(orphan_of_a_dead_leader_gets_a_helper),
	TEST(orphan_of_a_living_sibling_is_made_by_it),
	TEST(orphan_of_a_distant_leader_is_refused),
	TEST(foreign_session_needs_shell_job),
	TEST(free_pids),
	{},
};
