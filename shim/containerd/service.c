/* SPDX-License-Identifier: Apache-2.0 */
/* The task service: containerd's requests about containers and their processes. What changes a container runs in a worker (ops.c); what only
 * asks is in ask.c. Versions 2 and 3 of the service have the same messages. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "events.pb-c.h"
#include "containerd/ask.h"
#include "containerd/ops.h"
#include "containerd/publish.h"
#include "containerd/sandbox.h"
#include "containerd/task.h"

#define IDLE_MS 30000     /* that a shim waits for its first container, or after its last */
#define DRAIN_MS 3000     /* that the end of the shim waits for containerd to take events */
#define OUTPUT_MS 10000   /* that Delete waits for output to be handed on */

/* --- create, start, exec --------------------------------------------------------------------------------------------------------- */

static void set_streams(struct process *p, const char *in, const char *out, const char *err, bool terminal)
{
	p->in = str_dup(in);
	p->out = str_dup(out);
	p->err = str_dup(err);
	p->terminal = terminal;
}

static int check_options(const Torpor__V1__Options *o, const Task__CreateTaskRequest *q)
{
	if (o->systemd_cgroup)
		return fail_text(ENOTSUP, "option systemd_cgroup: the systemd cgroup manager is not supported; set SystemdCgroup = false");
	if (*q->parent_checkpoint)
		return fail_text(ENOTSUP, "parent_checkpoint: a checkpoint knows its parent by itself");
	if (!*q->checkpoint && (o->lazy_pages || *o->page_server || o->tcp_close || o->n_map_address))
		return fail_text(EINVAL, "options lazy_pages, page_server, tcp_close and map_address are for a container that is created with a checkpoint");
	if (*o->binary_name)
		log_info("option binary_name %s is not used: this shim has the runtime in it", o->binary_name);
	if (*o->root)
		log_info("option root %s is not used: state is in %s", o->root, shim.oci.root);
	return 0;
}

static void create(struct rpc_call *call, const ProtobufCMessage *message)
{
	const Task__CreateTaskRequest *q = (const void *)message;

	if (shim.ending) {
		rpc_error(call, RPC_UNAVAILABLE, "the shim is ending");
		return;
	}
	if (task_find(q->id)) {
		rpc_error(call, RPC_EXISTS, "container %s: already exists", q->id);
		return;
	}
	Torpor__V1__Options *options = NULL;
	int r = options_runtime(q->options, &options);
	if (r == 0)
		r = check_options(options, q);
	if (r < 0) {
		if (options)
			torpor__v1__options__free_unpacked(options, NULL);
		rpc_fail(call, r);
		return;
	}
	struct task *t = mem_zalloc(sizeof *t);
	t->oom.fd = -1;
	t->id = str_dup(q->id);
	t->bundle = str_dup(q->bundle);
	t->busy = true;
	process_init(&t->init, t, NULL);
	set_streams(&t->init, q->stdin, q->stdout, q->stderr, q->terminal);
	t->options = options;
	t->stop_serving = -1;
	if (*q->checkpoint)
		t->checkpoint = str_dup(q->checkpoint);
	t->next = tasks;
	tasks = t;
	op_create(t, q, call);
}

static void start(struct rpc_call *call, const ProtobufCMessage *message)
{
	const Task__StartRequest *q = (const void *)message;
	struct task *t = service_task(call, q->id);

	if (!t || !task_begin(t, call, message, start))
		return;
	struct process *p = process_find(t, q->exec_id);
	if (!p)
		rpc_error(call, RPC_NOT_FOUND, "process %s of container %s does not exist: not found", q->exec_id, q->id);
	else if (p->exec_id && t->init.ended)
		rpc_error(call, RPC_PRECONDITION, "container %s: its init process is not running", t->id);
	else if (p->deleting)
		rpc_error(call, RPC_PRECONDITION, "the process is being deleted");
	else if (p->status != TASK__STATUS__CREATED)
		rpc_error(call, RPC_UNKNOWN, "cannot start a process that has been started");
	else {
		op_start(p, call);
		return;
	}
	task_end(t);
}

static void exec(struct rpc_call *call, const ProtobufCMessage *message)
{
	const Task__ExecProcessRequest *q = (const void *)message;
	struct task *t = service_task(call, q->id);
	Events__TaskExecAdded event = EVENTS__TASK_EXEC_ADDED__INIT;

	if (!t)
		return;
	if (!*q->exec_id || !q->spec || !q->spec->value.len) {
		rpc_error(call, RPC_INVALID, "exec: it takes an exec_id and a process");
		return;
	}
	if (process_find(t, q->exec_id)) {
		rpc_error(call, RPC_EXISTS, "process %s: already exists", q->exec_id);
		return;
	}
	if (t->init.ended || t->paused || t->serving) {
		rpc_error(call, RPC_UNKNOWN, "cannot exec in a %s container", !t->init.ended ? "paused" : "stopped");
		return;
	}
	struct process *p = mem_zalloc(sizeof *p);
	process_init(p, t, q->exec_id);
	set_streams(p, q->stdin, q->stdout, q->stderr, q->terminal);
	p->spec = mem_dup(q->spec->value.data, q->spec->value.len);
	p->spec_size = q->spec->value.len;
	p->next = t->added;
	t->added = p;
	event.container_id = t->id;
	event.exec_id = p->exec_id;
	publish("/tasks/exec-added", "TaskExecAdded", &event.base);
	rpc_reply(call, NULL);
}

/* --- delete --------------------------------------------------------------------------------------------------------------------- */

static void remove_process(struct process *p)
{
	struct process **link = &p->task->added;

	while (*link && *link != p)
		link = &(*link)->next;
	if (*link)
		*link = p->next;
	process_free(p);
	free_pointer(&p);
}

static void reply_deleted(struct process *p, struct rpc_call *call)
{
	Task__DeleteResponse a = TASK__DELETE_RESPONSE__INIT;
	Wk__Timestamp at;

	timestamp_fill(&at, &p->exited_at);
	a.pid = (uint32_t)p->pid;
	a.exit_status = p->exit_status;
	a.exited_at = &at;
	rpc_reply(call, &a.base);
}

static void tell_deleted(const struct process *p)
{
	Events__TaskDelete event = EVENTS__TASK_DELETE__INIT;
	Wk__Timestamp at;

	timestamp_fill(&at, &p->exited_at);
	event.container_id = p->task->id;
	event.pid = (uint32_t)p->pid;
	event.exit_status = p->exit_status;
	event.exited_at = &at;
	publish("/tasks/delete", "TaskDelete", &event.base);
}

void service_finish_delete(struct process *p)
{
	struct rpc_call *call = p->deleting;
	struct task *t = p->task;
	bool is_init = !p->exec_id;

	p->deleting = NULL;
	if (is_init)
		tell_deleted(p);
	reply_deleted(p, call);
	if (is_init)
		task_free(t);
	else
		remove_process(p);
}

static void output_done(void *arg)
{
	struct process *p = arg;

	if (p->exec_id)
		service_finish_delete(p);
	else
		op_delete(p->task);
}

/* Of a task: nothing else happens to it then. An added process may take its time, and the task goes on. */
static void delete_process(struct rpc_call *call, const ProtobufCMessage *message)
{
	const Task__DeleteRequest *q = (const void *)message;
	struct process *p = service_process(call, q->id, q->exec_id);

	if (!p || (!p->exec_id && !task_begin(p->task, call, message, delete_process)))
		return;
	if (p->status == TASK__STATUS__RUNNING || p->starting || p->deleting) {
		rpc_error(call, RPC_PRECONDITION, p->deleting ? "the process is being deleted" : "cannot delete a running process");
		if (!p->exec_id)
			task_end(p->task);
		return;
	}
	p->deleting = call;
	p->patience = (struct loop_timer){ .fire = output_done, .arg = p };
	loop_after(&p->patience, p->status == TASK__STATUS__STOPPED && p->io && !stdio_idle(p->io) ? OUTPUT_MS : 0);
}

/* --- the others ------------------------------------------------------------------------------------------------------------------ */

static void kill_process(struct rpc_call *call, const ProtobufCMessage *message)
{
	const Task__KillRequest *q = (const void *)message;
	struct process *p = service_process(call, q->id, q->exec_id);

	if (!p)
		return;
	if (!p->pid && p->status == TASK__STATUS__CREATED && !p->exec_id && p->task->checkpoint) {
		rpc_error(call, RPC_PRECONDITION, "container %s has not been restored", q->id);
		return;
	}
	if (p->ended || !p->pid) {
		rpc_error(call, RPC_NOT_FOUND, "process already finished: not found");
		return;
	}
	bool whole = !p->exec_id && (q->all || (q->signal == SIGKILL && p->task->paused));   /* a frozen v1 cgroup holds it back */
	if (whole && jobs_many()) {
		rpc_error(call, RPC_UNAVAILABLE, "too much is under way");
		return;
	}
	if (whole) {
		op_kill_all(p->task, (int)q->signal, call);
		return;
	}
	if (kill(p->pid, (int)q->signal) < 0)
		rpc_error(call, errno == ESRCH ? RPC_NOT_FOUND : RPC_UNKNOWN, "signal %u to process %d: %s", q->signal, p->pid, strerror(errno));
	else
		rpc_reply(call, NULL);
}

static void resize(struct rpc_call *call, const ProtobufCMessage *message)
{
	const Task__ResizePtyRequest *q = (const void *)message;
	struct process *p = service_process(call, q->id, q->exec_id);

	if (!p)
		return;
	int r = p->io ? stdio_resize(p->io, q->width, q->height) : 0;
	if (r < 0)
		rpc_fail(call, r);
	else
		rpc_reply(call, NULL);
}

static void close_io(struct rpc_call *call, const ProtobufCMessage *message)
{
	const Task__CloseIORequest *q = (const void *)message;
	struct process *p = service_process(call, q->id, q->exec_id);

	if (!p)
		return;
	if (q->stdin && p->io)
		stdio_close_in(p->io);
	rpc_reply(call, NULL);
}

static void change_freeze(struct rpc_call *call, const ProtobufCMessage *message, const char *id, bool pause,
	void (*self)(struct rpc_call *call, const ProtobufCMessage *request))
{
	struct task *t = service_task(call, id);

	if (!t || (!pause && op_give_up(t, call)) || !task_begin(t, call, message, self))
		return;
	if (t->init.status != TASK__STATUS__RUNNING || t->paused == pause) {
		rpc_error(call, RPC_UNKNOWN, "cannot %s a container that is %s", pause ? "pause" : "resume",
			t->init.status != TASK__STATUS__RUNNING ? "not running" : pause ? "paused" : "running");
		task_end(t);
		return;
	}
	op_freeze(t, pause, call);
}

static void pause_task(struct rpc_call *call, const ProtobufCMessage *message)
{
	change_freeze(call, message, ((const Task__PauseRequest *)(const void *)message)->id, true, pause_task);
}

static void resume_task(struct rpc_call *call, const ProtobufCMessage *message)
{
	change_freeze(call, message, ((const Task__ResumeRequest *)(const void *)message)->id, false, resume_task);
}

static void checkpoint(struct rpc_call *call, const ProtobufCMessage *message)
{
	const Task__CheckpointTaskRequest *q = (const void *)message;
	struct task *t = service_task(call, q->id);

	if (!t || !task_begin(t, call, message, checkpoint))
		return;
	if (t->init.status != TASK__STATUS__RUNNING) {
		rpc_error(call, RPC_UNKNOWN, "cannot checkpoint a container that is not running");
		task_end(t);
		return;
	}
	op_checkpoint(t, q, call);
}

static void update(struct rpc_call *call, const ProtobufCMessage *message)
{
	const Task__UpdateTaskRequest *q = (const void *)message;
	struct task *t = service_task(call, q->id);

	if (!t || !task_begin(t, call, message, update))
		return;
	if (q->resources && t->init.status != TASK__STATUS__STOPPED) {
		op_update(t, q->resources, call);
		return;
	}
	if (q->resources)
		rpc_error(call, RPC_UNKNOWN, "cannot update a container that is not running");
	else
		rpc_error(call, RPC_INVALID, "update: no resources are given");
	task_end(t);
}

static void shutdown_done(void)
{
	loop_end();
}

void service_end(void)
{
	if (shim.ending)
		return;
	shim.ending = true;
	unlink(shim.socket);   /* from here on the next shim of this group may have the name */
	server_refuse();
	publish_drain(DRAIN_MS, shutdown_done);
}

/* The name goes before the answer: whoever has that may start the next of this group at once, and is not to find a shim that ends. */
void service_shutdown(struct rpc_call *call)
{
	if (!tasks && !sandbox_exists())
		service_end();
	rpc_reply(call, NULL);
}

static void has_been_idle(void *arg)
{
	(void)arg;
	if (tasks || sandbox_exists() || shim.ending)
		return;
	log_info("nobody has needed this shim for %d seconds", IDLE_MS / 1000);
	service_end();
}

/* containerd may have been killed before it asked for a container, or before it said that this shim is to end. Old ones never come back to
 * that. */
void service_idle(void)
{
	shim.idle.fire = has_been_idle;
	loop_after(&shim.idle, IDLE_MS);
}

static void shutdown_shim(struct rpc_call *call, const ProtobufCMessage *message)
{
	(void)message;
	service_shutdown(call);
}

#define METHODS(service)                                                               \
	{ service, "State", &task__state_request__descriptor, ask_state },                 \
	{ service, "Create", &task__create_task_request__descriptor, create },         \
	{ service, "Start", &task__start_request__descriptor, start },                 \
	{ service, "Delete", &task__delete_request__descriptor, delete_process },              \
	{ service, "Pids", &task__pids_request__descriptor, ask_pids },                    \
	{ service, "Pause", &task__pause_request__descriptor, pause_task },            \
	{ service, "Resume", &task__resume_request__descriptor, resume_task },         \
	{ service, "Checkpoint", &task__checkpoint_task_request__descriptor, checkpoint }, \
	{ service, "Kill", &task__kill_request__descriptor, kill_process },            \
	{ service, "Exec", &task__exec_process_request__descriptor, exec },            \
	{ service, "ResizePty", &task__resize_pty_request__descriptor, resize },       \
	{ service, "CloseIO", &task__close_iorequest__descriptor, close_io },          \
	{ service, "Update", &task__update_task_request__descriptor, update },         \
	{ service, "Wait", &task__wait_request__descriptor, ask_wait },                \
	{ service, "Stats", &task__stats_request__descriptor, ask_stats },                 \
	{ service, "Connect", &task__connect_request__descriptor, ask_connect },   \
	{ service, "Shutdown", &task__shutdown_request__descriptor, shutdown_shim }

const struct rpc_method task_methods[] = { METHODS("containerd.task.v3.Task"), METHODS("containerd.task.v2.Task"), { 0 } };
