/* SPDX-License-Identifier: Apache-2.0 */
/* The builder, engine side: starting it, requests, what it answers.
 *
 * The builder is a fork of the engine, so that the images' tree, the options and the kinds' functions are there at the same
 * addresses; it enters the root husk's namespaces and then serves requests (serve.c) over a stream socket. One request at a time; each
 * is answered by a result and the error trail. The answer to its start is read with the first request's, so that starting
 * overlaps with the engine's own work.
 *
 * A request is a struct request and its payload: ids, the data of a call; descriptors follow as messages of their own. */
#include "files/builder.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "files/builder_state.h"

static int send_all(int sock, const void *data, size_t size)
{
	const char *at = data;

	while (size) {
		ssize_t n = send(sock, at, size, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

static int builder_died(struct builder *b)
{
	int status = 0;
	pid_t pid = b->pid;

	fd_close(&b->sock);
	b->pid = 0;
	if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFSIGNALED(status))
		return fail_text(ECHILD, "the process that opens files for the restore was killed by signal %d (%s)", WTERMSIG(status),
				 strsignal(WTERMSIG(status)));
	return fail_text(ECHILD, "the process that opens files for the restore ended");
}

static int read_answer(struct builder *b)
{
	int32_t result;
	int r = fd_read_all(b->sock, &result, sizeof result);

	if (r >= 0)
		r = err_recv(b->sock);
	return r < 0 ? builder_died(b) : result;
}

static int ready(const struct restore *r, struct builder **out)
{
	struct builder *b = r->builder;

	if (!b || b->sock < 0)
		return fail_text(EINVAL, "the process that opens files for the restore is not running");
	*out = b;
	if (b->joined)
		return 0;
	b->joined = true;
	return read_answer(b);
}

static int request_send(struct builder *b, struct request q, const void *payload, size_t size)
{
	int r = send_all(b->sock, &q, sizeof q);

	if (r >= 0)
		r = send_all(b->sock, payload, size);
	return r < 0 ? builder_died(b) : 0;
}

static int request(struct restore *r, struct request q, const void *payload, size_t size)
{
	struct builder *b = NULL;
	int ret = ready(r, &b);

	if (ret >= 0)
		ret = request_send(b, q, payload, size);
	return ret < 0 ? ret : read_answer(b);
}

static int own_terminal(void)
{
	for (int fd = 0; fd < 3; fd++)
		if (isatty(fd))
			return fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
}

int builder_start(struct restore *r, pid_t root_host_pid)
{
	struct builder *b = r->builder;
	int ends[2];

	if (!b)
		return fail_text(EINVAL, "the files of the images were not checked");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return fail(errno, "make a socket pair for the process that opens files");
	if (r->o->shell_job)
		b->terminal = own_terminal();
	pid_t engine = getpid();
	pid_t pid = fork();
	if (pid < 0) {
		int err = errno;
		close(ends[0]);
		close(ends[1]);
		return fail(err, "fork the process that opens files");
	}
	if (pid == 0) {
		b->sock = ends[1];
		builder_main(r, engine, root_host_pid);
	}
	fd_close(&b->terminal);
	close(ends[1]);
	b->sock = ends[0];
	b->pid = pid;
	b->joined = false;
	return 0;
}

void builder_share(const struct restore *r)
{
	if (r->builder && r->builder->pid > 0)
		turns_join(&r->turns, r->builder->pid);
}

void builder_stop(struct restore *r)
{
	struct builder *b = r->builder;

	if (!b)
		return;
	fd_close(&b->sock);   /* end of file ends it */
	if (b->pid > 0) {
		kill(b->pid, SIGKILL);   /* whatever it is doing: nobody waits for it */
		while (waitpid(b->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	b->pid = 0;
}

/* --- requests --- */

int builder_open_paths(struct restore *r)
{
	return request(r, (struct request){ .op = OP_OPEN_PATHS }, NULL, 0);
}

int builder_open_all_start(struct restore *r)
{
	struct builder *b = NULL;
	int ret = ready(r, &b);

	if (ret < 0)
		return ret;
	autofree uint32_t *pids = mem_alloc((r->tree->tasks.n + 1) * sizeof *pids);
	for (size_t i = 0; i < r->tree->tasks.n; i++)
		pids[i] = (uint32_t)r->tree->tasks.data[i]->host_pid;
	struct request q = { .op = OP_OPEN_ALL, .n = (uint32_t)r->tree->tasks.n };
	return request_send(b, q, pids, q.n * sizeof *pids);
}

int builder_open_all_wait(struct restore *r)
{
	struct builder *b = NULL;
	int ret = ready(r, &b);

	return ret < 0 ? ret : read_answer(b);
}

/* Pieces: what the receiver's queue holds without anybody reading is limited. */
int builder_send(struct restore *r, int channel, const uint32_t *ids, size_t n)
{
	struct builder *b = NULL;
	int ret = ready(r, &b);

	if (ret >= 0)
		ret = request_send(b, (struct request){ .op = OP_SEND, .n = (uint32_t)n }, ids, n * sizeof *ids);
	if (ret < 0)
		return ret;
	ret = fd_send(b->sock, &channel, 1);
	return ret < 0 ? builder_died(b) : read_answer(b);
}

static int get(struct restore *r, enum builder_op op, uint32_t id)
{
	int fd = -1;
	int ret = request(r, (struct request){ .op = op, .n = 1 }, &id, sizeof id);

	if (ret < 0)
		return ret;
	ret = fd_recv(r->builder->sock, &fd, 1);
	return ret == 1 ? fd : builder_died(r->builder);
}

int builder_get(struct restore *r, uint32_t id)
{
	return get(r, OP_GET, id);
}

int builder_terminal(struct restore *r, pid_t sid)
{
	return get(r, OP_SESSION, (uint32_t)sid);
}

int builder_orphan_master(struct restore *r, uint32_t number)
{
	return get(r, OP_ORPHAN, number);
}

int builder_call(struct restore *r, int (*fn)(struct restore *r, void *data, size_t size), const void *data, size_t size)
{
	if (size > BUILDER_DATA_MAX)
		return fail(E2BIG, "call with %zu bytes of data in the process that opens files", size);
	return request(r, (struct request){ .op = OP_CALL, .n = (uint32_t)size, .fn = fn }, data, size);
}
