/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A child that SIGSTOP stopped, one that SIGTSTP stopped, and one stopped with a second thread: they are stopped
 * afterwards as well, their parent can wait for them, and SIGCONT makes them go on.
 */
#include "cr.h"

#include <pthread.h>
#include <signal.h>

static void *wait_too(void *arg)
{
	cr_wait_go();
	return arg;
}

static int child(void *arg)
{
	pthread_t t;

	/* A group whose members have no parent in the session outside of it is orphaned, and SIGTSTP does nothing there. */
	need(setpgid(0, 0) == 0);
	if (arg)
		need(pthread_create(&t, NULL, wait_too, NULL) == 0);
	cr_child_ready();
	cr_wait_go();
	if (arg)
		pthread_join(t, NULL);
	return 0;
}

static char state(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	return cr_proc(path, "State")[0];
}

/* A restored or released task is stopped when it has run a moment, all threads of it: its parent is told then. */
static bool is_stopped(pid_t pid, siginfo_t *info)
{
	for (int ms = 0; ms < 40000; ms++) {
		if (waitid(P_PID, pid, info, WSTOPPED | WNOHANG) < 0)
			return false;
		if (info->si_pid == pid)
			return true;
		cr_sleep_ms(1);
	}
	return false;
}

int main(int argc, char **argv)
{
	static const int signals[] = { SIGSTOP, SIGTSTP, SIGSTOP };
	siginfo_t info;
	pid_t pids[3];

	cr_begin(argc, argv);
	for (int i = 0; i < 3; i++) {
		pids[i] = cr_fork(child, i == 2 ? argv : NULL);
		need(kill(pids[i], signals[i]) == 0);
		need(waitid(P_PID, pids[i], &info, WSTOPPED | WNOWAIT) == 0 && info.si_status == signals[i]);
	}
	cr_wait();
	for (int i = 0; i < 3; i++) {
		bool stopped = is_stopped(pids[i], &info);
		expect(stopped && info.si_status == signals[i], "child %d: stopped by %d instead of %d", i, stopped ? info.si_status : 0,
		       signals[i]);
		expect(state(pids[i]) == 'T', "child %d: state %c", i, state(pids[i]));
	}
	cr_sleep_ms(50);
	for (int i = 0; i < 3; i++) {
		expect(state(pids[i]) == 'T', "child %d: does not stay stopped: state %c", i, state(pids[i]));
		kill(pids[i], SIGCONT);
		cr_join(pids[i]);
	}
	return cr_end();
}
