/* SPDX-License-Identifier: Apache-2.0 */
/* A worker is a fork of the shim. It answers over a socket: its result, a descriptor with it, the error trail. When it is dead without
 * an answer (killed, out of memory) that is an error like another.
 *
 * What a worker made for a container is not its own: the container's init goes to the shim, the child subreaper, when the worker
 * ends, and its name is in the answer. The worker ends before the answer is used: it has nothing of the container's open then. */
#include "containerd/job.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "containerd/loop.h"

#define DATA_MAX (1u << 20)
#define MANY 64

struct answer {
	int error;
	pid_t pid;
	uint32_t has_fd, size;
	bool more;
};

struct job {
	struct loop_watch watch;
	void (*done)(void *arg, struct job_result *r);
	void *arg;
};

static size_t running;

size_t jobs_running(void)
{
	return running;
}

bool jobs_many(void)
{
	return running >= MANY;
}

/* --- the worker ---------------------------------------------------------------------------------------------------------------- */

static int answer(const struct job_result *r, bool more)
{
	struct answer a = { .error = r->error, .pid = r->pid, .has_fd = r->fd >= 0, .size = r->data ? (uint32_t)r->size : 0, .more = more };
	int ret = fd_write_all(r->tell, &a, sizeof a);

	if (ret == 0 && a.has_fd)
		ret = fd_send(r->tell, &r->fd, 1);
	if (ret == 0 && a.size)
		ret = fd_write_all(r->tell, r->data, a.size);
	return ret;
}

int job_tell(struct job_result *r)
{
	int ret = answer(r, true);

	return ret < 0 ? fail(-ret, "tell the shim") : 0;
}

static _Noreturn void work(pid_t shim, int sock, int (*run)(void *arg, struct job_result *r), void *arg)
{
	struct job_result r = { .fd = -1, .tell = sock };

	prctl(PR_SET_PDEATHSIG, SIGKILL);   /* what it has begun is cleaned up by `delete`, which must not meet it at work */
	if (getppid() != shim)
		_exit(1);
	loop_forked();
	err_clear();
	r.error = run(arg, &r);
	if (r.error > 0)
		r.error = 0;
	if (answer(&r, false) == 0)
		err_send(sock);
	_exit(0);
}

/* --- the shim ------------------------------------------------------------------------------------------------------------------- */

static int take_answer(int sock, struct job_result *r)
{
	struct answer a;
	int ret = fd_read_all(sock, &a, sizeof a);

	r->died = ret < 0;
	if (ret < 0 || a.size > DATA_MAX)
		return fail_text(EIO, "the worker process ended before its work did");
	r->pid = a.pid;
	if (a.has_fd && (ret = fd_recv(sock, &r->fd, 1)) < 0)
		return fail(-ret, "take a descriptor from the worker process");
	if (a.size) {
		r->data = mem_alloc(a.size + 1);
		r->size = a.size;
		((char *)r->data)[a.size] = '\0';
		ret = fd_read_all(sock, r->data, a.size);
		if (ret < 0)
			return fail(-ret, "take the worker process's data");
	}
	r->more = a.more;
	if (!a.more)
		err_recv(sock);
	return a.error;
}

static void on_answer(void *arg, uint32_t events)
{
	struct job *job = arg;
	struct job_result r = { .fd = -1 };
	(void)events;

	err_clear();
	r.error = take_answer(job->watch.fd, &r);
	bool over = !r.more;
	if (over) {
		loop_remove(&job->watch);
		fd_close(&job->watch.fd);
		running--;
	}
	job->done(job->arg, &r);
	err_clear();
	fd_close(&r.fd);
	if (over)
		free_pointer(&job);
}

int job_start(int (*run)(void *arg, struct job_result *r), void *run_arg, void (*done)(void *arg, struct job_result *r), void *done_arg)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return fail(errno, "make a socket for a worker process");
	pid_t shim = getpid(), pid = fork();
	if (pid == 0) {
		close(ends[0]);
		work(shim, ends[1], run, run_arg);
	}
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		return fail(errno, "start a worker process");
	}
	struct job *job = mem_zalloc(sizeof *job);
	*job = (struct job){ .watch = { .fd = ends[0], .ready = on_answer, .arg = job }, .done = done, .arg = done_arg };
	running++;
	int r = loop_add(&job->watch, EPOLLIN);
	if (r < 0) {
		running--;
		close(ends[0]);
		free_pointer(&job);
	}
	return r;
}
