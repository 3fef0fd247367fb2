/* SPDX-License-Identifier: Apache-2.0 */
/* killer N COMMAND…: runs the command and kills it (SIGKILL) when its Nth system call has returned; exits with 137 then, else with the
 * command's own status. What the command starts is left alone. */
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	long left = argc > 2 ? atol(argv[1]) : 0;
	int status, entered = 0, signal = 0;
	pid_t pid = fork();

	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		execvp(argv[2], argv + 2);
		err(127, "%s", argv[2]);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		err(1, "start");
	ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | PTRACE_O_TRACEEXEC));
	for (;;) {
		ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(long)signal);
		if (waitpid(pid, &status, 0) < 0)
			err(1, "wait");
		if (WIFEXITED(status))
			return WEXITSTATUS(status);
		if (WIFSIGNALED(status))
			return 128 + WTERMSIG(status);
		signal = 0;
		if (status >> 8 == (SIGTRAP | PTRACE_EVENT_EXEC << 8))
			continue;
		if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {
			signal = WSTOPSIG(status);
			continue;
		}
		entered = !entered;
		if (entered || --left)
			continue;
		kill(pid, SIGKILL);
	}
}
