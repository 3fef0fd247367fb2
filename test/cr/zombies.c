/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Children that are dead and not waited for: by exit codes, by signals, with and without a core; a zombie that leads a
 * process group, and one that leads a session, with a living member in each. Afterwards each is still there to be
 * waited for, once, with its status.
 */
#include "cr.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static const int codes[] = { 0, 1, 77, 255 };
static const int signals[] = { SIGKILL, SIGTERM, SIGUSR1, SIGSEGV, 37 };
#define CODES (int)(sizeof(codes) / sizeof(codes[0]))
#define SIGNALS (int)(sizeof(signals) / sizeof(signals[0]))

static pid_t corpse(int code, int signo)
{
	pid_t pid = fork();
	siginfo_t info;

	need(pid >= 0);
	if (!pid) {
		if (signo)
			raise(signo);
		_exit(code);
	}
	need(waitid(P_PID, pid, &info, WEXITED | WNOWAIT) == 0);
	return pid;
}

static int stay(void *arg)
{
	pid_t group = getpgrp(), session = getsid(0);

	(void)arg;
	cr_child_ready();
	cr_wait_go();
	expect(getpgrp() == group && getsid(0) == session, "group %d and session %d instead of %d and %d", getpgrp(),
	       getsid(0), group, session);
	return 0;
}

/* The leader of a session or group makes a member and ends. */
static int leader(void *arg)
{
	need(arg ? setsid() > 0 : setpgid(0, 0) == 0);
	pid_t pid = fork();
	need(pid >= 0);
	if (!pid)
		_exit(stay(NULL) || cr_faults);
	return 9;
}

static void expect_status(pid_t pid, int wanted)
{
	int status = -1;

	expect(waitpid(pid, &status, WNOHANG) == pid, "zombie %d is not there: %s", pid, strerror(errno));
	expect(status == wanted, "zombie %d: wait status %#x instead of %#x", pid, (unsigned)status, (unsigned)wanted);
}

int main(int argc, char **argv)
{
	pid_t by_code[CODES], by_signal[SIGNALS], group, session;
	struct rlimit no_core = { 0, 0 };
	siginfo_t info;

	cr_begin(argc, argv);
	need(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0); /* the members of dead leaders come here */
	setrlimit(RLIMIT_CORE, &no_core);
	for (int i = 0; i < CODES; i++)
		by_code[i] = corpse(codes[i], 0);
	for (int i = 0; i < SIGNALS; i++)
		by_signal[i] = corpse(0, signals[i]);
	group = cr_fork(leader, NULL);
	session = cr_fork(leader, argv);
	need(waitid(P_PID, group, &info, WEXITED | WNOWAIT) == 0);
	need(waitid(P_PID, session, &info, WEXITED | WNOWAIT) == 0);
	cr_wait();
	for (int i = 0; i < CODES; i++)
		expect_status(by_code[i], codes[i] << 8);
	for (int i = 0; i < SIGNALS; i++)
		expect_status(by_signal[i], signals[i]);
	expect_status(group, 9 << 8);
	expect_status(session, 9 << 8);
	for (int status, i = 0; i < 2; i++)
		expect(wait(&status) > 0 && status == 0, "a member of a dead leader: wait status %#x", (unsigned)status);
	return cr_end();
}
