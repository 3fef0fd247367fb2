/* SPDX-License-Identifier: Apache-2.0 */
/* The main program of a unit test file: runs each test in a process of its own, in its own process group, with a timeout,
 * and prints one line per test, `ok NAME`, `FAILED NAME` or `skipped NAME: reason`, as test/run counts them.
 *
 *     build/test/unit/str [PATTERN]      only tests whose name contains PATTERN
 *     build/test/unit/str --here NAME    one test in this process, for a debugger
 *
 * A test's output goes to a temporary file and is shown only when the test failed. Whatever the test left running in its process
 * group is killed. */
#include "harness.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"

#define EXIT_SKIPPED 77

/* The directory of the test that runs as process pid; test/run's own for the whole file is around it. */
static const char *directory_of(pid_t pid)
{
	static char path[256];
	const char *parent = getenv("TEST_DIR");

	snprintf(path, sizeof path, "%s/torpor-unit-%d", parent ? parent : "/tmp", (int)pid);
	return path;
}

static pid_t test_pid;   /* of the test itself, in its children as well */

const char *test_dir(void)
{
	const char *path = directory_of(test_pid);

	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		test_failed(__FILE__, __LINE__, "mkdir %s: %s", path, strerror(errno));
	return path;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

void test_failed(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "%s:%d: ", file, line);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	for (size_t i = 0; i < err_count(); i++)
		fprintf(stderr, "  trail: %s\n", err_line(i));
	exit(1);
}

void test_skip(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(EXIT_SKIPPED);
}

void test_check_text(const char *file, int line, const char *what, const char *got, const char *wanted)
{
	if (got && wanted ? strcmp(got, wanted) != 0 : got != wanted)
		test_failed(file, line, "%s is \"%s\", not \"%s\"", what, got ? got : "(null)", wanted ? wanted : "(null)");
}

void test_check_has(const char *file, int line, const char *what, const char *text, const char *part)
{
	if (!text || !strstr(text, part))
		test_failed(file, line, "%s has no \"%s\": \"%s\"", what, part, text ? text : "(null)");
}

long test_check_ok(const char *file, int line, const char *what, long r)
{
	if (r < 0)
		test_failed(file, line, "%s failed: %s", what, strerror((int)-r));
	return r;
}

static void run_here(const struct test *t)
{
	test_pid = getpid();
	t->run();
	exit(0);
}

static void show(FILE *output)
{
	char line[1024];

	rewind(output);
	for (int lines = 0; lines < 60 && fgets(line, sizeof line, output); lines++)
		printf("    %s", line);
}

/* The last line of the output is the reason of a skip. */
static void show_reason(FILE *output)
{
	char line[1024] = "no reason given\n";

	rewind(output);
	while (fgets(line, sizeof line, output))
		;
	printf(": %s", line);
}

static int wait_for(pid_t pid, unsigned seconds, bool *late)
{
	sigset_t set;
	siginfo_t info;
	struct timespec limit = { .tv_sec = seconds };
	int status = -1;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	while (waitpid(pid, &status, WNOHANG) == 0)
		if (sigtimedwait(&set, &info, &limit) < 0 && errno == EAGAIN) {
			*late = true;
			break;
		}
	kill(-pid, SIGKILL);
	if (*late)
		waitpid(pid, &status, 0);
	return status;
}

static pid_t start(const struct test *t, FILE *output)
{
	sigset_t set;

	fflush(stdout);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	pid_t pid = fork();
	if (pid)
		return pid;
	setpgid(0, 0);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	dup2(fileno(output), 1);
	dup2(fileno(output), 2);
	setvbuf(stdout, NULL, _IOLBF, 0);
	run_here(t);
	return 0;
}

/* How many times as long as usual it may take (test/run). */
static unsigned patience(void)
{
	const char *text = getenv("TEST_PATIENCE");
	int n = text ? atoi(text) : 1;

	return n > 0 ? (unsigned)n : 1;
}

/* Returns whether the test did not fail. */
static bool run_one(const char *program, const struct test *t)
{
	bool late = false;
	FILE *output = tmpfile();
	pid_t pid = output ? start(t, output) : -1;

	if (pid < 0) {
		printf("FAILED %s:%s\n    cannot start: %s\n", program, t->name, strerror(errno));
		return false;
	}
	int status = wait_for(pid, (t->timeout ? t->timeout : TEST_TIMEOUT) * patience(), &late);
	nftw(directory_of(pid), remove_one, 16, FTW_DEPTH | FTW_PHYS);
	bool skipped = WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIPPED;
	bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	printf("%s %s:%s", skipped ? "skipped" : good ? "ok" : "FAILED", program, t->name);
	if (skipped)
		show_reason(output);
	else
		puts("");
	if (!good && !skipped) {
		if (late)
			printf("    timed out\n");
		else if (WIFSIGNALED(status))
			printf("    killed by signal %d (%s)\n", WTERMSIG(status), strsignal(WTERMSIG(status)));
		show(output);
	}
	fclose(output);
	return good || skipped;
}

int main(int argc, char **argv)
{
	bool good = true, here = argc == 3 && !strcmp(argv[1], "--here");
	const char *slash = strrchr(argv[0], '/'), *pattern = here ? argv[2] : argc > 1 ? argv[1] : "";
	char program[128];

	snprintf(program, sizeof program, "unit/%s", slash ? slash + 1 : argv[0]);
	for (const struct test *t = tests; t->name; t++) {
		if (here && !strcmp(t->name, pattern))
			run_here(t);
		if (!here && strstr(t->name, pattern))
			good &= run_one(program, t);
	}
	return good && !here ? 0 : 1;
}
