/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals: a handler with its mask, flags and restorer for many signals; ignored and default ones; blocked ones that are
 * pending for the process and for a single thread, queued several times with their values (sigqueue) and once (kill).
 * Afterwards the dispositions are the same, and every pending signal arrives at the right thread, once, in order, with
 * its sender and value.
 */
#include "cr.h"

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>

static void handler(int signo, siginfo_t *info, void *context)
{
	(void)signo, (void)info, (void)context;
}

static struct sigaction before[65];

static void set_handlers(void)
{
	for (int i = 1; i <= SIGRTMAX; i++) {
		struct sigaction a = { .sa_sigaction = handler };
		static const int flags[] = { SA_SIGINFO, SA_SIGINFO | SA_RESTART, SA_NODEFER, SA_RESETHAND | SA_ONSTACK,
					     SA_NOCLDSTOP | SA_NOCLDWAIT | SA_SIGINFO };
		if (i == SIGKILL || i == SIGSTOP || i == 32 || i == 33)
			continue;
		a.sa_flags = flags[i % 5];
		sigemptyset(&a.sa_mask);
		sigaddset(&a.sa_mask, i % 31 + 1);
		sigaddset(&a.sa_mask, 40 + i % 20);
		if (i % 7 == 0)
			a.sa_handler = SIG_IGN;
		if (i % 11 == 0)
			a.sa_handler = SIG_DFL;
		need(sigaction(i, &a, NULL) == 0 && sigaction(i, NULL, &before[i]) == 0);
	}
}

static void check_handlers(void)
{
	for (int i = 1; i <= SIGRTMAX; i++) {
		struct sigaction a;
		if (i == SIGKILL || i == SIGSTOP || i == 32 || i == 33)
			continue;
		expect(sigaction(i, NULL, &a) == 0, "sigaction %d", i);
		expect(a.sa_sigaction == before[i].sa_sigaction, "signal %d: another handler", i);
		expect(a.sa_flags == before[i].sa_flags, "signal %d: flags %#x instead of %#x", i, (unsigned)a.sa_flags,
		       (unsigned)before[i].sa_flags);
		expect(!memcmp(&a.sa_mask, &before[i].sa_mask, 8), "signal %d: another mask", i);
	}
}

/* One pending signal of this thread or process, as (number, code, value). */
static void expect_next(const char *who, int signo, int code, int value)
{
	struct timespec none = { 0, 0 };
	sigset_t set;
	siginfo_t info;

	sigemptyset(&set);
	sigaddset(&set, signo);
	int r = sigtimedwait(&set, &info, &none);
	expect(r == signo, "%s: signal %d is not pending", who, signo);
	if (r != signo)
		return;
	expect(info.si_code == code, "%s: signal %d: code %d instead of %d", who, signo, info.si_code, code);
	expect(info.si_pid == getpid(), "%s: signal %d: sender %d", who, signo, info.si_pid);
	expect(code != SI_QUEUE || info.si_value.sival_int == value, "%s: signal %d: value %d instead of %d", who, signo,
	       info.si_value.sival_int, value);
}

static void expect_none(const char *who)
{
	struct timespec none = { 0, 0 };
	sigset_t set;

	sigfillset(&set);
	int r = sigtimedwait(&set, NULL, &none);
	expect(r < 0, "%s: signal %d is pending once too often", who, r);
}

/* The code of a signal sent by tgkill: SI_TKILL or SI_USER, as the kernel is. */
static int tgkill_code;

static void learn_tgkill_code(void)
{
	sigset_t set;
	siginfo_t info;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	need(syscall(SYS_tgkill, getpid(), gettid(), SIGHUP) == 0 && sigwaitinfo(&set, &info) == SIGHUP);
	tgkill_code = info.si_code;
}

static pthread_barrier_t sent, done;

static void *thread(void *arg)
{
	sigset_t set, now;
	union sigval value = { .sival_int = 501 };

	sigfillset(&set);
	sigdelset(&set, SIGUSR2);
	sigdelset(&set, SIGCONT);
	need(pthread_sigmask(SIG_SETMASK, &set, NULL) == 0);
	need(pthread_sigmask(SIG_SETMASK, NULL, &set) == 0);
	need(pthread_sigqueue(pthread_self(), SIGRTMIN + 4, value) == 0);
	need(syscall(SYS_tgkill, getpid(), gettid(), SIGUSR1) == 0);
	pthread_barrier_wait(&sent);
	cr_wait_go();
	need(pthread_sigmask(SIG_SETMASK, NULL, &now) == 0);
	expect(!memcmp(&set, &now, 8), "thread: another signal mask");
	expect_next("thread", SIGRTMIN + 4, SI_QUEUE, 501);
	expect_next("thread", SIGUSR1, tgkill_code, 0);
	pthread_barrier_wait(&done);
	return arg;
}

int main(int argc, char **argv)
{
	sigset_t set, now;
	pthread_t t;

	cr_begin(argc, argv);
	set_handlers();
	sigfillset(&set);
	need(pthread_sigmask(SIG_SETMASK, &set, NULL) == 0 && pthread_sigmask(SIG_SETMASK, NULL, &set) == 0);
	learn_tgkill_code();
	pthread_barrier_init(&sent, NULL, 2);
	pthread_barrier_init(&done, NULL, 2);
	need(pthread_create(&t, NULL, thread, NULL) == 0);
	pthread_barrier_wait(&sent);
	for (int i = 0; i < 3; i++) {
		union sigval value = { .sival_int = 1000 + i };
		need(sigqueue(getpid(), SIGRTMIN + 1, value) == 0);
	}
	need(kill(getpid(), SIGTERM) == 0 && kill(getpid(), SIGTERM) == 0);
	need(syscall(SYS_tgkill, getpid(), gettid(), SIGHUP) == 0);
	cr_wait();

	need(pthread_sigmask(SIG_SETMASK, NULL, &now) == 0);
	expect(!memcmp(&set, &now, 8), "another signal mask");
	check_handlers();
	expect_next("process", SIGHUP, tgkill_code, 0);
	expect_next("process", SIGTERM, SI_USER, 0);
	for (int i = 0; i < 3; i++)
		expect_next("process", SIGRTMIN + 1, SI_QUEUE, 1000 + i);
	pthread_barrier_wait(&done);
	pthread_join(t, NULL);
	expect_none("process");
	return cr_end();
}
