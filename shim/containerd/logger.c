/* SPDX-License-Identifier: Apache-2.0 */
/* Logging programs (binary:// and binary-v2://): they read a process's output themselves, from descriptors 3 and 4, and say on 5 that they are
 * ready. One ends when the pipes do. */
#include "containerd/logger.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"

#define LOGGER_READY_MS 10000

bool logger_is_meant(const char *uri)
{
	return str_starts(uri, "binary://") || str_starts(uri, "binary-v2://");
}

/* "key=value&key=value" becomes arguments: key value key value. The text is cut up. */
static char **logger_arguments(char *path, char *query)
{
	size_t n = 2;

	for (const char *p = query; p && *p; p++)
		n += *p == '&' ? 2 : 0;
	char **argv = mem_zalloc((n + 3) * sizeof *argv);
	argv[0] = path;
	for (size_t k = 1; query && *query;) {
		char *next = strchr(query, '&'), *value;
		if (next)
			*next++ = '\0';
		value = strchr(query, '=');
		if (value)
			*value++ = '\0';
		argv[k++] = query;
		argv[k++] = value ? value : query + strlen(query);
		query = next;
	}
	return argv;
}

/* The logging program says that it is ready by closing descriptor 5, or by a byte there. */
static int logger_ready(int fd, const char *path, bool byte_needed)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char byte;
	int n = poll(&p, 1, LOGGER_READY_MS);

	if (n <= 0)
		return fail(n ? errno : ETIMEDOUT, "the logging program %s is not ready", path);
	if (read(fd, &byte, 1) == 0 && byte_needed)
		return fail_text(EPIPE, "the logging program %s ended before it was ready", path);
	return 0;
}

int logger_start(const char *uri, const int streams[2], const char *container, const char *containerd_ns)
{
	bool second = str_starts(uri, "binary-v2://");
	autofree char *path = str_dup(uri + strlen(second ? "binary-v2://" : "binary://"));
	autofree char *id = str_printf("CONTAINER_ID=%s", container), *ns = str_printf("CONTAINER_NAMESPACE=%s", containerd_ns);
	char *query = strchr(path, '?'), *env[] = { id, ns, NULL };
	posix_spawn_file_actions_t actions;
	int ready[2], high[3];
	pid_t pid;

	if (query)
		*query++ = '\0';
	if (pipe2(ready, O_CLOEXEC) < 0)
		return fail(errno, "make a pipe for the logging program");
	/* Out of the way of 3, 4 and 5 first. */
	high[0] = fcntl(streams[0], F_DUPFD_CLOEXEC, 10);
	high[1] = fcntl(streams[1], F_DUPFD_CLOEXEC, 10);
	high[2] = fcntl(ready[1], F_DUPFD_CLOEXEC, 10);
	close(ready[1]);
	posix_spawn_file_actions_init(&actions);
	for (int k = 0; k < 3; k++)
		posix_spawn_file_actions_adddup2(&actions, high[k], 3 + k);
	autofree char **argv = logger_arguments(path, query);
	int err = posix_spawn(&pid, path, &actions, NULL, argv, env);
	posix_spawn_file_actions_destroy(&actions);
	for (int k = 0; k < 3; k++)
		close(high[k]);
	autoclose int in = ready[0];
	return err ? fail(err, "start the logging program %s", path) : logger_ready(in, path, second);
}
