/* SPDX-License-Identifier: Apache-2.0 */
/* Action scripts, with CRIU's interface (criu(8), --action-script): no arguments, the caller's environment and
 *   CRTOOLS_SCRIPT_ACTION   the point that was reached
 *   CRTOOLS_IMAGE_DIR       a path of the images directory, good while the engine lives
 *   CRTOOLS_INIT_PID        the root task, once it is known
 *   TORPOR_ID               the container, if it is one
 * Standard output and error are the caller's. Signal handling is the default, and no other descriptor is handed on (all of ours are
 * close-on-exec). */
#include "scripts.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/str.h"

extern char **environ;

#define OURS 4

static bool is_ours(const char *entry)
{
	return !strncmp(entry, "CRTOOLS_SCRIPT_ACTION=", 22) || !strncmp(entry, "CRTOOLS_IMAGE_DIR=", 18) ||
	       !strncmp(entry, "CRTOOLS_INIT_PID=", 17) || !strncmp(entry, "TORPOR_ID=", 10);
}

/* The caller's environment with ours in front; the array is the caller's to free, its strings are not. */
static char **make_environment(char *ours[OURS])
{
	size_t n = 0, k = 0;

	while (environ[n])
		n++;
	char **all = mem_zalloc((n + OURS + 1) * sizeof *all);
	for (int i = 0; i < OURS; i++)
		if (ours[i])
			all[k++] = ours[i];
	for (size_t i = 0; i < n; i++)
		if (!is_ours(environ[i]))
			all[k++] = environ[i];
	return all;
}

static int start(const char *path, char **env, pid_t *pid)
{
	char *const argv[] = { str_dup(path), NULL };
	posix_spawnattr_t attr;
	sigset_t none, all;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	int err = posix_spawn(pid, path, NULL, &attr, argv, env);
	posix_spawnattr_destroy(&attr);
	free(argv[0]);
	return err;
}

static int run_one(const char *path, const char *name, char **env, int *status)
{
	pid_t pid;
	int ws, err = start(path, env, &pid);

	*status = 127;
	if (err)
		return fail(err, "%s: run the action script %s", name, path);
	while (waitpid(pid, &ws, 0) < 0)
		if (errno != EINTR)
			return fail(errno, "%s: wait for the action script %s", name, path);
	*status = WIFEXITED(ws) ? WEXITSTATUS(ws) : 128 + WTERMSIG(ws);
	if (!*status)
		return 0;
	return WIFEXITED(ws) ? fail_text(ECANCELED, "%s: the action script %s ended with status %d", name, path, *status)
			     : fail_text(ECANCELED, "%s: the action script %s was killed by signal %d", name, path, WTERMSIG(ws));
}

int action_scripts_run(void *arg, const struct ck_action_event *event)
{
	struct action_scripts *s = arg;
	const char *name = ck_action_name(event->action);
	size_t n = 0;
	int ret = 0;

	if (event->action == CK_QUERY_EXT_FILES || event->action == CK_ORPHAN_PTS_MASTER)
		return 0;   /* a script could not answer these */
	while (s->paths && s->paths[n])
		n++;
	if (!n)
		return 0;
	autofree char *action = str_printf("CRTOOLS_SCRIPT_ACTION=%s", name), *images = str_printf("CRTOOLS_IMAGE_DIR=%s", event->images);
	autofree char *root = event->root ? str_printf("CRTOOLS_INIT_PID=%d", event->root) : NULL;
	autofree char *id = s->id ? str_printf("TORPOR_ID=%s", s->id) : NULL;
	char **env = make_environment((char *[OURS]){ action, images, root, id });
	while (n-- > 0) {
		int status, r = run_one(s->paths[n], name, env, &status);
		if (r < 0 && ret == 0) {
			ret = r;
			s->status = status;
			s->failed = event->action;
		}
	}
	free(env);
	return ret;
}
