/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seccomp: two filters that all threads have, one with a log flag; a third that one thread has alone; a child with the
 * same chain and one more, and one in strict mode. Every filter makes another call fail with an error of its own.
 * Afterwards each thread finds exactly its filters, and a filter for all threads at once (TSYNC) is refused naming the
 * thread whose chain differs, or, in the child, succeeds: the threads still share their chain.
 */
#include "cr.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static pthread_barrier_t ready;
static volatile pid_t odd_tid;
static volatile int done;

/* The call fails with the error. */
static long install(long nr, int error, unsigned flags)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

static int error_of(long nr)
{
	return syscall(nr, -1, -1, -1, -1, -1) < 0 ? errno : 0;
}

static void check(const char *who, int acct, int swapon, int reboot)
{
	expect(prctl(PR_GET_SECCOMP) == 2, "%s: seccomp mode %d", who, prctl(PR_GET_SECCOMP));
	expect(error_of(SYS_acct) == acct, "%s: acct gives %d instead of %d", who, error_of(SYS_acct), acct);
	expect(error_of(SYS_swapoff) == swapon, "%s: swapoff gives %d instead of %d", who, error_of(SYS_swapoff), swapon);
	if (reboot)
		expect(error_of(SYS_delete_module) == reboot, "%s: delete_module gives %d", who, error_of(SYS_delete_module));
	expect(!strcmp(cr_proc("/proc/thread-self/status", "Seccomp_filters"), reboot ? "3" : "2"), "%s: %s filters", who,
	       cr_proc("/proc/thread-self/status", "Seccomp_filters"));
}

static void *plain(void *arg)
{
	pthread_barrier_wait(&ready);
	cr_wait_go();
	check("thread", 70, 71, 0);
	return arg;
}

static void *odd(void *arg)
{
	odd_tid = gettid();
	need(install(SYS_delete_module, 72, 0) == 0);
	pthread_barrier_wait(&ready);
	cr_wait_go();
	check("odd thread", 70, 71, 72);
	while (!done)
		cr_sleep_ms(1);
	return arg;
}

static void *sibling(void *arg)
{
	pthread_barrier_wait(&ready);
	cr_wait_go();
	pthread_barrier_wait(&ready);   /* the other has installed one for both */
	expect(error_of(SYS_quotactl) == 73, "sibling: quotactl gives %d", error_of(SYS_quotactl));
	return arg;
}

static int child(void *arg)
{
	pthread_t t;

	(void)arg;
	need(pthread_barrier_init(&ready, NULL, 2) == 0);
	need(pthread_create(&t, NULL, sibling, NULL) == 0);
	pthread_barrier_wait(&ready);
	need(install(SYS_delete_module, 72, SECCOMP_FILTER_FLAG_TSYNC) == 0);
	cr_child_ready();
	cr_wait_go();
	check("child", 70, 71, 72);
	long r = install(SYS_quotactl, 73, SECCOMP_FILTER_FLAG_TSYNC);
	expect(r == 0, "child: a filter for all threads: %ld", r);
	pthread_barrier_wait(&ready);
	pthread_join(t, NULL);
	return 0;
}

/* Strict mode allows read, write, exit and sigreturn only: it waits in a read for the parent. */
static int strict_pipe[2];

static int strict(void *arg)
{
	char byte;

	(void)arg;
	close(strict_pipe[1]);
	cr_child_ready();
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
	syscall(SYS_read, strict_pipe[0], &byte, 1);
	syscall(SYS_exit, byte);
	return 1;
}

int main(int argc, char **argv)
{
	pthread_t threads[2];
	int status;

	cr_begin(argc, argv);
	need(pipe2(strict_pipe, O_CLOEXEC) == 0);
	pid_t strict_pid = cr_fork(strict, NULL);
	need(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	need(install(SYS_acct, 70, 0) == 0 && install(SYS_swapoff, 71, SECCOMP_FILTER_FLAG_LOG) == 0);
	pid_t pid = cr_fork(child, NULL);
	pthread_barrier_init(&ready, NULL, 3);
	need(pthread_create(&threads[0], NULL, plain, NULL) == 0 && pthread_create(&threads[1], NULL, odd, NULL) == 0);
	pthread_barrier_wait(&ready);
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/status", strict_pid);
	while (strcmp(cr_proc(path, "Seccomp"), "1") != 0)
		cr_sleep_ms(1);
	cr_wait();
	check("leader", 70, 71, 0);
	pthread_join(threads[0], NULL);
	cr_join(pid);
	expect(!strcmp(cr_proc(path, "Seccomp"), "1"), "strict: mode %s", cr_proc(path, "Seccomp"));
	need(write(strict_pipe[1], "\5", 1) == 1);
	need(waitpid(strict_pid, &status, 0) == strict_pid);
	expect(status == 5 << 8, "strict: wait status %#x", (unsigned)status);
	long r = install(SYS_quotactl, 73, SECCOMP_FILTER_FLAG_TSYNC);
	expect(r == odd_tid, "a filter for all threads gives %ld, not the thread %d that has one of its own", r, odd_tid);
	done = 1;
	pthread_join(threads[1], NULL);
	return cr_end();
}
