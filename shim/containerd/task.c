/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks and their processes, and how they end.
 *
 * Every process of a container that engines know of is our child, or comes to us as an orphan. Its end is told (an event, answers to Wait)
 * under three rules: not before its start was told; init's last of all the task's; once. When init ends, a container with a pid
 * namespace of its own loses its other processes by the kernel; of another they are killed here, by a worker. */
#include "containerd/task.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "events.pb-c.h"
#include "containerd/publish.h"

struct task *tasks;

/* Ends of children that nobody has claimed so far: one of them may be a process whose pid a worker is about to tell. */
struct early {
	pid_t pid;
	int status;
	struct timespec at;
	uint64_t serial;
};
static ARRAY(struct early) early;
static uint64_t n_ends;
#define EARLY_MAX 65536

uint64_t task_ends_so_far(void)
{
	return n_ends;
}

struct task *task_find(const char *id)
{
	struct task *t = tasks;

	while (t && strcmp(t->id, id) != 0)
		t = t->next;
	return t;
}

struct process *process_find(struct task *t, const char *exec_id)
{
	struct process *p = t->added;

	if (!*exec_id)
		return &t->init;
	while (p && strcmp(p->exec_id, exec_id) != 0)
		p = p->next;
	return p;
}

void process_init(struct process *p, struct task *t, const char *exec_id)
{
	p->task = t;
	p->exec_id = exec_id ? str_dup(exec_id) : NULL;
	p->status = TASK__STATUS__CREATED;
}

/* --- answers to Wait --------------------------------------------------------------------------------------------------------- */

static void answer_wait(const struct process *p, struct rpc_call *call)
{
	Task__WaitResponse response = TASK__WAIT_RESPONSE__INIT;
	Wk__Timestamp at;

	timestamp_fill(&at, &p->exited_at);
	response.exit_status = p->exit_status;
	response.exited_at = &at;
	rpc_reply(call, &response.base);
}

void process_wait(struct process *p, struct rpc_call *call)
{
	if (p->status == TASK__STATUS__STOPPED)
		answer_wait(p, call);
	else
		rpc_park(&p->waiters, call);
}

static void answer_waiters(struct process *p)
{
	for (struct rpc_call *call; (call = rpc_unpark(&p->waiters));)
		answer_wait(p, call);
}

/* --- ends ---------------------------------------------------------------------------------------------------------------------- */

static void tell_exit(struct process *p)
{
	Events__TaskExit event = EVENTS__TASK_EXIT__INIT;
	Wk__Timestamp at;

	p->status = TASK__STATUS__STOPPED;
	timestamp_fill(&at, &p->exited_at);
	event.container_id = p->task->id;
	event.id = p->exec_id ? p->exec_id : p->task->id;
	event.pid = (uint32_t)p->pid;
	event.exit_status = p->exit_status;
	event.exited_at = &at;
	publish("/tasks/exit", "TaskExit", &event.base);
	answer_waiters(p);
}

static bool others_run(const struct task *t)
{
	for (const struct process *p = t->added; p; p = p->next)
		if ((p->pid || p->starting) && p->status != TASK__STATUS__STOPPED)
			return true;
	return false;
}

static int kill_rest(void *arg, struct job_result *r)
{
	const struct task *t = arg;
	struct container *c;
	int ret = container_open(&shim.oci, t->id, &c);
	(void)r;

	if (ret < 0)
		return ret;
	ret = container_kill(c, SIGKILL, true);
	container_free(c);
	return ret;
}

static void rest_killed(void *arg, struct job_result *r)
{
	struct task *t = task_find(arg);

	free(arg);
	if (t && r->error < 0 && others_run(t))
		log_warn("container %s: its other processes could not be killed: %s", t->id, err_line(0) ? err_line(0) : strerror(-r->error));
}

static void begin_kill_rest(struct task *t)
{
	char *id = str_dup(t->id);

	t->killed_rest = true;
	if (job_start(kill_rest, t, rest_killed, id) < 0) {
		log_warn("container %s: its other processes are not killed: %s", id, err_line(0));
		err_clear();
		free_pointer(&id);
	}
}

/* Tells what can be told by now. */
static void tell(struct process *p)
{
	struct task *t = p->task;
	bool is_init = !p->exec_id;

	if (p->ended && p->status != TASK__STATUS__STOPPED && !p->starting && !(is_init && others_run(t)))
		tell_exit(p);
	if (is_init)
		return;
	if (t->init.ended && t->init.status != TASK__STATUS__STOPPED)
		tell(&t->init);
}

void process_started(struct process *p)
{
	p->starting = false;
	if (p->exec_id && p->status == TASK__STATUS__STOPPED)   /* it never ran */
		answer_waiters(p);
	tell(p);
}

static void process_ended(struct process *p, int status, const struct timespec *at)
{
	struct task *t = p->task;

	p->ended = true;
	p->exit_status = (uint32_t)(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
	p->exited_at = *at;
	if (!p->exec_id) {
		oom_end(t);
		if (!t->private_pid && !t->killed_rest)
			begin_kill_rest(t);
	}
	tell(p);
}

static struct process *process_by_pid(pid_t pid)
{
	for (struct task *t = tasks; t; t = t->next) {
		if (t->init.pid == pid && !t->init.ended)
			return &t->init;
		for (struct process *p = t->added; p; p = p->next)
			if (p->pid == pid && !p->ended)
				return p;
	}
	return NULL;
}

void task_child_ended(pid_t pid, int status)
{
	struct process *p = process_by_pid(pid);
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	n_ends++;
	if (p) {
		process_ended(p, status, &now);
		return;
	}
	if (!jobs_running())   /* nobody will ask */
		array_free(&early);
	if (early.n == EARLY_MAX)
		memmove(early.data, early.data + 1, --early.n * sizeof *early.data);
	array_push(&early) = (struct early){ pid, status, now, n_ends };
}

void process_has_pid(struct process *p, pid_t pid, uint64_t since)
{
	p->pid = pid;
	for (size_t i = 0; i < early.n; i++) {
		struct early e = early.data[i];
		if (e.pid == pid && e.serial > since) {
			memmove(early.data + i, early.data + i + 1, (--early.n - i) * sizeof *early.data);
			process_ended(p, e.status, &e.at);
			return;
		}
	}
	if (p->exec_id && p->task->init.ended)   /* it came after the others had been killed */
		kill(pid, SIGKILL);
}

void process_output_changed(void *arg)
{
	struct process *p = arg;

	if (p->deleting && p->patience.at && stdio_idle(p->io))   /* unless the deletion has gone on already */
		loop_after(&p->patience, 0);   /* not from inside the stream that has just ended */
}

/* --- one at a time ---------------------------------------------------------------------------------------------------------- */

static ProtobufCMessage *copy_message(const ProtobufCMessage *m)
{
	size_t size = protobuf_c_message_get_packed_size(m);
	autofree uint8_t *data = mem_alloc(size + 1);

	protobuf_c_message_pack(m, data);
	return protobuf_c_message_unpack(m->descriptor, NULL, size, data);
}

bool task_begin(struct task *t, struct rpc_call *call, const ProtobufCMessage *request,
	void (*run)(struct rpc_call *call, const ProtobufCMessage *request))
{
	struct deferred **last = &t->queue;

	if (!t->busy) {
		t->busy = true;
		return true;
	}
	while (*last)
		last = &(*last)->next;
	*last = mem_zalloc(sizeof **last);
	**last = (struct deferred){ .call = call, .run = run, .request = copy_message(request) };
	return false;
}

static void run_deferred(struct deferred *d)
{
	d->run(d->call, d->request);
	protobuf_c_message_free_unpacked(d->request, NULL);
	free_pointer(&d);
}

void task_end(struct task *t)
{
	struct deferred *d = t->queue;

	t->busy = false;
	if (!d)
		return;
	t->queue = d->next;
	run_deferred(d);   /* it begins anew, or finds the task gone; its own end brings the next */
}

/* --- memory -------------------------------------------------------------------------------------------------------------------- */

void process_free(struct process *p)
{
	loop_cancel(&p->patience);
	if (p->status != TASK__STATUS__STOPPED)
		clock_gettime(CLOCK_REALTIME, &p->exited_at);
	answer_waiters(p);
	if (p->deleting)
		rpc_error(p->deleting, RPC_NOT_FOUND, "process %s: its container was deleted: not found", p->exec_id ? p->exec_id : "init");
	stdio_free(p->io);
	free_pointer(&p->exec_id);
	free_pointer(&p->in);
	free_pointer(&p->out);
	free_pointer(&p->err);
	free_pointer(&p->spec);
}

void task_free(struct task *t)
{
	struct task **link = &tasks;
	struct deferred *queue = t->queue;

	while (*link && *link != t)
		link = &(*link)->next;
	if (*link)
		*link = t->next;
	oom_forget(t);
	while (t->added) {
		struct process *p = t->added;
		t->added = p->next;
		process_free(p);
		free_pointer(&p);
	}
	process_free(&t->init);
	free_pointer(&t->id);
	free_pointer(&t->bundle);
	free_pointer(&t->checkpoint);
	if (t->options)
		torpor__v1__options__free_unpacked(t->options, NULL);
	fd_close(&t->stop_serving);
	free_pointer(&t);
	while (queue) {
		struct deferred *d = queue;
		queue = d->next;
		run_deferred(d);   /* finds no such task */
	}
	if (!tasks)
		service_idle();
}
