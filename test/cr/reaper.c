/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `reaper COMMAND [ARGUMENT…]`: runs a command as the parent of all that it leaves behind. A restored process is nobody's
 * child, and goes to the nearest subreaper: here it is reaped at once (a machine's pid 1 may take seconds, and until
 * then the pid is taken, so that no second restore is possible), and whatever is left when the command ends is killed
 * and reaped too. The command gets no descriptors but the standard ones: what a caller's shell leaves open, perhaps of
 * another mount namespace, is no part of a test. Exits with the command's status.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* SIGKILL to every child of this process; how many there were. Killing brings grandchildren here as new children. */
static int kill_children(void)
{
	char path[64];
	int n = 0, pid;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	FILE *f = fopen(path, "re");
	while (f && fscanf(f, "%d", &pid) == 1) {
		kill(pid, SIGKILL);
		n++;
	}
	if (f)
		fclose(f);
	return n;
}

int main(int argc, char **argv)
{
	int status, result = 0;
	pid_t pid, command;

	if (argc < 2 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) {
		fprintf(stderr, "usage: reaper COMMAND [ARGUMENT]...\n");
		return 2;
	}
	close_range(3, ~0U, 0);
	command = fork();
	if (!command) {
		execvp(argv[1], argv + 1);
		fprintf(stderr, "reaper: %s: %s\n", argv[1], strerror(errno));
		_exit(127);
	}
	while ((pid = wait(&status)) > 0)
		if (pid == command) {
			result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
			break;
		}
	while (kill_children() > 0)
		while (waitpid(-1, NULL, 0) < 0 && errno == EINTR)
			;
	return result;
}
