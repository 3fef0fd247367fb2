/* SPDX-License-Identifier: Apache-2.0 */
/* ps: the processes of a container. As JSON the host's pids; as a table the lines of ps(1) (with the user's options, else -ef) whose
 * PID column names one of them. What ps prints is only cut into lines here, never interpreted further. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "cmd/cmd.h"
#include "spec/json.h"

extern char **environ;

static void print_json(const pid_t *pids, size_t n)
{
	struct json_out o = { 0 };

	json_open_array(&o, NULL);
	for (size_t i = 0; i < n; i++)
		json_add_i64(&o, NULL, pids[i]);
	json_close_array(&o);
	autofree char *text = json_take(&o);
	puts(text);
}

/* Which blank-separated column of ps's title line is PID, from 0; -1: none. */
static int pid_column(const char *title)
{
	int column = 0;

	for (const char *p = title + strspn(title, " "); *p && *p != '\n'; p += strspn(p, " "), column++) {
		size_t n = strcspn(p, " \n");
		if (n == 3 && !strncmp(p, "PID", 3))
			return column;
		p += n;
	}
	return -1;
}

static bool names_one_of(const char *line, int column, const pid_t *pids, size_t n)
{
	const char *p = line + strspn(line, " ");

	for (; column > 0; column--) {
		p += strcspn(p, " ");
		p += strspn(p, " ");
	}
	long pid = strtol(p, NULL, 10);
	for (size_t i = 0; i < n; i++)
		if (pids[i] == pid)
			return true;
	return false;
}

static int filter(FILE *in, const pid_t *pids, size_t n)
{
	autofree char *line = NULL;
	size_t size = 0;
	int column = -1;

	if (getline(&line, &size, in) > 0)
		column = pid_column(line);
	if (column < 0)
		return fail_text(EINVAL, "ps: its output has no PID column; choose options that show one");
	fputs(line, stdout);
	while (getline(&line, &size, in) > 0)
		if (names_one_of(line, column, pids, n))
			fputs(line, stdout);
	return 0;
}

static int start_ps(char *const *argv, int out, pid_t *pid)
{
	posix_spawn_file_actions_t actions;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	int error = posix_spawnp(pid, "ps", &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	return error ? fail(error, "run ps") : 0;
}

static int print_table(char **options, const pid_t *pids, size_t n)
{
	static char ps[] = "ps", all[] = "-ef";
	ARRAY(char *) argv = { 0 };
	int ends[2], status = 0;
	pid_t pid;

	array_push(&argv) = ps;
	for (char **p = options; *p; p++)
		array_push(&argv) = *p;
	if (!*options)
		array_push(&argv) = all;
	array_push(&argv) = NULL;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return fail(errno, "make a pipe");
	int r = start_ps(argv.data, ends[1], &pid);
	array_free(&argv);
	close(ends[1]);
	FILE *in = fdopen(ends[0], "r");
	if (r == 0)
		r = filter(in, pids, n);
	fclose(in);
	if (r == 0 && (waitpid(pid, &status, 0) < 0 || status))
		r = fail_text(EIO, "ps failed with status %d", status);
	return r;
}

int shim_ps(struct shim_call *c)
{
	struct container *container;
	autofree pid_t *pids = NULL;
	int r = container_open(&c->oci, c->argv[0], &container);

	if (r < 0)
		return r;
	ssize_t n = container_pids(container, &pids);
	container_free(container);
	if (n < 0)
		return (int)n;
	if (c->o->format == SHIM_TABLE)
		return print_table(c->argv + 1, pids, (size_t)n);
	print_json(pids, (size_t)n);
	return 0;
}
