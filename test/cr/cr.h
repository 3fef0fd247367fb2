/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The protocol of the test programs, one per kernel resource kind.
 *
 * A program is called as `PROGRAM DIR/ready [ARGUMENT…]`. It sets its state up, creates DIR/ready, waits until DIR/go
 * exists, then checks everything it set up. It leaves `ok`, or `skip: REASON`, or the list of what differs in
 * DIR/result, and exits with 0 or 1. Between `ready` and `go` the driver may save and restore it, several times.
 *
 *	int main(int argc, char **argv)
 *	{
 *		cr_begin(argc, argv);
 *		… set up, with need() for what must work …
 *		cr_wait();
 *		… expect(condition, "what differs: %d", value) …
 *		return cr_end();
 *	}
 *
 * Invariants:
 * 1. This header holds no descriptor, no mapping and no thread open between `ready` and `go`: what a program is made
 *    of is what its own file says. (A folder's path is all the state there is.)
 * 2. A child or a thread that checks for itself calls expect() as well: the faults of all go into DIR/faults.
 * 3. A child is made by cr_fork(), which returns when the child has called cr_child_ready(): nothing that is `ready`
 *    depends on luck.
 */
#ifndef CR_H
#define CR_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char cr_dir[PATH_MAX - 64];
static int cr_faults;
static int cr_sync = -1;

/* DIR/NAME, in one of four buffers in turn. They are the thread's own: one that waits for `go` does not put its path in the place of another's. */
static inline const char *cr_path(const char *name)
{
	static __thread char paths[4][PATH_MAX];
	static __thread unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%.60s", cr_dir, name);
	return path;
}

static inline void cr_write(const char *name, int flags, const char *text)
{
	int fd = open(cr_path(name), O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0666);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		_exit(3);
	close(fd);
}

/* The result appears whole or not at all. */
static inline void cr_result(const char *text)
{
	char from[PATH_MAX], to[PATH_MAX];

	cr_write("result.new", O_TRUNC, text);
	strcpy(from, cr_path("result.new"));
	strcpy(to, cr_path("result"));
	if (rename(from, to) < 0)
		_exit(3);
}

__attribute__((format(printf, 3, 4))) static inline void cr_fault(const char *file, int line, const char *format, ...)
{
	char text[1024];
	va_list args;
	int n = snprintf(text, sizeof(text), "%s:%d: ", basename((char *)(uintptr_t)file), line);

	va_start(args, format);
	n += vsnprintf(text + n, sizeof(text) - n - 1, format, args);
	va_end(args);
	n = n > (int)sizeof(text) - 2 ? (int)sizeof(text) - 2 : n;
	strcpy(text + n, "\n");
	cr_write("faults", O_APPEND, text);
	cr_faults++;
}

/* After `go`: what differs is noted, and the program goes on checking. */
#define expect(condition, ...) ((condition) ? (void)0 : cr_fault(__FILE__, __LINE__, __VA_ARGS__))

__attribute__((format(printf, 3, 4), noreturn)) static inline void cr_stop(const char *what, const char *condition,
									  const char *format, ...)
{
	char text[1024];
	int n = snprintf(text, sizeof(text), "%s: %s", what, condition);
	va_list args;

	va_start(args, format);
	vsnprintf(text + n, sizeof(text) - n, format, args);
	va_end(args);
	cr_result(text);
	_exit(2);
}

/* Before `ready`: what must work for there to be a test. */
#define need(condition) ((condition) ? (void)0 : cr_stop("setup", #condition, ": %s", strerror(errno)))
/* This machine cannot have the resource: the test is skipped, with the reason. */
#define cr_skip(...) cr_stop("skip", "", __VA_ARGS__)

static inline void cr_begin(int argc, char **argv)
{
	char path[PATH_MAX];

	if (argc < 2) {
		fprintf(stderr, "usage: %s DIR/ready [ARGUMENT]...\n", argv[0]);
		exit(2);
	}
	snprintf(path, sizeof(path), "%s", argv[1]);
	if (!realpath(dirname(path), path)) {
		fprintf(stderr, "%s: %s: %s\n", argv[0], argv[1], strerror(errno));
		exit(2);
	}
	if (snprintf(cr_dir, sizeof(cr_dir), "%s", path) >= (int)sizeof(cr_dir))
		exit(2);
}

static inline void cr_sleep_ms(long ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

	while (nanosleep(&t, &t) < 0 && errno == EINTR)
		;
}

/* Children and threads wait with this one; the main program with cr_wait(). */
static inline void cr_wait_go(void)
{
	while (access(cr_path("go"), F_OK) < 0)
		cr_sleep_ms(1);
}

/* All other threads of this process sleep (in what they wait for, if that is all they do): so found three times, with a pause in between. */
static inline void cr_wait_asleep(void)
{
	for (int found = 0; found < 3; found++) {
		DIR *dir = opendir("/proc/self/task");
		for (struct dirent *e; dir && (e = readdir(dir));) {
			char path[64], state = 'S';
			snprintf(path, sizeof(path), "/proc/self/task/%.20s/stat", e->d_name);
			FILE *f = e->d_name[0] == '.' || atoi(e->d_name) == gettid() ? NULL : fopen(path, "re");
			if (f && fscanf(f, "%*d (%*[^)]) %c", &state) == 1 && state != 'S')
				found = -1;
			if (f)
				fclose(f);
		}
		if (dir)
			closedir(dir);
		cr_sleep_ms(10);
	}
}

static inline void cr_ready(void)
{
	cr_write("ready", O_EXCL, "");
}

static inline void cr_wait(void)
{
	cr_ready();
	cr_wait_go();
}

static inline int cr_end(void)
{
	char text[16384];
	int fd = open(cr_path("faults"), O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	if (n <= 0 && !cr_faults) {
		cr_result("ok\n");
		return 0;
	}
	text[n > 0 ? n : 0] = 0;
	cr_result(n > 0 ? text : "faults that could not be written down\n");
	return 1;
}

/* In a child of cr_fork(): its state is set up. */
static inline void cr_child_ready(void)
{
	if (cr_sync >= 0)
		need(write(cr_sync, "", 1) == 1 && close(cr_sync) == 0);
	cr_sync = -1;
}

/* A child that runs f(arg), which calls cr_child_ready() once, and exits with its result, or 1 when it found faults. */
static inline pid_t cr_fork(int (*f)(void *arg), void *arg)
{
	int p[2];
	char byte;

	need(pipe(p) == 0);
	pid_t pid = fork();
	need(pid >= 0);
	if (!pid) {
		close(p[0]);
		if (cr_sync >= 0)
			close(cr_sync);
		cr_sync = p[1];
		cr_faults = 0;
		int r = f(arg);
		_exit(cr_faults ? 1 : r);
	}
	close(p[1]);
	need(read(p[0], &byte, 1) == 1);
	close(p[0]);
	return pid;
}

/* The child must exit with 0 by itself. */
static inline void cr_join(pid_t pid)
{
	int status = 0;

	expect(waitpid(pid, &status, 0) == pid, "wait for child %d: %s", pid, strerror(errno));
	expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child %d: wait status %#x", pid, (unsigned)status);
}

/* A pattern that differs at every eight bytes and by seed, so that a page in a wrong place shows. */
static inline uint64_t cr_pattern(uint64_t seed, size_t i)
{
	return (seed + 1) * 0x9e3779b97f4a7c15ULL + i * 0xbf58476d1ce4e5b9ULL;
}

static inline void cr_fill(void *at, size_t size, uint64_t seed)
{
	for (size_t i = 0; i < size / 8; i++)
		((uint64_t *)at)[i] = cr_pattern(seed, i);
}

static inline void cr_check_fill(const char *what, const void *at, size_t size, uint64_t seed)
{
	for (size_t i = 0; i < size / 8; i++)
		if (((const uint64_t *)at)[i] != cr_pattern(seed, i)) {
			cr_fault(what, 0, "at %p, byte %zu of %zu: %#jx instead of %#jx", at, i * 8, size,
				 (uintmax_t)((const uint64_t *)at)[i], (uintmax_t)cr_pattern(seed, i));
			return;
		}
}

static inline bool cr_is_zero(const void *at, size_t size)
{
	const unsigned char *p = at;

	return !size || (!p[0] && !memcmp(p, p + 1, size - 1));
}

static inline double cr_now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* The value of a "Name: value" line of a file of /proc, without blanks at its ends; empty when there is none. */
static inline const char *cr_proc(const char *file, const char *name)
{
	static __thread char values[4][512];
	static __thread unsigned next;
	char *value = values[next++ % 4], line[512];
	size_t n = strlen(name);
	FILE *f = fopen(file, "re");

	value[0] = 0;
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, n) && line[n] == ':') {
			char *from = line + n + 1;
			from += strspn(from, " \t");
			from[strcspn(from, "\n")] = 0;
			snprintf(value, sizeof(values[0]), "%s", from);
			break;
		}
	if (f)
		fclose(f);
	return value;
}

#endif
