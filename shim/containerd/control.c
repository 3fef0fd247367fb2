/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on a container as it runs: signals to all of it, pause and resume, limits, statistics. Kill and statistics need not wait until
 * nothing else is done to it: their answers look nothing up. */
#include <errno.h>

#include "base/err.h"
#include "base/str.h"
#include "containerd/op.h"
#include "containerd/publish.h"
#include "events.pb-c.h"
#include "spec/spec.h"

/* --- kill, pause, resume --------------------------------------------------------------------------------------------------------- */

static int kill_it(struct container *c, void *arg)
{
	return container_kill(c, *(int *)arg, true);
}

static int run_kill(void *arg, struct job_result *r)
{
	struct op *op = arg;
	(void)r;

	return op_with_container(op->task->id, kill_it, &op->signal);
}

static void replied(void *arg, struct job_result *r)
{
	struct op *op = arg;

	if (!op_failed(op, r))
		rpc_reply(op->call, NULL);
	free_pointer(&op);
}

void op_kill_all(struct task *t, int signal, struct rpc_call *call)
{
	struct op *op = op_new(t, call);

	op->signal = signal;
	op_run(op, run_kill, replied);
}

static int freeze_it(struct container *c, void *arg)
{
	return *(bool *)arg ? container_pause(c) : container_resume(c);
}

static int run_freeze(void *arg, struct job_result *r)
{
	struct op *op = arg;
	(void)r;

	return op_with_container(op->task->id, freeze_it, &op->pause);
}

static void frozen(void *arg, struct job_result *r)
{
	struct op *op = arg;
	struct task *t = op->task;
	Events__TaskPaused paused = EVENTS__TASK_PAUSED__INIT;
	Events__TaskResumed resumed = EVENTS__TASK_RESUMED__INIT;

	if (!op_failed(op, r)) {
		t->paused = op->pause;
		paused.container_id = resumed.container_id = t->id;
		if (op->pause)
			publish("/tasks/paused", "TaskPaused", &paused.base);
		else
			publish("/tasks/resumed", "TaskResumed", &resumed.base);
		rpc_reply(op->call, NULL);
	}
	task_end(t);
	free_pointer(&op);
}

void op_freeze(struct task *t, bool pause, struct rpc_call *call)
{
	struct op *op = op_new(t, call);

	op->pause = pause;
	op_run(op, run_freeze, frozen);
}

/* --- update, stats ---------------------------------------------------------------------------------------------------------------- */

static int update_it(struct container *c, void *arg)
{
	const struct spec_resources *r = arg;

	return container_update(c, &(struct oci_update){ .resources = r });
}

static int run_update(void *arg, struct job_result *r)
{
	struct op *op = arg;
	struct spec_resources limits = { 0 };
	struct arena arena = { 0 };
	const ProtobufCBinaryData *json = &op->q.resources->value;
	(void)r;

	int ret = spec_resources_parse(&arena, "resources", (const char *)json->data, json->len, &limits);
	return ret < 0 ? ret : op_with_container(op->task->id, update_it, &limits);
}

static void updated(void *arg, struct job_result *r)
{
	struct task *t = ((struct op *)arg)->task;

	replied(arg, r);
	task_end(t);
}

void op_update(struct task *t, const Wk__Any *resources, struct rpc_call *call)
{
	struct op *op = op_new(t, call);

	op->q.resources = resources;
	op_run(op, run_update, updated);
}

static int run_stats(void *arg, struct job_result *r)
{
	struct op *op = arg;

	return stats_collect(op->task->id, r);
}

static void stats_there(void *arg, struct job_result *r)
{
	struct op *op = arg;
	Task__StatsResponse a = TASK__STATS_RESPONSE__INIT;

	if (!op_failed(op, r)) {
		a.stats = wk__any__unpack(NULL, r->size, r->data);
		rpc_reply(op->call, &a.base);
		if (a.stats)
			wk__any__free_unpacked(a.stats, NULL);
	}
	free_pointer(&r->data);
	free_pointer(&op);
}

void op_stats(struct task *t, struct rpc_call *call)
{
	op_run(op_new(t, call), run_stats, stats_there);
}
