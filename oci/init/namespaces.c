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
 * an error, not a surprise. Beside a new user namespace they are entered by the runtime, before the clone; with one that is joined, by a
 * process in between, before it enters that or after, whichever is allowed.
 *
 * A mount namespace is always new. What runc does with one that is joined (tried with 1.3.6): it builds the root filesystem there and pivots, by
 * which everybody who lives in it loses the mounts he had, and on the way it trusts the /proc and /dev of whoever made it. That is refused, as is a
 * container without a mount namespace, whose root would be built in the host's. */
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
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "init/internal.h"

int namespaces_check(const struct spec *s, bool restore)
{
	if (s->namespaces[NS_USER].wanted && restore)
		return fail_text(EOPNOTSUPP, "config.json: linux.namespaces: a container with a user namespace cannot be restored yet");
	if (!s->namespaces[NS_USER].wanted && geteuid() != 0) {
		int r = fail_text(EPERM, "config.json: linux.namespaces: operation not permitted for user %u without a user namespace", geteuid());
		fail_hint("rootless containers have a namespace of type \"user\", and linux.uidMappings and gidMappings");
		return r;
	}
	if (s->namespaces[NS_MOUNT].wanted && !s->namespaces[NS_MOUNT].path)
		return 0;
	int r = fail_text(EOPNOTSUPP, "config.json: linux.namespaces: a new mount namespace is needed (type \"mount\" without a path)");
	if (s->namespaces[NS_MOUNT].path)
		fail_hint("a root filesystem that is built in %s takes the mounts away from those who live there", s->namespaces[NS_MOUNT].path);
	else
		fail_hint("without one the container's root would be built in the host's");
	return r;
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

static bool child_sets_clocks(const struct init *i)
{
	return i->unprivileged && !i->restore && is_new(i, NS_TIME) && clocks_wanted(i->spec);
}

static uint64_t clone_flags(const struct init *i)
{
	uint64_t flags = (is_new(i, NS_PID) ? CLONE_NEWPID : 0) | (is_new(i, NS_USER) ? CLONE_NEWUSER : 0);

	return is_new(i, NS_TIME) && !i->time_done && !child_sets_clocks(i) ? flags | CLONE_NEWTIME : flags;
}

static int unshare_flags(const struct init *i)
{
	static const enum spec_namespace kinds[] = { NS_MOUNT, NS_NETWORK, NS_UTS, NS_IPC, NS_CGROUP };
	uint64_t flags = 0;

	for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
		if (is_new(i, kinds[k]))
			flags |= spec_namespaces[kinds[k]].clone_flag;
	return (int)(child_sets_clocks(i) ? flags | CLONE_NEWTIME : flags);
}

/* A child that is born among the container's processes (exec, a joined pid namespace) must not be dumpable for a moment, or they could
 * reach the runtime's memory and descriptors through it: the flag is inherited, so it is cleared before the clone. Only the first process of
 * a user's own new user namespace stays as it is: else its maps could not be written by that user. */
static bool stays_dumpable(const struct init *i)
{
	return i->unprivileged && i->target < 0 && is_new(i, NS_USER);   /* nobody else is in there */
}

static pid_t clone_child(const struct init *i, struct clone_args *a)
{
	int dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);

	if (!stays_dumpable(i))
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	long pid = syscall(SYS_clone3, a, sizeof *a);
	pid_t result = pid < 0 ? -errno : (pid_t)pid;
	if (pid != 0 && dumpable == 1)
		prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	return result;
}

static int join_by(int fd, const struct init *i, enum spec_namespace kind)
{
	if (setns(fd, (int)spec_namespaces[kind].clone_flag) < 0)
		return fail(errno, "config.json: linux.namespaces: join the %s namespace %s", spec_namespaces[kind].spec,
			i->spec->namespaces[kind].path);
	return 0;
}

/* In the runtime: what its children are born in. saved: the way back. A namespace that is to be joined beside a new user namespace belongs to
 * the host, and cannot be entered any more from within. */
static int enter_for_child(const struct init *i, int pid_ns, int saved[NS_KINDS])
{
	int r = 0;

	for (int k = 0; r >= 0 && k < NS_KINDS; k++) {
		char own[32];
		int fd = k == NS_PID ? pid_ns : i->target < 0 && is_new(i, NS_USER) ? i->joined[k] : -1;
		if (fd < 0)
			continue;
		snprintf(own, sizeof own, "/proc/self/ns/%s", spec_namespaces[k].proc);
		saved[k] = open(own, O_RDONLY | O_CLOEXEC);
		if (saved[k] < 0)
			return fail(errno, "open %s", own);
		if (i->target < 0)
			r = join_by(fd, i, (enum spec_namespace)k);
		else if (setns(fd, CLONE_NEWPID) < 0)
			r = fail(errno, "join the pid namespace of the container");
		if (r < 0)
			fd_close(&saved[k]);
	}
	return r;
}

static int return_from(int saved[NS_KINDS])
{
	int r = 0;

	for (int k = 0; k < NS_KINDS; k++) {
		if (saved[k] >= 0 && setns(saved[k], (int)spec_namespaces[k].clone_flag) < 0)
			r = fail(errno, "return to the own %s namespace", spec_namespaces[k].spec);
		fd_close(&saved[k]);
	}
	return r;
}

static pid_t explain_clone(const struct clone_args *a, pid_t set_pid, pid_t pid)
{
	if (pid == -EEXIST && set_pid)
		return fail_text(EEXIST, "pid %d is in use in the container's pid namespace", set_pid);
	if (pid == -EINVAL && set_pid > 1 && a->flags & CLONE_NEWPID)
		return fail_text(EINVAL, "pid %d for the first process of a new pid namespace: it can only be 1", set_pid);
	return pid < 0 ? fail(-pid, "clone the container's process") : pid;
}

/* A step in between, for a process that is to be born in an existing user namespace: whoever enters one cannot come back. It enters, has
 * the child (as its sibling, so the runtime's), and says its number. The same where the runtime is itself in a user namespace (rootless podman):
 * the namespaces that it would return to are not that one's. */
static int enter_user(const struct init *i)
{
	size_t mark = err_mark();
	bool done[NS_KINDS];
	int r = 0;

	if (i->target >= 0)
		return setns(i->target, CLONE_NEWUSER) < 0 || (i->kinds & CLONE_NEWPID && setns(i->target, CLONE_NEWPID) < 0) ?
			fail(errno, "enter the container's user and pid namespaces") : 0;
	for (int k = 0; k < NS_KINDS; k++)   /* those of the host, while they can be */
		done[k] = k == NS_USER || i->joined[k] < 0 || join_by(i->joined[k], i, (enum spec_namespace)k) >= 0;
	err_rewind(mark);
	r = join_by(i->joined[NS_USER], i, NS_USER);
	for (int k = 0; r >= 0 && k < NS_KINDS; k++)
		r = done[k] ? 0 : join_by(i->joined[k], i, (enum spec_namespace)k);
	return r;
}

static bool enters_user(const struct init *i)
{
	return i->target < 0 ? i->joined[NS_USER] >= 0 : i->user_entered;
}

static pid_t between(const struct init *i, struct clone_args *a, int pid_ns, int answer)
{
	int no_return[NS_KINDS];
	int r = enters_user(i) ? enter_user(i) : enter_for_child(i, pid_ns, no_return);
	pid_t pid = r;

	if (!stays_dumpable(i))
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (r >= 0) {
		a->flags = (a->flags & ~(uint64_t)(CLONE_PIDFD | (enters_user(i) ? CLONE_NEWUSER : 0))) | CLONE_PARENT;
		a->exit_signal = 0;
		pid = explain_clone(a, 0, clone_child(i, a));
		if (pid == 0)
			return 0;
	}
	if (fd_write_all(answer, &pid, sizeof pid) == 0 && pid < 0)
		err_send(answer);
	_exit(0);
}

static pid_t clone_inside(const struct init *i, struct clone_args *a, int pid_ns, int *pidfd)
{
	int ends[2];
	pid_t pid = 0;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return fail(errno, "make a pipe");
	int dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
	if (!stays_dumpable(i))
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	pid_t middle = fork();
	if (middle == 0)
		return between(i, a, pid_ns, ends[1]);
	prctl(PR_SET_DUMPABLE, dumpable == 1, 0, 0, 0);
	fd_close(&ends[1]);
	int r = middle < 0 ? fail(errno, "fork") : fd_read_all(ends[0], &pid, sizeof pid);
	if (middle > 0 && (r < 0 || pid < 0)) {
		r = r < 0 || err_recv(ends[0]) < 0 ? fail_text(ECHILD, "the way into the user namespace ended") : pid;
		pid = 0;
	}
	fd_close(&ends[0]);
	if (middle > 0)
		waitpid(middle, NULL, 0);
	if (r < 0)
		return r;
	*pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	return *pidfd < 0 ? fail(errno, "open a pidfd of pid %d", pid) : pid;
}

/* Whether enter_for_child() has something to do. */
static bool enters_any(const struct init *i, int pid_ns)
{
	bool any = pid_ns >= 0;

	for (int k = 0; k < NS_KINDS; k++)
		any |= i->target < 0 && is_new(i, NS_USER) && i->joined[k] >= 0;
	return any;
}

pid_t namespaces_clone(const struct init *i, int cgroup2, int pid_ns, pid_t set_pid, int *pidfd)
{
	int saved[NS_KINDS];
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
	if (enters_user(i) || (i->unprivileged && enters_any(i, pid_ns)))
		return clone_inside(i, &a, pid_ns, pidfd);
	for (int k = 0; k < NS_KINDS; k++)
		saved[k] = -1;
	int r = enter_for_child(i, pid_ns, saved);
	pid_t pid = r < 0 ? r : clone_child(i, &a);
	if (pid == 0)
		return 0;
	int back = return_from(saved);
	if (r < 0)
		return r;
	pid = explain_clone(&a, set_pid, pid);
	if (pid >= 0 && back < 0) {   /* every later child of this process would be born inside */
		kill(pid, SIGKILL);
		return back;
	}
	return pid;
}

static int join(const struct init *i, enum spec_namespace kind)
{
	bool born_in = kind == NS_PID || i->spec->namespaces[NS_USER].wanted;

	return i->joined[kind] < 0 || born_in ? 0 : join_by(i->joined[kind], i, kind);
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
	r = flags & CLONE_NEWTIME ? clocks_write(i->proc, i->spec) : 0;
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (r < 0)
		return r;
	return flags & CLONE_NEWNET ? loopback_up() : 0;
}
