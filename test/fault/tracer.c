/* SPDX-License-Identifier: Apache-2.0 */
/* tracer PID [stop]: traces a thread (PTRACE_SEIZE), says "traced", and goes on until its standard input ends. With stop, the thread
 * is held in a stop as well. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int status;
	char byte;

	if (argc < 2)
		return 2;
	pid_t pid = atoi(argv[1]);
	if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) < 0 ||
	    (argc > 2 && (ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) < 0 || waitpid(pid, &status, __WALL) != pid))) {
		perror("tracer");
		return 1;
	}
	puts("traced");
	fflush(stdout);
	while (read(0, &byte, 1) > 0 || errno == EINTR)
		;
	return 0;
}
