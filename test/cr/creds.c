/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credentials (an argument, 0 to 2, chooses one of the three): a process with different real, effective, saved and file system
 * ids, supplementary groups, capabilities reduced in each of the five sets, securebits, no_new_privs; a second one with plain
 * ids of a user and nothing else; a thread whose ids differ from its process (by the raw system call). /proc/PID/task/TID/status tells.
 */
#include "cr.h"

#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <pthread.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static const char *const lines[] = { "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs" };
#define LINES (int)(sizeof(lines) / sizeof(lines[0]))

struct seen {
	char line[LINES][256];
	int securebits;
};

static void look(struct seen *s)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", gettid());
	for (int i = 0; i < LINES; i++)
		snprintf(s->line[i], sizeof(s->line[i]), "%.255s", cr_proc(path, lines[i]));
	s->securebits = prctl(PR_GET_SECUREBITS);
}

static void compare(const char *who, const struct seen *was)
{
	struct seen is;

	look(&is);
	for (int i = 0; i < LINES; i++)
		expect(!strcmp(was->line[i], is.line[i]), "%s: %s is '%s' instead of '%s'", who, lines[i], is.line[i],
		       was->line[i]);
	expect(was->securebits == is.securebits, "%s: securebits %#x instead of %#x", who, (unsigned)is.securebits,
	       (unsigned)was->securebits);
}

static void set_caps(uint64_t effective, uint64_t permitted, uint64_t inheritable)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2] = {
		{ (uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable },
		{ effective >> 32, permitted >> 32, inheritable >> 32 },
	};

	need(syscall(SYS_capset, &header, data) == 0);
}

#define CAP(name) (1ULL << CAP_##name)

static int intricate(void *arg)
{
	static const gid_t groups[] = { 7, 1001, 70000 };
	struct seen was;

	(void)arg;
	need(prctl(PR_SET_SECUREBITS, SECBIT_KEEP_CAPS | SECBIT_NO_SETUID_FIXUP | SECBIT_NOROOT_LOCKED | SECBIT_NOROOT) == 0);
	need(prctl(PR_CAPBSET_DROP, CAP_SYS_MODULE) == 0 && prctl(PR_CAPBSET_DROP, CAP_SYS_RAWIO) == 0);
	need(setgroups(3, groups) == 0 && setresgid(11, 12, 13) == 0);
	setfsgid(14);
	need(setresuid(21, 22, 23) == 0);
	setfsuid(24);
	set_caps(CAP(CHOWN) | CAP(NET_RAW), CAP(CHOWN) | CAP(NET_RAW) | CAP(NET_ADMIN) | CAP(BPF), CAP(NET_RAW) | CAP(BPF));
	need(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW, 0, 0) == 0);
	need(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	need(prctl(PR_SET_DUMPABLE, 1) == 0);
	look(&was);
	cr_child_ready();
	cr_wait_go();
	compare("intricate", &was);
	return 0;
}

static int user(void *arg)
{
	struct seen was;

	(void)arg;
	need(setgroups(0, NULL) == 0 && setresgid(1000, 1000, 1000) == 0 && setresuid(1000, 1000, 1000) == 0);
	look(&was);
	cr_child_ready();
	cr_wait_go();
	compare("user", &was);
	expect(setresuid(0, 0, 0) < 0, "a user may become root");
	expect(prctl(PR_GET_DUMPABLE) == 0 || prctl(PR_GET_DUMPABLE) == 2, "dumpable %d", prctl(PR_GET_DUMPABLE));
	return 0;
}

static pthread_barrier_t set;

static void *odd_thread(void *arg)
{
	struct seen was;

	need(syscall(SYS_setresgid, 31, 32, 33) == 0 && syscall(SYS_setresuid, 0, 42, 43) == 0);
	look(&was);
	pthread_barrier_wait(&set);
	cr_wait_go();
	compare("thread", &was);
	return arg;
}

static int with_thread(void *arg)
{
	struct seen was;
	pthread_t t;

	(void)arg;
	pthread_barrier_init(&set, NULL, 2);
	need(pthread_create(&t, NULL, odd_thread, NULL) == 0);
	pthread_barrier_wait(&set);
	look(&was);
	cr_child_ready();
	cr_wait_go();
	compare("process of the thread", &was);
	pthread_join(t, NULL);
	return 0;
}

int main(int argc, char **argv)
{
	static int (*const children[])(void *) = { intricate, user, with_thread };
	pid_t pids[3];

	cr_begin(argc, argv);
	if (geteuid() != 0)
		cr_skip("needs root");
	for (int i = 0; i < 3; i++)
		if (argc < 3 || argv[2][0] - '0' == i)
			pids[i] = cr_fork(children[i], NULL);
	cr_wait();
	for (int i = 0; i < 3; i++)
		if (argc < 3 || argv[2][0] - '0' == i)
			cr_join(pids[i]);
	return cr_end();
}
