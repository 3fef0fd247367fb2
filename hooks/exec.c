/* SPDX-License-Identifier: Apache-2.0 */
/* Running a hook.
 *
 * The program gets exactly the environment that was written down for it, three descriptors and a session of its own:
 *   0      the input, as a sealed memory file: a program that does not read it cannot make anybody wait, however large it is
 *   1, 2   a pipe; what comes out of it last is part of the error if the program fails, and is lost if it does not
 *   others are closed, those too that the caller got from its own caller
 *
 * A program that does not end in time is killed with its whole session's process group. One that ends but leaves something behind
 * that holds the pipe is not waited for: its own end, seen through a pidfd, is what counts.
 *
 * Why there was no execve() comes back over a close-on-exec pipe as an error trail. */
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"

#define TAIL 400
#define REPORT 3

struct run {
	const struct hook *hook;
	int input, output[2], report[2];
	int pidfd;
	pid_t pid;
	char tail[TAIL + 1];   /* the last bytes of the output */
	size_t n;
};

static int open_input(const char *text, size_t size)
{
	autoclose int fd = memfd_create("state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r = fd < 0 ? -errno : fd_pwrite_all(fd, text, size, 0);

	if (r >= 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		r = -errno;
	return r < 0 ? fail(-r, "make the hook's input") : take_fd(&fd);
}

/* --- the child ---------------------------------------------------------------------------------------------------------- */

static void reset_signals(void)
{
	sigset_t none;

	for (int sig = 1; sig < 65; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* All are above 2 (open_all()), so none is overwritten before it was used. */
static int place_descriptors(const struct run *r)
{
	if (dup2(r->input, 0) < 0 || dup2(r->output[1], 1) < 0 || dup2(r->output[1], 2) < 0)
		return fail(errno, "hook %s: set its descriptors", r->hook->path);
	if (r->report[1] != REPORT && dup3(r->report[1], REPORT, O_CLOEXEC) < 0)
		return fail(errno, "hook %s: set its descriptors", r->hook->path);
	if (syscall(SYS_close_range, REPORT + 1, ~0u, 0) < 0)
		return fail(errno, "hook %s: close the runtime's descriptors", r->hook->path);
	return 0;
}

static int execute(const struct hook *h)
{
	char *const alone[] = { (char *)(uintptr_t)h->path, NULL }, *const nothing[] = { NULL };

	if ((!h->directory || chdir(h->directory) < 0) && chdir("/") < 0)
		return fail(errno, "hook %s: enter /", h->path);
	int done = h->confine ? h->confine(h->arg) : 0;
	if (done < 0)
		return done;
	execve(h->path, h->args && *h->args ? h->args : alone, h->env ? h->env : nothing);
	return fail(errno, "hook %s: execute it", h->path);
}

_Noreturn static void child(const struct run *r)
{
	err_clear();
	setsid();
	reset_signals();
	if (place_descriptors(r) >= 0)
		execute(r->hook);
	err_send(REPORT);
	_exit(127);
}

/* --- the caller --------------------------------------------------------------------------------------------------------- */

static void keep_tail(struct run *r, const char *text, size_t n)
{
	if (n > TAIL) {
		text += n - TAIL;
		n = TAIL;
	}
	size_t keep = r->n + n > TAIL ? TAIL - n : r->n;
	memmove(r->tail, r->tail + r->n - keep, keep);
	memcpy(r->tail + keep, text, n);
	r->n = keep + n;
}

/* False: nothing more will come. */
static bool take_output(struct run *r)
{
	char text[4096];
	ssize_t n = read(r->output[0], text, sizeof text);

	if (n > 0)
		keep_tail(r, text, (size_t)n);
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ll + t.tv_nsec / 1000000;
}

static int time_left(const struct run *r, int64_t deadline)
{
	int64_t left = deadline - now_ms();

	return !r->hook->timeout ? -1 : left < 0 ? 0 : left > 1 << 30 ? 1 << 30 : (int)left;
}

/* Until the program has ended: 0, or -ETIMEDOUT. */
static int watch(struct run *r)
{
	struct pollfd p[] = { { .fd = r->pidfd, .events = POLLIN }, { .fd = r->output[0], .events = POLLIN } };
	int64_t deadline = now_ms() + r->hook->timeout * 1000ll;

	for (;;) {
		int left = time_left(r, deadline);
		int n = poll(p, 2, left);
		if (n < 0 && errno != EINTR)
			return fail(errno, "hook %s: wait for it", r->hook->path);
		if (n > 0 && p[1].revents && !take_output(r))
			p[1].fd = -1;
		if (n > 0 && p[0].revents)
			return 0;
		if (left == 0)
			return -ETIMEDOUT;
	}
}

/* In one line. */
static const char *last_words(struct run *r)
{
	while (r->n && strchr(" \n\r\t", r->tail[r->n - 1]))
		r->n--;
	r->tail[r->n] = 0;
	for (char *c = r->tail; *c; c++)
		if ((unsigned char)*c < ' ')
			*c = ' ';
	return r->tail;
}

static int explain(struct run *r, const siginfo_t *end, bool late)
{
	const char *path = r->hook->path;
	size_t mark = err_mark();
	struct pollfd p = { .fd = r->report[0], .events = POLLIN };

	if (!late && end->si_code == CLD_EXITED && end->si_status == 0)
		return 0;
	if (poll(&p, 1, 0) > 0 && err_recv(r->report[0]) == 0 && err_count() > mark)
		return -ENOEXEC;
	for (int i = 0; i < 16 && poll(&(struct pollfd){ .fd = r->output[0], .events = POLLIN }, 1, 0) > 0 && take_output(r); i++)
		;
	const char *words = last_words(r), *colon = *words ? ": " : "";
	if (late)
		return fail_text(ETIMEDOUT, "hook %s: it did not end within %u s and was killed%s%s", path, r->hook->timeout, colon, words);
	if (end->si_code == CLD_EXITED)
		return fail_text(ECHILD, "hook %s: exit status %d%s%s", path, end->si_status, colon, words);
	return fail_text(ECHILD, "hook %s: killed by signal %d%s%s", path, end->si_status, colon, words);
}

static int finish(struct run *r)
{
	siginfo_t end = { 0 };
	int done = watch(r);

	if (done < 0) {
		kill(-r->pid, SIGKILL);
		syscall(SYS_pidfd_send_signal, r->pidfd, SIGKILL, NULL, 0);
	}
	while (waitid(P_PIDFD, (id_t)r->pidfd, &end, WEXITED) < 0)
		if (errno != EINTR)
			return fail(errno, "hook %s: wait for it", r->hook->path);
	return done < 0 && done != -ETIMEDOUT ? done : explain(r, &end, done == -ETIMEDOUT);
}

static int start(struct run *r)
{
	r->pid = fork();
	if (r->pid == 0)
		child(r);
	if (r->pid < 0)
		return fail(errno, "hook %s: make a process", r->hook->path);
	fd_close(&r->output[1]);
	fd_close(&r->report[1]);
	r->pidfd = (int)syscall(SYS_pidfd_open, r->pid, 0);
	if (r->pidfd >= 0)
		return 0;
	int done = fail(errno, "hook %s: open a pidfd of it", r->hook->path);
	kill(r->pid, SIGKILL);
	waitpid(r->pid, NULL, 0);
	return done;
}

/* Above 2, even if the caller has closed its own. */
static int above_stdio(int *fd)
{
	int higher = *fd > REPORT ? *fd : fcntl(*fd, F_DUPFD_CLOEXEC, REPORT + 1);

	if (higher < 0)
		return fail(errno, "copy a descriptor for a hook");
	if (higher != *fd)
		fd_close(fd);
	*fd = higher;
	return 0;
}

static int open_all(struct run *r, const char *input, size_t size)
{
	r->input = open_input(input, size);
	if (r->input < 0)
		return r->input;
	if (pipe2(r->output, O_CLOEXEC) < 0 || pipe2(r->report, O_CLOEXEC) < 0)
		return fail(errno, "make a pipe for a hook");
	int *const used[] = { &r->input, &r->output[1], &r->report[1] };
	for (size_t i = 0; i < sizeof used / sizeof *used; i++)
		if (above_stdio(used[i]) < 0)
			return -EMFILE;
	return fcntl(r->output[0], F_SETFL, O_NONBLOCK) < 0 ? fail(errno, "set a hook's pipe") : 0;
}

int hook_exec(const struct hook *h, const char *input, size_t size)
{
	struct run r = { .hook = h, .input = -1, .output = { -1, -1 }, .report = { -1, -1 }, .pidfd = -1 };
	int done = open_all(&r, input, size);

	if (done >= 0)
		done = start(&r);
	if (done >= 0)
		done = finish(&r);
	fd_close(&r.input);
	for (int i = 0; i < 2; i++) {
		fd_close(&r.output[i]);
		fd_close(&r.report[i]);
	}
	fd_close(&r.pidfd);
	return done;
}
