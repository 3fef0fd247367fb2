/* SPDX-License-Identifier: Apache-2.0 */
/* The guard of TCP connections: a process beside a dump that puts them back if the engine is killed.
 *
 * A connection that is being saved is changed: a filter keeps packets from it, and for some microseconds it is in repair mode, in which
 * its program could neither send nor receive. Nothing of that ends with the engine: a descriptor that closes leaves the socket as it is.
 * So another process has a duplicate of each, and knows what it was like:
 *
 *   started ── tcp_guard_add()… ──▶ has connections ── the engine dies ──▶ all are put back, the last one first
 *      ├── tcp_let_go()  ──▶ puts all back
 *      ├── tcp_silence() ──▶ all are in repair mode: they vanish with their program ── the engine dies ──▶ kills the tasks
 *      └── tcp_watch()   ──▶ the same, and stays ── a task runs (SIGCONT) ──▶ puts all back
 *                                                └─ all have ended ──▶ gone
 *
 * tcp_silence() comes when the checkpoint is whole: a killed engine leaves all of the tree and no repair, or nothing of it.
 *
 * A killed engine lets go of the tasks, and a program that then finds its connection in repair mode gets EPERM. So from the first connection
 * on the threads of the tree are held (remote_hold()): they sleep HOLD_MS before they go on, which is the guard's time.
 *
 * Kernel facts relied on:
 * - A dying process closes its descriptors before it lets go of its tracees, if no other thread of it is late: the guard knows first.
 * - A socket in repair mode that is closed sends neither FIN nor RST.
 * - Leaving repair mode clears SO_REUSEADDR.
 *
 * Not handled: guard and engine are killed at once. Both belong to the same cgroup, but to different sessions. */
#define LOG_PREFIX "tcp"
#include "sockets/tcp_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/proc.h"
#include "remote/remote.h"

#ifndef SO_PEEK_OFF
#define SO_PEEK_OFF 42
#endif
#ifndef PF_EXITING
#define PF_EXITING 0x4
#endif
#define WATCH_MS 50
#define HOLD_MS 100

enum op { OP_ADD = 'a', OP_LET_GO = 'l', OP_SILENCE = 's', OP_WATCH = 'w' };

struct order {
	enum op op;
	uint32_t n;                  /* of pids that follow */
	struct tcp_was was;
};

struct held {
	int fd;
	struct tcp_was was;
};

/* In the guard. */
struct guard {
	int sock;
	ARRAY(struct held) held;
	ARRAY(pid_t) pids;
	ARRAY(int) pidfds;
	bool silent, done;
};

/* In the engine. */
struct tcp_guard {
	int sock;
	size_t n, room;
	int program;
	bool holds;                  /* the threads of the tree */
	bool watches;                /* it stays when the engine ends */
};

static void set_int(int fd, int level, int option, int value)
{
	setsockopt(fd, level, option, &value, sizeof value);
}

void tcp_put_back(int fd, const struct tcp_was *was)
{
	set_int(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP);
	set_int(fd, SOL_SOCKET, SO_PEEK_OFF, was->peek_offset);
	set_int(fd, SOL_SOCKET, SO_OOBINLINE, was->inline_urgent);
	set_int(fd, SOL_SOCKET, SO_REUSEADDR, was->reuse);
}

/* --- the guard --- */

static void put_all_back(struct guard *g)
{
	for (size_t i = g->held.n; i-- > 0;) {
		tcp_put_back(g->held.data[i].fd, &g->held.data[i].was);
		if (!g->held.data[i].was.filtered)
			set_int(g->held.data[i].fd, SOL_SOCKET, SO_DETACH_FILTER, 0);
	}
}

static int silence(struct guard *g)
{
	int r = 0;

	for (size_t i = 0; i < g->held.n; i++) {
		int on = TCP_REPAIR_ON;
		if (setsockopt(g->held.data[i].fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof on) < 0)
			r = -errno;
	}
	g->silent = r == 0;
	if (r < 0)
		put_all_back(g);
	return r;
}

static int receive_pids(struct guard *g, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		pid_t pid;
		if (fd_read_all(g->sock, &pid, sizeof pid) < 0)
			return -EPROTO;
		array_push(&g->pids) = pid;
		array_push(&g->pidfds) = (int)syscall(SYS_pidfd_open, pid, 0);
	}
	return 0;
}

static int receive_order(struct guard *g, struct order *o, int *fd)
{
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec v = { o, sizeof *o };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	ssize_t n;

	do
		n = recvmsg(g->sock, &m, MSG_WAITALL | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n != sizeof *o)
		return -EPIPE;
	const struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	*fd = -1;
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(c), sizeof *fd);
	return 0;
}

static bool any_runs(const struct guard *g)
{
	struct proc_stat st;

	for (size_t i = 0; i < g->pids.n; i++)
		if (proc_stat_read(g->pids.data[i], &st) >= 0 && !strchr("TtZX", st.state) && !(st.flags & PF_EXITING))
			return true;
	return false;
}

static bool any_lives(const struct guard *g)
{
	for (size_t i = 0; i < g->pidfds.n; i++) {
		struct pollfd p = { g->pidfds.data[i], POLLIN, 0 };
		if (p.fd >= 0 && poll(&p, 1, 0) == 0)
			return true;
	}
	return false;
}

/* The engine has left them stopped, and ended. A task on its way to its end is none that runs. */
static void watch(struct guard *g)
{
	while (any_lives(g)) {
		if (any_runs(g))
			return put_all_back(g);
		usleep(WATCH_MS * 1000);
	}
}

static void kill_all(const struct guard *g)
{
	for (size_t i = 0; i < g->pidfds.n; i++)
		if (g->pidfds.data[i] >= 0)
			syscall(SYS_pidfd_send_signal, g->pidfds.data[i], SIGKILL, NULL, 0);
}

static void answer(const struct guard *g, int result)
{
	fd_write_all(g->sock, &result, sizeof result);
}

static void obey(struct guard *g, const struct order *o, int fd)
{
	int r = receive_pids(g, o->n);

	switch (o->op) {
	case OP_ADD:
		if (fd >= 0)
			array_push(&g->held) = (struct held){ fd, o->was };
		return;
	case OP_LET_GO:
		put_all_back(g);
		g->done = true;
		break;
	case OP_SILENCE:
		r = r < 0 ? r : silence(g);
		break;
	case OP_WATCH:
		r = r < 0 ? r : silence(g);
		answer(g, r);
		fd_read_all(g->sock, &r, 1);   /* until the engine has stopped them all */
		watch(g);
		g->done = true;
		return;
	}
	answer(g, r);
}

static _Noreturn void guard_main(int sock)
{
	struct guard g = { .sock = sock };
	struct rlimit l;
	struct order o;
	sigset_t all;
	int fd;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	setsid();
	prctl(PR_SET_NAME, "torpor-tcp");
	if (chdir("/") < 0)
		_exit(1);
	if (sock > 0)
		close_range(0, (unsigned)sock - 1, 0);
	close_range((unsigned)sock + 1, ~0u, 0);
	if (getrlimit(RLIMIT_NOFILE, &l) == 0) {
		l.rlim_cur = l.rlim_max;
		setrlimit(RLIMIT_NOFILE, &l);
	}
	while (!g.done && receive_order(&g, &o, &fd) == 0)
		obey(&g, &o, fd);
	if (!g.done && !g.silent)
		put_all_back(&g);
	if (!g.done && g.silent)
		kill_all(&g);
	for (size_t i = 0; i < g.held.n; i++)
		close(g.held.data[i].fd);
	_exit(0);
}

/* --- the engine --- */

int tcp_guard_start(struct dump *d)
{
	struct rlimit l;
	int ends[2];

	if (!d->o->tcp_established)
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return fail(errno, "make a socket pair for the guard of TCP connections");
	pid_t pid = fork();
	if (pid == 0) {   /* its child is nobody's */
		if (fork() == 0) {
			close(ends[0]);
			guard_main(ends[1]);
		}
		_exit(0);
	}
	int e = errno;
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		return fail(e, "start the guard of TCP connections");
	}
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	d->guard = mem_zalloc(sizeof *d->guard);
	*d->guard = (struct tcp_guard){ .sock = ends[0], .program = -1, .room = 1000 };
	if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_max > 32)
		d->guard->room = l.rlim_max - 32;
	return 0;
}

/* Waits until the guard has closed its descriptors, before its end of the pair: whoever restores a connection at once finds its addresses free. */
static void await_end(struct tcp_guard *g)
{
	char byte;

	shutdown(g->sock, SHUT_WR);
	while (recv(g->sock, &byte, 1, 0) > 0)
		;
}

void tcp_guard_end(struct dump *d)
{
	if (d->guard) {
		if (!d->guard->watches)
			await_end(d->guard);
		fd_close(&d->guard->sock);
		fd_close(&d->guard->program);
	}
	free_pointer(&d->guard);
}

static int send_order(struct tcp_guard *g, const struct order *o, int fd)
{
	union {
		char data[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec v = { (void *)(uintptr_t)o, sizeof *o };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	if (fd >= 0) {
		m.msg_control = control.data;
		m.msg_controllen = sizeof control.data;
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		*c = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd) };
		memcpy(CMSG_DATA(c), &fd, sizeof fd);
	}
	ssize_t n = sendmsg(g->sock, &m, MSG_NOSIGNAL);
	return n == sizeof *o ? 0 : n < 0 ? -errno : -EIO;
}

int *tcp_guard_program(struct dump *d)
{
	return &d->guard->program;
}

static int hold(const struct dump *d)
{
	int r = 0;

	for (size_t i = 0; i < d->tree->tasks.n && r >= 0; i++) {
		const struct task *t = d->tree->tasks.data[i];
		for (size_t k = 0; t->state != TASK_DEAD && k < t->n_threads && r >= 0; k++)
			r = remote_hold(t->threads[k].remote, HOLD_MS);
	}
	return r;
}

int tcp_guard_add(struct dump *d, int fd, const struct tcp_was *was)
{
	const struct order o = { .op = OP_ADD, .was = *was };

	if (d->guard->n == d->guard->room)
		return fail_text(EMFILE, "the tree has more than %zu TCP connections, beyond the limit of open files of who saves it", d->guard->n);
	int r = d->guard->holds ? 0 : hold(d);
	if (r < 0)
		return r;
	d->guard->holds = true;
	r = send_order(d->guard, &o, fd);
	if (r < 0)
		return fail(-r, "give a TCP connection to its guard");
	d->guard->n++;
	return 0;
}

/* With the pids of the tree, if wanted; the guard's answer. */
static int command(struct dump *d, enum op op)
{
	struct order o = { .op = op };
	int result = 0, r;

	for (size_t i = 0; op != OP_LET_GO && i < d->tree->tasks.n; i++)
		o.n += d->tree->tasks.data[i]->state != TASK_DEAD;
	r = send_order(d->guard, &o, -1);
	for (size_t i = 0; o.n && i < d->tree->tasks.n && r >= 0; i++)
		if (d->tree->tasks.data[i]->state != TASK_DEAD)
			r = fd_write_all(d->guard->sock, &d->tree->tasks.data[i]->host_pid, sizeof(pid_t));
	if (r >= 0)
		r = fd_read_all(d->guard->sock, &result, sizeof result);
	return r < 0 ? r : result;
}

static bool has_connections(const struct dump *d)
{
	return d->guard && d->guard->n;
}

void tcp_let_go(struct dump *d)
{
	int r = has_connections(d) ? command(d, OP_LET_GO) : 0;

	if (r < 0)
		log_error("TCP connections of the tree were not put back: their guard has gone (%s)", strerror(-r));
	if (has_connections(d))
		d->guard->n = 0;
}

int tcp_silence(struct dump *d)
{
	int r = has_connections(d) ? command(d, OP_SILENCE) : 0;

	return r < 0 ? fail(-r, "set TCP connections aside before their program ends") : 0;
}

int tcp_watch(struct dump *d)
{
	int r = has_connections(d) ? command(d, OP_WATCH) : 0;

	if (has_connections(d))
		d->guard->watches = true;
	return r < 0 ? fail(-r, "set TCP connections aside while their program is stopped") : 0;
}
