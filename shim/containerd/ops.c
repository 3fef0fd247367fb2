/* SPDX-License-Identifier: Apache-2.0 */
/* What workers do for the task service, and what the shim makes of their answers. Between the two the task may not go away: it is busy. Only
 * answers of operations that do not make it busy look it up again by its id. */
#include "containerd/op.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "container/container.h"
#include "events.pb-c.h"
#include "containerd/publish.h"

struct op *op_new(struct task *t, struct rpc_call *call)
{
	struct op *op = mem_zalloc(sizeof *op);

	op->task = t;
	op->call = call;
	op->since = task_ends_so_far();
	return op;
}

void op_run(struct op *op, int (*run)(void *arg, struct job_result *r), void (*done)(void *arg, struct job_result *r))
{
	int r = job_start(run, op, done, op);

	if (r < 0)
		done(op, &(struct job_result){ .error = r, .fd = -1 });
}

/* What is common to ends that just say whether it worked. */
bool op_failed(struct op *op, const struct job_result *r)
{
	if (r->error < 0)
		rpc_fail(op->call, r->error);
	return r->error < 0;
}

int op_with_container(const char *id, int (*fn)(struct container *c, void *arg), void *arg)
{
	struct container *c;
	int r = container_open(&shim.oci, id, &c);

	if (r < 0)
		return r;
	r = fn(c, arg);
	container_free(c);
	return r;
}

static char *rootfs_of(const struct task *t)
{
	return str_printf("%s/rootfs", t->bundle);
}

static int open_streams(struct process *p)
{
	const struct stdio_options o = {
		.in = p->in, .out = p->out, .err = p->err, .terminal = p->terminal,
		.uid = p->task->options->io_uid, .gid = p->task->options->io_gid, .id = p->task->id, .ns = shim.ns,
	};

	return stdio_open(&o, process_output_changed, p, &p->io);
}

/* --- create --------------------------------------------------------------------------------------------------------------------- */

struct oci_create_options op_create_options(const struct task *t, int *console)
{
	return (struct oci_create_options){ .bundle = t->bundle, .no_pivot = t->options->no_pivot_root, .no_new_keyring = t->options->no_new_keyring,
		.console = t->init.terminal ? console : NULL };
}

void op_made_init(struct job_result *r, struct container *c)
{
	r->pid = container_init_pid(c);
	r->data = &c->private_pid;
	r->size = sizeof c->private_pid;
}

static int create_container(struct op *op, struct job_result *r)
{
	struct task *t = op->task;
	struct container *c;
	const struct oci_create_options o = op_create_options(t, &r->fd);
	int ret = stdio_attach(t->init.io);

	if (ret >= 0)
		ret = oci_create(&shim.oci, t->id, &o, &c);
	if (ret >= 0)
		op_made_init(r, c);
	return ret;
}

static int run_create(void *arg, struct job_result *r)
{
	struct op *op = arg;
	autofree char *rootfs = rootfs_of(op->task);
	int ret = rootfs_mount_all(op->q.create, rootfs);

	if (ret < 0 || op->task->checkpoint)
		return ret;
	ret = create_container(op, r);
	if (ret < 0)
		rootfs_unmount(rootfs);
	return ret;
}

static void tell_created(struct task *t)
{
	Events__TaskCreate event = EVENTS__TASK_CREATE__INIT;
	Events__TaskIO io = EVENTS__TASK_IO__INIT;
	static char none[] = "";

	io.stdin = t->init.in;
	io.stdout = t->init.out;
	io.stderr = t->init.err;
	io.terminal = t->init.terminal;
	event.container_id = t->id;
	event.bundle = t->bundle;
	event.io = &io;
	event.checkpoint = t->checkpoint ? t->checkpoint : none;
	event.pid = (uint32_t)t->init.pid;
	publish("/tasks/create", "TaskCreate", &event.base);
}

static void take_init(struct task *t, struct job_result *r)
{
	if (r->data && r->size == sizeof t->private_pid)
		memcpy(&t->private_pid, r->data, sizeof t->private_pid);
	free_pointer(&r->data);
	stdio_begin(t->init.io, take_fd(&r->fd));
	oom_watch(t);
}

static int delete_it(struct container *c, void *arg)
{
	(void)arg;
	return container_delete(c, true);
}

static int run_delete(void *arg, struct job_result *r)
{
	struct op *op = arg;
	autofree char *rootfs = rootfs_of(op->task);
	size_t mark = err_mark();
	int ret = op_with_container(op->task->id, delete_it, NULL);
	(void)r;

	if (ret == -ENOENT) {   /* a checkpoint may have ended it */
		err_rewind(mark);
		ret = 0;
	}
	return ret < 0 || !op->task->mounted ? ret : rootfs_unmount(rootfs);
}

/* What a dead worker had begun has been cleaned up. */
static void cleaned_up(void *arg, struct job_result *r)
{
	struct op *op = arg;

	if (r->error < 0)
		log_warn("container %s: what is left of its creation stays: %s", op->task->id, err_line(0) ? err_line(0) : strerror(-r->error));
	rpc_error(op->call, RPC_UNKNOWN, "container %s: %s", op->task->id, op->path);
	task_free(op->task);
	free_pointer(&op->path);
	free_pointer(&op);
}

static void created(void *arg, struct job_result *r)
{
	struct op *op = arg;
	struct task *t = op->task;
	Task__CreateTaskResponse a = TASK__CREATE_TASK_RESPONSE__INIT;

	if (r->died) {
		op->path = str_dup(err_line(0));
		t->mounted = true;
		op_run(op, run_delete, cleaned_up);
		return;
	}
	if (op_failed(op, r)) {
		task_free(t);
		free_pointer(&op);
		return;
	}
	t->mounted = true;
	if (r->pid) {
		take_init(t, r);
		t->init.pid = r->pid;
	}
	tell_created(t);
	a.pid = (uint32_t)r->pid;
	rpc_reply(op->call, &a.base);
	if (r->pid)
		process_has_pid(&t->init, r->pid, op->since);
	task_end(t);
	free_pointer(&op);
}

void op_create(struct task *t, const Task__CreateTaskRequest *q, struct rpc_call *call)
{
	struct op *op = op_new(t, call);
	int r = open_streams(&t->init);

	op->q.create = q;
	if (r < 0)
		created(op, &(struct job_result){ .error = r, .fd = -1 });
	else
		op_run(op, run_create, created);
}

/* --- start ------------------------------------------------------------------------------------------------------------------------ */

static int start_it(struct container *c, void *arg)
{
	(void)arg;
	return oci_start(c);
}

static int run_start(void *arg, struct job_result *r)
{
	struct op *op = arg;
	(void)r;

	return op_with_container(op->task->id, start_it, NULL);
}

static int memory_file(const void *data, size_t size)
{
	autoclose int fd = memfd_create("process", MFD_CLOEXEC);
	int r = fd < 0 ? -errno : fd_pwrite_all(fd, data, size, 0);

	return r < 0 ? fail(-r, "hand over the description of a process") : take_fd(&fd);
}

static int run_exec(void *arg, struct job_result *r)
{
	struct op *op = arg;
	struct process *p = op->process;
	struct container *c;
	autoclose int file = memory_file(p->spec, p->spec_size);
	int ret = file < 0 ? file : stdio_attach(p->io);

	if (ret >= 0)
		ret = container_open(&shim.oci, op->task->id, &c);
	if (ret < 0)
		return ret;
	const struct oci_exec_options e = { .process_file = FD_PATH(file), .detach = true, .console = p->terminal ? &r->fd : NULL };
	return oci_exec(c, &e, &r->pid);
}

static void tell_started(const struct process *p)
{
	Events__TaskStart start = EVENTS__TASK_START__INIT;
	Events__TaskExecStarted exec = EVENTS__TASK_EXEC_STARTED__INIT;

	start.container_id = exec.container_id = p->task->id;
	start.pid = exec.pid = (uint32_t)p->pid;
	if (!p->exec_id) {
		publish("/tasks/start", "TaskStart", &start.base);
		return;
	}
	exec.exec_id = p->exec_id;
	publish("/tasks/exec-started", "TaskExecStarted", &exec.base);
}

/* A process that could not be started: an added one is stopped for good, an init may still be waiting. */
static void start_failed(struct op *op)
{
	struct process *p = op->process;

	if (p->exec_id || p->task->checkpoint) {
		stdio_free(p->io);
		p->io = NULL;
	}
	if (p->exec_id) {
		p->status = TASK__STATUS__STOPPED;
		p->ended = true;
		p->exit_status = 255;
		clock_gettime(CLOCK_REALTIME, &p->exited_at);
	}
	process_started(p);
}

static void started(void *arg, struct job_result *r)
{
	struct op *op = arg;
	struct process *p = op->process;
	struct task *t = p->task;
	Task__StartResponse a = TASK__START_RESPONSE__INIT;

	if (op_failed(op, r)) {
		start_failed(op);
	} else {
		if (r->pid && !p->exec_id)
			take_init(t, r);
		else if (r->pid)
			stdio_begin(p->io, take_fd(&r->fd));
		p->status = TASK__STATUS__RUNNING;
		p->pid = r->pid ? r->pid : p->pid;
		tell_started(p);
		a.pid = (uint32_t)p->pid;
		rpc_reply(op->call, &a.base);
		if (r->pid)
			process_has_pid(p, r->pid, op->since);
		process_started(p);
	}
	task_end(t);
	free_pointer(&op);
}

void op_start(struct process *p, struct rpc_call *call)
{
	struct op *op = op_new(p->task, call);
	bool restore = !p->exec_id && p->task->checkpoint;
	int r = p->exec_id ? open_streams(p) : 0;

	op->process = p;
	p->starting = true;
	if (r < 0)
		started(op, &(struct job_result){ .error = r, .fd = -1 });
	else
		op_run(op, restore ? migrate_restore : p->exec_id ? run_exec : run_start, started);
}

/* --- delete ----------------------------------------------------------------------------------------------------------------------- */

static void deleted(void *arg, struct job_result *r)
{
	struct op *op = arg;
	struct process *init = &op->task->init;

	if (r->error < 0) {
		rpc_fail(init->deleting, r->error);
		init->deleting = NULL;
		task_end(op->task);
	} else {
		int status;
		if (init->pid && !init->ended && waitpid(init->pid, &status, WNOHANG) == init->pid)   /* killed by this, before it was started */
			task_child_ended(init->pid, status);
		if (!init->ended && !init->exited_at.tv_sec) {
			init->exit_status = 128 + SIGKILL;
			clock_gettime(CLOCK_REALTIME, &init->exited_at);
		}
		service_finish_delete(init);
	}
	free_pointer(&op);
}

void op_delete(struct task *t)
{
	op_run(op_new(t, NULL), run_delete, deleted);
}
