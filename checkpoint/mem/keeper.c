/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper: a process that holds a tree's change tracking while no dump is at work.
 *
 * Memory is write-protected by a userfaultfd for as long as that is open. So a process per tree has it open, and nothing else to do: it
 * waits for a dump that asks for it, or for the end of the root task. It is found through a socket in /run/torpor-keeper whose name is
 * the root task's: pid namespace, pid and time of birth. A container's id leads to the same name by its first process.
 *
 *   dump ends  ── keeper_start() ──▶ keeper waits ── root task ends ──▶ gone
 *                                        │
 *                                  keeper_take(): descriptors sent, receipt awaited ──▶ gone; the next dump starts another
 *
 * It is a fork of the engine that has closed all else: what it has of its own is a few pages. Killed, its descriptors close, the kernel
 * lifts the protection, and no page counts as unchanged: the next round is a full one. */
#define LOG_PREFIX "keeper"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/proc.h"
#include "mem/track.h"

#define DIRECTORY "/run/torpor-keeper"
#define TASKS_MAX 65536
#define WITNESSES_MAX (1u << 24)

struct greeting {
	char magic[8], round[ROUND_SIZE];
	uint32_t kind, n;
};
static const char greeting_magic[8] = "torpkeep";

/* A task on the wire; its witnesses follow. */
struct kept {
	uint64_t pid, start_time, witnesses;
};

void tracked_done(struct tracked *t)
{
	fd_close(&t->uffd);
	array_free(&t->witnesses.list);
}

void tracking_done(struct tracking *t)
{
	for (size_t i = 0; i < t->tasks.n; i++)
		tracked_done(&t->tasks.data[i]);
	array_free(&t->tasks);
	*t = (struct tracking){ 0 };
}

static int socket_address(pid_t root, uint64_t start, struct sockaddr_un *a)
{
	uint64_t ns;
	int r = proc_ns_inode(getpid(), "pid", &ns);

	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (r == 0)
		snprintf(a->sun_path, sizeof a->sun_path, DIRECTORY "/%lu-%d-%lu", (unsigned long)ns, root, (unsigned long)start);
	return r;
}

/* --- the keeper --- */

static int send_all(int to, const struct tracking *t)
{
	struct greeting g = { .kind = t->kind, .n = (uint32_t)t->tasks.n };
	int fds[FD_PASS_MAX];

	memcpy(g.magic, greeting_magic, sizeof g.magic);
	memcpy(g.round, t->round, sizeof g.round);
	int r = fd_write_all(to, &g, sizeof g);
	for (size_t i = 0; r == 0 && i < t->tasks.n; i++) {
		const struct tracked *task = &t->tasks.data[i];
		struct kept k = { (uint64_t)task->pid, task->start_time, task->witnesses.list.n };
		r = fd_write_all(to, &k, sizeof k);
		if (r == 0)
			r = fd_write_all(to, task->witnesses.list.data, k.witnesses * sizeof *task->witnesses.list.data);
	}
	for (size_t i = 0, n; r == 0 && t->kind == TRACKER_UFFD && i < t->tasks.n; i += n) {
		n = t->tasks.n - i < FD_PASS_MAX ? t->tasks.n - i : FD_PASS_MAX;
		for (size_t k = 0; k < n; k++)
			fds[k] = t->tasks.data[i + k].uffd;
		r = fd_send(to, fds, n);
	}
	return r;
}

/* True: somebody has taken it all. */
static bool serve(int listener, const struct tracking *t)
{
	const struct timeval patience = { .tv_sec = 10 };
	struct ucred peer;
	socklen_t size = sizeof peer;
	char receipt;
	autoclose int to = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (to < 0 || getsockopt(to, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || peer.uid != geteuid())
		return false;
	setsockopt(to, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	setsockopt(to, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	return send_all(to, t) == 0 && read(to, &receipt, 1) == 1;
}

/* Leaves nothing of the engine's open but what it keeps. */
static void close_others(int listener, int pidfd, const struct tracking *t)
{
	int last = -1;

	for (;;) {   /* the next descriptor above the last one kept, in order */
		int next = INT32_MAX;
		if (listener > last)
			next = listener;
		if (pidfd > last && pidfd < next)
			next = pidfd;
		for (size_t i = 0; i < t->tasks.n; i++)
			if (t->tasks.data[i].uffd > last && t->tasks.data[i].uffd < next)
				next = t->tasks.data[i].uffd;
		if (next - last > 1)
			syscall(SYS_close_range, last + 1, next == INT32_MAX ? ~0u : (unsigned)next - 1, 0);
		if (next == INT32_MAX)
			return;
		last = next;
	}
}

static void keep(int listener, int pidfd, const char *path, const struct tracking *t)
{
	struct pollfd p[] = { { listener, POLLIN, 0 }, { pidfd, POLLIN, 0 } };
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_IGN);
	setsid();
	if (chdir("/") < 0)
		_exit(1);
	close_others(listener, pidfd, t);
	malloc_trim(0);
	for (;;) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			break;
		if (p[0].revents && serve(listener, t))
			_exit(0);
		if (p[1].revents)
			break;
	}
	unlink(path);
	_exit(0);
}

/* What keepers that were killed have left, of trees of this pid namespace that are gone. */
static void sweep(void)
{
	struct proc_stat st;
	uint64_t own;
	DIR *dir = proc_ns_inode(getpid(), "pid", &own) == 0 ? opendir(DIRECTORY) : NULL;

	if (!dir)
		return;
	for (struct dirent *e; (e = readdir(dir));) {
		unsigned long ns, start;
		int pid;
		if (sscanf(e->d_name, "%lu-%d-%lu", &ns, &pid, &start) == 3 && ns == own &&
		    (proc_stat_read(pid, &st) < 0 || st.starttime != start))
			unlinkat(dirfd(dir), e->d_name, 0);
	}
	closedir(dir);
}

static int make_listener(const struct sockaddr_un *a)
{
	if (mkdir(DIRECTORY, 0700) < 0 && errno != EEXIST)
		return fail(errno, "make %s", DIRECTORY);
	sweep();
	autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	unlink(a->sun_path);
	if (fd < 0 || bind(fd, (const struct sockaddr *)a, sizeof *a) < 0 || chmod(a->sun_path, 0600) < 0 || listen(fd, 4) < 0)
		return fail(errno, "make the socket %s", a->sun_path);
	return take_fd(&fd);
}

int keeper_start(pid_t root, uint64_t start, const struct tracking *t)
{
	struct sockaddr_un a;
	int r = socket_address(root, start, &a);

	if (r < 0)
		return fail(-r, "look at the pid namespace");
	autoclose int listener = make_listener(&a), pidfd = (int)syscall(SYS_pidfd_open, root, 0);
	if (listener < 0)
		return listener;
	pid_t pid = pidfd < 0 ? -1 : fork();
	if (pid < 0) {
		r = fail(errno, "start a keeper for task %d", root);
		unlink(a.sun_path);
		return r;
	}
	if (pid == 0) {   /* its child is nobody's, and has its name when this one has ended */
		prctl(PR_SET_NAME, "torpor-keeper");
		if (fork() == 0)
			keep(listener, pidfd, a.sun_path, t);
		_exit(0);
	}
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return 0;
}

/* --- taking over --- */

static int receive_fds(int from, struct tracking *t)
{
	int fds[FD_PASS_MAX];

	for (size_t i = 0; i < t->tasks.n;) {
		int n = fd_recv(from, fds, FD_PASS_MAX);
		if (n <= 0)
			return n < 0 ? n : -EPROTO;
		for (int k = 0; k < n; k++)
			if (i < t->tasks.n)
				t->tasks.data[i++].uffd = fds[k];
			else
				close(fds[k]);
	}
	return 0;
}

static int receive_task(int from, struct tracked *t)
{
	struct kept k;
	int r = fd_read_all(from, &k, sizeof k);

	*t = (struct tracked){ .uffd = -1 };
	if (r == 0 && k.witnesses > WITNESSES_MAX)
		r = -EPROTO;
	if (r < 0)
		return r;
	t->pid = (pid_t)k.pid;
	t->start_time = k.start_time;
	if (k.witnesses)
		t->witnesses.list.data = mem_zalloc(k.witnesses * sizeof *t->witnesses.list.data);
	t->witnesses.list.n = t->witnesses.list.cap = k.witnesses;
	return fd_read_all(from, t->witnesses.list.data, k.witnesses * sizeof *t->witnesses.list.data);
}

static int receive_all(int from, const char *path, struct tracking *t)
{
	struct greeting g;
	int r = fd_read_all(from, &g, sizeof g);

	if (r == 0 && (memcmp(g.magic, greeting_magic, sizeof g.magic) || g.n > TASKS_MAX || g.kind > TRACKER_UFFD))
		r = -EPROTO;
	if (r < 0)
		return r;
	t->kind = (enum tracker_kind)g.kind;
	memcpy(t->round, g.round, sizeof t->round);
	t->round[ROUND_SIZE - 1] = 0;
	for (uint32_t i = 0; r == 0 && i < g.n; i++)
		r = receive_task(from, &array_push(&t->tasks));
	if (r == 0 && t->kind == TRACKER_UFFD)
		r = receive_fds(from, t);
	if (r < 0)
		return r;
	unlink(path);   /* before the receipt: from there on the name is free for the next keeper */
	return fd_write_all(from, "", 1);
}

int keeper_take(pid_t root, uint64_t start, struct tracking *out)
{
	const struct timeval patience = { .tv_sec = 10 };
	struct sockaddr_un a;
	int r = socket_address(root, start, &a);

	*out = (struct tracking){ 0 };
	if (r < 0 || access(a.sun_path, F_OK) < 0)
		return -ENOENT;
	autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&a, sizeof a) < 0)
		return -ECONNREFUSED;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	r = receive_all(fd, a.sun_path, out);
	if (r < 0)
		tracking_done(out);
	return r < 0 ? -ECONNREFUSED : 0;
}
