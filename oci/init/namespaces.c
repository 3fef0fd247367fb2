/* SPDX-License-Identifier: Apache-2.0 */
/* A container's namespaces: new ones, and those joined by path.
 *
 * A pid or time namespace can only be given to a child, by the clone that makes it; for a new one clone3() has flags. To be born in
 * an existing pid namespace, the parent points its "for children" namespace there, clones, and points it back: a namespace that is
 * the caller's own or below it may be set again. (So a caller with threads must not clone at the same time in another.)
 *
 * All others the child makes or joins itself, after the clone: the runtime works on beside it, as a network namespace takes the
 * kernel a while. The cgroup namespace must be made after the child has entered its v1 groups, since its root is where the task is
 * at that moment; all new ones are made in that one unshare().
 *
 * Joining is by descriptor, opened before anything changes, with the type given to setns(): a path to another kind of namespace is
 * an error, not a surprise. Not handled: user namespaces; a container without a mount namespace, or in somebody else's (its root
 * filesystem would be built in the host's tree or another container's). */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "init/internal.h"

int namespaces_check(const struct spec *s)
{
	if (s->namespaces[NS_USER].wanted)
		return fail_text(EOPNOTSUPP, "config.json: linux.namespaces: user namespaces are not supported by this version of torpor");
	if (!s->namespaces[NS_MOUNT].wanted || s->namespaces[NS_MOUNT].path)
		return fail_text(EOPNOTSUPP, "config.json: linux.namespaces: a new mount namespace is needed (type \"mount\" without a path)");
	return 0;
}

int namespaces_open(struct init *i)
{
	for (int k = 0; k < NS_KINDS; k++) {
		const char *path = i->spec->namespaces[k].path;
		if (!path)
			continue;
		i->joined[k] = open(path, O_RDONLY | O_CLOEXEC);
		if (i->joined[k] < 0)
			return fail(errno, "config.json: linux.namespaces: open the %s namespace %s", spec_namespaces[k].spec, path);
	}
	return 0;
}

void namespaces_close(struct init *i)
{
	for (int k = 0; k < NS_KINDS; k++)
		fd_close(&i->joined[k]);
}

static bool is_new(const struct init *i, enum spec_namespace kind)
{
	return i->spec->namespaces[kind].wanted && !i->spec->namespaces[kind].path;
}

static uint64_t clone_flags(const struct init *i)
{
	uint64_t flags = is_new(i, NS_PID) ? CLONE_NEWPID : 0;

	return is_new(i, NS_TIME) && !i->time_done ? flags | CLONE_NEWTIME : flags;
}

static int unshare_flags(const struct init *i)
{
	static const enum spec_namespace kinds[] = { NS_MOUNT, NS_NETWORK, NS_UTS, NS_IPC, NS_CGROUP };
	uint64_t flags = 0;

	for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
		if (is_new(i, kinds[k]))
			flags |= spec_namespaces[kinds[k]].clone_flag;
	return (int)flags;
}

static int set_children_pid_namespace(int fd)
{
	return setns(fd, CLONE_NEWPID) < 0 ? -errno : 0;
}

/* A child that is born among the container's processes (exec, a joined pid namespace) must not be dumpable for a moment, or they could
 * reach the runtime's memory and descriptors through it: the flag is inherited, so it is cleared before the clone. */
static pid_t clone_child(struct clone_args *a)
{
	int dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);

	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	long pid = syscall(SYS_clone3, a, sizeof *a);
	pid_t result = pid < 0 ? -errno : (pid_t)pid;
	if (pid != 0 && dumpable == 1)
		prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	return result;
}

pid_t namespaces_clone(const struct init *i, int cgroup2, int pid_ns, pid_t set_pid, int *pidfd)
{
	autoclose int own = pid_ns >= 0 ? open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC) : -1;
	struct clone_args a = {
		.flags = (i->target < 0 ? clone_flags(i) : 0) | CLONE_PIDFD,
		.pidfd = (uintptr_t)pidfd,
		.exit_signal = SIGCHLD,
		.set_tid = set_pid ? (uintptr_t)&set_pid : 0,
		.set_tid_size = set_pid ? 1 : 0,
	};

	if (cgroup2 >= 0) {
		a.flags |= CLONE_INTO_CGROUP;
		a.cgroup = (uint64_t)cgroup2;
	}
	if (pid_ns >= 0 && own < 0)
		return fail(errno, "open /proc/self/ns/pid");
	int r = pid_ns >= 0 ? set_children_pid_namespace(pid_ns) : 0;
	if (r < 0)
		return fail(-r, "join the pid namespace %s", i->target < 0 ? i->spec->namespaces[NS_PID].path : "of the container");
	pid_t pid = clone_child(&a);
	if (pid == 0)
		return 0;
	if (pid_ns >= 0)
		r = set_children_pid_namespace(own);
	if (pid == -EEXIST && set_pid)
		return fail_text(EEXIST, "pid %d is in use in the container's pid namespace", set_pid);
	if (pid == -EINVAL && set_pid > 1 && a.flags & CLONE_NEWPID)
		return fail_text(EINVAL, "pid %d for the first process of a new pid namespace: it can only be 1", set_pid);
	if (pid < 0)
		return fail(-pid, "clone the container's process");
	if (r < 0) {   /* every later child of this process would be born inside */
		kill(pid, SIGKILL);
		return fail(-r, "return to the own pid namespace");
	}
	return pid;
}

static int join(const struct init *i, enum spec_namespace kind)
{
	if (i->joined[kind] < 0 || kind == NS_PID)
		return 0;
	if (setns(i->joined[kind], (int)spec_namespaces[kind].clone_flag) < 0)
		return fail(errno, "config.json: linux.namespaces: join the %s namespace %s", spec_namespaces[kind].spec,
			i->spec->namespaces[kind].path);
	return 0;
}

/* A device that is down has no address: the kernel gives lo its addresses when it comes up. */
int loopback_up(void)
{
	struct ifreq request = { .ifr_name = "lo" };
	autoclose int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return fail(errno, "bring the loopback device up: make a socket");
	request.ifr_flags = IFF_UP | IFF_RUNNING;
	return ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? fail(errno, "bring the loopback device up") : 0;
}

int namespaces_enter(const struct init *i)
{
	int flags = unshare_flags(i), r = 0;

	for (int k = 0; r >= 0 && k < NS_KINDS; k++)
		r = join(i, (enum spec_namespace)k);
	if (r < 0)
		return r;
	if (unshare(flags) < 0)
		return fail(errno, "make the container's namespaces (flags 0x%x)", (unsigned)flags);
	return flags & CLONE_NEWNET ? loopback_up() : 0;
}
