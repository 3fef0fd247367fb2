/* SPDX-License-Identifier: Apache-2.0 */
/* holder PID: makes a process with that pid, which sleeps, and waits for its end. */
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	pid_t want = argc > 1 ? atoi(argv[1]) : 0;
	struct clone_args a = { .exit_signal = SIGCHLD, .set_tid = (uint64_t)(uintptr_t)&want, .set_tid_size = 1 };
	long pid = syscall(SYS_clone3, &a, sizeof a);

	if (pid == 0)
		for (;;)
			pause();
	if (pid < 0)
		perror("clone3");
	return pid < 0 || waitpid((pid_t)pid, NULL, 0) != pid;
}
