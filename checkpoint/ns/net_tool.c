/* SPDX-License-Identifier: Apache-2.0 */
/* nft and the iptables programs, run for what they alone can say. A child of posix_spawn() is in the network namespace of the thread that
 * made it, and in the engine's own mount namespace: nothing of the container's files is executed. */
#define LOG_PREFIX "net"
#include "ns/net_tool.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"

static int start(const char *const *argv, int in, int out, int err, pid_t *pid)
{
	static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", locale[] = "LC_ALL=C";
	char *environment[] = { path, locale, NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none;

	sigemptyset(&none);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	posix_spawn_file_actions_adddup2(&actions, in, 0);
	posix_spawn_file_actions_adddup2(&actions, out, 1);
	posix_spawn_file_actions_adddup2(&actions, err, 2);
	int r = posix_spawnp(pid, argv[0], &actions, &attributes, (char *const *)(uintptr_t)argv, environment);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return -r;
}

static int failed(const char *program, int status, int err)
{
	char text[256] = "";
	ssize_t n = pread(err, text, sizeof text - 1, 0);

	text[n > 0 ? n : 0] = 0;
	text[strcspn(text, "\n")] = 0;
	if (WIFSIGNALED(status))
		return fail_text(EIO, "%s was killed by signal %d", program, WTERMSIG(status));
	return fail_text(EIO, "%s failed with status %d: %s", program, WEXITSTATUS(status), *text ? text : "it does not say why");
}

int net_tool(const char *const *argv, int in, int out)
{
	/* Above 2: dup2() in the child would leave the close-on-exec flag on a descriptor that is in its place. */
	autoclose int null = open("/dev/null", O_RDWR | O_CLOEXEC), err = memfd_create("stderr", MFD_CLOEXEC);
	pid_t pid;
	int status;

	if (null < 0 || err < 0)
		return fail(errno, "prepare to run %s", argv[0]);
	int r = start(argv, in < 0 ? null : in, out < 0 ? null : out, err, &pid);
	if (r == -ENOENT) {
		fail_text(ENOENT, "the program %s is needed for the network namespace's rules, and is not installed", argv[0]);
		return -ENOENT;
	}
	if (r < 0)
		return fail(-r, "run %s", argv[0]);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return fail(errno, "wait for %s", argv[0]);
	return status == 0 ? 0 : failed(argv[0], status, err);
}
