/* SPDX-License-Identifier: Apache-2.0 */
/* killafter [-t | -v PID] MICROSECONDS PROGRAM ARGUMENT…: runs a program and kills it (SIGKILL, it alone) after that time. Says on standard
 * output "killed", or "exit N" if it was done before. MICROSECONDS 0: never. -t: the time it took, in microseconds, is said as well.
 * -v: not the program is killed, but another process. The program's own standard output goes nowhere. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int main(int argc, char **argv)
{
	int timed = argc > 1 && !strcmp(argv[1], "-t"), status;
	pid_t victim = argc > 2 && !strcmp(argv[1], "-v") ? atoi(argv[2]) : 0;
	int options = timed ? 1 : victim ? 2 : 0;
	char **args = argv + 1 + options;

	if (argc < 3 + options)
		return 2;
	long us = atol(args[0]), began = now_us();
	prctl(PR_SET_TIMERSLACK, 1);
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_TIMERSLACK, 0);
		if (!freopen("/dev/null", "w", stdout))   /* who reads what we say must not wait for what it leaves */
			_exit(127);
		execvp(args[1], args + 1);
		_exit(127);
	}
	if (us) {
		usleep((useconds_t)us);
		kill(victim ? victim : pid, SIGKILL);
	}
	if (waitpid(pid, &status, 0) != pid)
		return 2;
	if (WIFSIGNALED(status))
		printf(WTERMSIG(status) == SIGKILL && us && !victim ? "killed" : "signal %d", WTERMSIG(status));
	else
		printf("exit %d", WEXITSTATUS(status));
	if (timed)
		printf(" %ld", now_us() - began);
	printf("\n");
	return 0;
}
