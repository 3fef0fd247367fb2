/* SPDX-License-Identifier: Apache-2.0 */
/* The task service's questions. They are answered at once, whatever goes on in the container meanwhile (but statistics, for which a worker
 * reads dozens of files). */
#include "containerd/ask.h"

#include <string.h>
#include <unistd.h>

#include "containerd/ops.h"
#include "containerd/publish.h"
#include "options.pb-c.h"

struct task *service_task(struct rpc_call *call, const char *id)
{
	struct task *t = task_find(id);

	if (!t)
		rpc_error(call, RPC_NOT_FOUND, "container not created: %s: not found", id);
	return t;
}

struct process *service_process(struct rpc_call *call, const char *id, const char *exec_id)
{
	struct task *t = service_task(call, id);
	struct process *p = t ? process_find(t, exec_id) : NULL;

	if (t && !p)
		rpc_error(call, RPC_NOT_FOUND, "process %s of container %s does not exist: not found", exec_id, id);
	return p;
}

void ask_state(struct rpc_call *call, const ProtobufCMessage *message)
{
	const Task__StateRequest *q = (const void *)message;
	struct process *p = service_process(call, q->id, q->exec_id);
	Task__StateResponse a = TASK__STATE_RESPONSE__INIT;
	Wk__Timestamp at;

	if (!p)
		return;
	bool paused = !p->exec_id && (p->task->paused || p->task->serving) && p->status == TASK__STATUS__RUNNING;
	a.id = p->task->id;
	a.bundle = p->task->bundle;
	a.pid = (uint32_t)p->pid;
	a.status = paused ? TASK__STATUS__PAUSED : p->status;
	a.stdin = p->in;
	a.stdout = p->out;
	a.stderr = p->err;
	a.terminal = p->terminal;
	a.exit_status = p->exit_status;
	if (p->status == TASK__STATUS__STOPPED) {
		timestamp_fill(&at, &p->exited_at);
		a.exited_at = &at;
	}
	if (p->exec_id)
		a.exec_id = p->exec_id;
	rpc_reply(call, &a.base);
}

void ask_wait(struct rpc_call *call, const ProtobufCMessage *message)
{
	const Task__WaitRequest *q = (const void *)message;
	struct process *p = service_process(call, q->id, q->exec_id);

	if (p)
		process_wait(p, call);
}

/* Any of a process that was added: its exec_id. */
static void describe(const struct task *t, pid_t pid, Task__ProcessInfo *info, Wk__Any *any, uint8_t *data)
{
	Runc__ProcessDetails details = RUNC__PROCESS_DETAILS__INIT;
	static char type[] = "containerd.runc.v1.ProcessDetails";

	info->pid = (uint32_t)pid;
	for (const struct process *p = t->added; p; p = p->next)
		if (p->pid == pid && strlen(p->exec_id) < 200) {
			details.exec_id = p->exec_id;
			any->type_url = type;
			any->value.len = runc__process_details__pack(&details, data);
			any->value.data = data;
			info->info = any;
		}
}

void ask_pids(struct rpc_call *call, const ProtobufCMessage *message)
{
	const Task__PidsRequest *q = (const void *)message;
	struct task *t = service_task(call, q->id);
	Task__PidsResponse a = TASK__PIDS_RESPONSE__INIT;
	struct container *c;
	autofree pid_t *list = NULL;

	if (!t)
		return;
	ssize_t n = container_open(&shim.oci, t->id, &c);
	if (n == 0) {
		n = container_pids(c, &list);
		container_free(c);
	}
	if (n < 0) {
		rpc_fail(call, (int)n);
		return;
	}
	autofree Task__ProcessInfo *infos = mem_zalloc(((size_t)n + 1) * sizeof *infos), **links = mem_zalloc(((size_t)n + 1) * sizeof(void *));
	autofree Wk__Any *anys = mem_zalloc(((size_t)n + 1) * sizeof *anys);
	autofree uint8_t *data = mem_zalloc(((size_t)n + 1) * 256);
	for (ssize_t i = 0; i < n; i++) {
		task__process_info__init(links[i] = &infos[i]);
		wk__any__init(&anys[i]);
		describe(t, list[i], &infos[i], &anys[i], data + i * 256);
	}
	a.n_processes = (size_t)n;
	a.processes = links;
	rpc_reply(call, &a.base);
}

void ask_connect(struct rpc_call *call, const ProtobufCMessage *message)
{
	const Task__ConnectRequest *q = (const void *)message;
	struct task *t = task_find(q->id);
	Task__ConnectResponse a = TASK__CONNECT_RESPONSE__INIT;

	a.shim_pid = (uint32_t)getpid();
	a.task_pid = t ? (uint32_t)t->init.pid : 0;
	rpc_reply(call, &a.base);
}

void ask_stats(struct rpc_call *call, const ProtobufCMessage *message)
{
	const Task__StatsRequest *q = (const void *)message;
	struct task *t = service_task(call, q->id);

	if (t && (t->init.status == TASK__STATUS__STOPPED || !t->init.pid))
		rpc_error(call, RPC_NOT_FOUND, "container %s has no cgroup now: not found", q->id);
	else if (t && jobs_many())
		rpc_error(call, RPC_UNAVAILABLE, "too much is under way");
	else if (t)
		op_stats(t, call);
}
