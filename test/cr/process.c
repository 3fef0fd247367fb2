/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process has besides: the OOM killer's adjustment, registrations for membarrier, real-time scheduling with the
 * reset-on-fork flag in one thread, a root directory of its own with the working directory inside and one with it
 * outside, the audit login uid.
 */
#include "cr.h"

#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>

static pthread_barrier_t ready;
static int real_time;

static long membarrier(int command)
{
	return syscall(SYS_membarrier, command, 0, 0);
}

static int number(const char *file)
{
	FILE *f = fopen(file, "re");
	int v = -1;

	if (f && fscanf(f, "%d", &v) != 1)
		v = -1;
	if (f)
		fclose(f);
	return v;
}

static void *fifo(void *arg)
{
	struct sched_param p = { 7 };
	int policy = SCHED_FIFO | SCHED_RESET_ON_FORK;

	real_time = sched_setscheduler(0, policy, &p) == 0;   /* a cgroup without real-time budget refuses */
	pthread_barrier_wait(&ready);
	cr_wait_go();
	p.sched_priority = 0;
	if (real_time) {
		expect(sched_getscheduler(0) == policy, "policy %#x instead of %#x", sched_getscheduler(0), policy);
		expect(sched_getparam(0, &p) == 0 && p.sched_priority == 7, "priority %d instead of 7", p.sched_priority);
	}
	return arg;
}

/* A root directory of its own. With an argument, the working directory lies outside. */
static int jailed(void *arg)
{
	struct stat root, cwd, now;
	const char *jail = cr_path(arg ? "jail.out" : "jail.in");

	need(mkdir(jail, 0755) == 0);
	if (!arg)
		need(chdir(jail) == 0);
	else
		need(chdir("/") == 0);
	need(stat(jail, &root) == 0 && stat(".", &cwd) == 0);
	int dir = open(cr_dir, O_PATH | O_DIRECTORY);
	need(dir >= 0 && chroot(jail) == 0);
	cr_child_ready();
	while (faccessat(dir, "go", F_OK, 0) < 0)
		cr_sleep_ms(1);
	int bad = stat("/", &now) < 0 || now.st_ino != root.st_ino ? 1 : 0;
	bad |= stat(".", &now) < 0 || now.st_ino != cwd.st_ino || now.st_dev != cwd.st_dev ? 2 : 0;
	return bad;
}

int main(int argc, char **argv)
{
	pthread_t t;

	cr_begin(argc, argv);
	if (geteuid() != 0)
		cr_skip("needs root");
	int adjust = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	need(adjust >= 0 && write(adjust, "321", 3) == 3 && close(adjust) == 0);
	need(membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0);
	pthread_barrier_init(&ready, NULL, 2);
	need(pthread_create(&t, NULL, fifo, NULL) == 0);
	pthread_barrier_wait(&ready);
	pid_t in = cr_fork(jailed, NULL), out = cr_fork(jailed, argv);
	int login = number("/proc/self/loginuid");
	cr_wait();
	expect(number("/proc/self/oom_score_adj") == 321, "oom_score_adj %d instead of 321", number("/proc/self/oom_score_adj"));
	expect(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0, "membarrier: %s", strerror(errno));
	expect(number("/proc/self/loginuid") == login, "login uid %d instead of %d", number("/proc/self/loginuid"), login);
	pthread_join(t, NULL);
	cr_join(in);
	cr_join(out);
	return cr_end();
}
