/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoint and restore.
 *
 * Rounds: the engine's keeper of a container's change tracking, and the pager of a lazy restore, are processes that outlive the worker that
 * began them; they become children of this shim, the child subreaper, and end with their container.
 *
 * A lazy checkpoint has two ends. When its images are whole and its memory can be fetched, the call is answered, and the worker goes on
 * as the server of that memory; the task stays busy, and is shown as paused, which is what it does. When all has been fetched the container
 * is gone, and its exit is told. Resume meanwhile gives up: the worker lets the container go on where it stood.
 *
 *     Checkpoint ── images whole ──▶ answered, serving ── all fetched ──▶ exit
 *                                           │
 *                                        Resume ──▶ running            (or stopped, if it may have run over there: the answer says so) */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/proc.h"
#include "base/str.h"
#include "cmd/cmd.h"
#include "containerd/op.h"
#include "containerd/options.h"
#include "containerd/publish.h"
#include "events.pb-c.h"

#define ROUNDS_MAX 100

static char *work_directory(const struct task *t, const char *wanted)
{
	char *path = wanted && *wanted ? str_dup(wanted) : str_printf("%s/work", t->bundle);

	mkdir(path, 0711);
	return path;
}

/* --- in the worker ------------------------------------------------------------------------------------------------------------------ */

static int checkpoint_it(struct container *c, void *arg)
{
	return oci_checkpoint(c, arg);
}

/* The rounds before the last, each upon the one before it. */
static int pre_dumps(const char *id, const struct oci_checkpoint_options *last, uint32_t rounds, char **parent)
{
	int r = 0;

	for (uint32_t i = 1; i <= rounds && r == 0; i++) {
		autofree char *images = str_printf("%s/round%u", last->image_path, i);
		autofree char *before = i > 1 ? str_printf("../round%u", i - 1) : last->parent_path ? str_printf("../%s", last->parent_path) : NULL;
		struct oci_checkpoint_options k = *last;
		k.image_path = images;
		k.parent_path = before;
		k.pre_dump = true;
		k.leave_running = true;
		k.lazy_pages = false;
		r = op_with_container(id, checkpoint_it, &k);
	}
	if (r == 0 && rounds)
		*parent = str_printf("round%u", rounds);
	return r;
}

static int memory_can_be_fetched(void *arg, unsigned port)
{
	(void)port;

	return job_tell(arg);
}

static int check_checkpoint(const Torpor__V1__CheckpointOptions *o, const char *path)
{
	for (size_t i = 0; i < o->n_empty_namespaces; i++)
		if (strcmp(o->empty_namespaces[i], "network") != 0 && strcmp(o->empty_namespaces[i], "net") != 0)
			return fail_text(EINVAL, "empty_namespaces %s: only network can be left empty", o->empty_namespaces[i]);
	if (!*path)
		return fail_text(EINVAL, "no path for the checkpoint is given");
	if (o->rounds > ROUNDS_MAX || (o->rounds && (o->pre_dump || *o->page_server)))
		return fail_text(EINVAL, "rounds %u: at most %d, for a checkpoint that goes to a directory and is no pre-dump", o->rounds, ROUNDS_MAX);
	if (o->lazy_pages && (!o->exit || o->pre_dump || !*o->page_server))
		return fail_text(EINVAL, "lazy_pages: a lazy checkpoint ends the container (exit), and says where its memory is served (page_server)");
	return 0;
}

static int save(struct op *op, const Torpor__V1__CheckpointOptions *o, const char *path, struct job_result *r)
{
	autofree char *work = work_directory(op->task, o->work_path), *address = NULL, *parent = NULL;
	unsigned port;
	int ret = shim_page_server(*o->page_server ? o->page_server : NULL, &address, &port);
	struct oci_checkpoint_options k = { .image_path = path, .work_path = work, .leave_running = !o->exit, .tcp_established = o->open_tcp,
		.ext_unix_sk = o->external_unix_sockets, .shell_job = o->terminal, .file_locks = o->file_locks,
		.parent_path = *o->parent_path ? o->parent_path : NULL, .pre_dump = o->pre_dump, .track_mem = o->track,
		.auto_dedup = o->auto_dedup, .skip_in_flight = o->skip_in_flight, .empty_net = o->n_empty_namespaces > 0,
		.manage_cgroups_mode = *o->cgroups_mode ? o->cgroups_mode : NULL, .page_address = address, .page_port = port,
		.lazy_pages = o->lazy_pages, .stop_fd = o->lazy_pages ? op->stop : -1, .ready = o->lazy_pages ? memory_can_be_fetched : NULL,
		.arg = r };

	if (ret == 0)
		ret = pre_dumps(op->task->id, &k, o->rounds, &parent);
	if (parent)
		k.parent_path = parent;
	return ret < 0 ? ret : op_with_container(op->task->id, checkpoint_it, &k);
}

static int run_checkpoint(void *arg, struct job_result *r)
{
	struct op *op = arg;
	const Wk__Any *any = op->q.checkpoint->options;
	Torpor__V1__CheckpointOptions *o = NULL;
	int ret = options_checkpoint(any, &o);

	if (ret < 0)
		return ret;
	/* containerd does not know torpor's message, and makes up a path of its own. */
	bool own = *o->image_path && (str_ends(any->type_url, "torpor.v1.CheckpointOptions") || !*op->q.checkpoint->path);
	const char *path = own ? o->image_path : op->q.checkpoint->path;
	ret = check_checkpoint(o, path);
	return ret < 0 ? ret : save(op, o, path, r);
}

/* Nobody says at a restore what was allowed at the checkpoint; the images do. */
static bool has_connections(const char *images)
{
	DIR *d = opendir(images);
	struct dirent *e;
	bool found = false;

	while (d && !found && (e = readdir(d)))
		found = str_starts(e->d_name, "tcp-stream-");
	if (d)
		closedir(d);
	return found;
}

int migrate_restore(void *arg, struct job_result *r)
{
	struct op *op = arg;
	const struct task *t = op->task;
	const Torpor__V1__Options *k = t->options;
	autofree char *work = work_directory(t, k->criu_work_path), *address = NULL;
	autofree const char **map = mem_zalloc((k->n_map_address + 1) * sizeof *map);
	unsigned port;
	int ret = shim_page_server(*k->page_server ? k->page_server : NULL, &address, &port);
	struct container *c;

	for (size_t i = 0; i < k->n_map_address; i++)
		map[i] = k->map_address[i];
	const struct oci_restore_options o = { .create = op_create_options(t, &r->fd), .image_path = t->checkpoint, .work_path = work,
		.tcp_established = !k->tcp_close && has_connections(t->checkpoint), .tcp_close = k->tcp_close, .ext_unix_sk = true,
		.shell_job = t->init.terminal, .file_locks = true, .lazy_pages = k->lazy_pages, .page_address = address, .page_port = port,
		.map_address = map, .manage_cgroups_mode = *k->cgroups_mode ? k->cgroups_mode : NULL };
	if (ret == 0)
		ret = t->init.io ? stdio_attach(t->init.io)
				 : fail_text(EINVAL, "its streams are closed since its restore failed: delete it and create it anew");
	if (ret >= 0)
		ret = oci_restore(&shim.oci, t->id, &o, &c);
	if (ret >= 0)
		op_made_init(r, c);
	return ret;
}

/* --- in the shim -------------------------------------------------------------------------------------------------------------------- */

static void tell_checkpointed(struct task *t, char *path)
{
	Events__TaskCheckpointed event = EVENTS__TASK_CHECKPOINTED__INIT;

	event.container_id = t->id;
	event.checkpoint = path;
	publish("/tasks/checkpointed", "TaskCheckpointed", &event.base);
}

static bool left_stopped(pid_t pid)
{
	struct proc_stat s;

	return proc_stat_read(pid, &s) == 0 && s.state == 'T';
}

/* The end of a lazy checkpoint: all memory was fetched, or it was given up. */
static void served(struct task *t, const struct job_result *r)
{
	struct rpc_call *call = t->giving_up;

	t->serving = false;
	t->giving_up = NULL;
	if (r->error < 0)
		log_info("container %s: its lazy checkpoint has ended: %s", t->id, err_line(0) ? err_line(0) : "it was given up");
	if (call && r->error == 0)
		rpc_error(call, RPC_PRECONDITION, "container %s: all its memory has been fetched: it goes on elsewhere", t->id);
	else if (call && t->init.pid && left_stopped(t->init.pid))
		rpc_fail(call, r->error);
	else if (call)
		rpc_reply(call, NULL);
	err_clear();
}

static void checkpointed(void *arg, struct job_result *r)
{
	struct op *op = arg;
	struct task *t = op->task;

	if (op->call && !op_failed(op, r)) {
		tell_checkpointed(t, op->path);
		rpc_reply(op->call, NULL);
	}
	op->call = NULL;
	if (r->more) {
		t->serving = true;
		return;
	}
	if (t->serving)
		served(t, r);
	fd_close(&t->stop_serving);
	free_pointer(&op->path);
	free_pointer(&op);
	task_end(t);
}

void op_checkpoint(struct task *t, const Task__CheckpointTaskRequest *q, struct rpc_call *call)
{
	struct op *op = op_new(t, call);
	int ends[2] = { -1, -1 };

	op->q.checkpoint = q;
	op->path = str_dup(q->path);
	if (pipe2(ends, O_CLOEXEC) < 0) {
		int r = fail(errno, "make a pipe to a worker process");
		checkpointed(op, &(struct job_result){ .error = r, .fd = -1 });
		return;
	}
	op->stop = ends[0];
	t->stop_serving = ends[1];
	op_run(op, run_checkpoint, checkpointed);
	close(ends[0]);
}

bool op_give_up(struct task *t, struct rpc_call *call)
{
	if (!t->serving || t->giving_up || t->stop_serving < 0)
		return false;
	t->giving_up = call;
	if (write(t->stop_serving, "", 1) < 0)
		log_warn("container %s: its lazy checkpoint cannot be told to end", t->id);
	return true;
}
