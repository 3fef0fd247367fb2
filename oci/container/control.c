/* SPDX-License-Identifier: Apache-2.0 */
/* Signals, freezing and the end of a container.
 *
 * Facts relied on: a pidfd names one process for ever, so a signal through it never hits a later process of the same number; it
 * becomes readable when the process has ended, also as a zombie that somebody else has yet to reap. A frozen v1 cgroup holds even
 * SIGKILL back until it is thawed. When the first process of a pid namespace ends, the kernel kills the others; without such a
 * namespace they stay, in the cgroup, and are killed through it.
 *
 * Delete is idempotent: each step (kill, wait, cgroups, directory) takes "gone already" for done, the directory goes last, so
 * that a delete which was killed half-way can be repeated. */
#define LOG_PREFIX "container"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "actions.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "cgroup/cgroup.h"
#include "cgroup/rdt.h"
#include "container/hooks.h"
#include "container/internal.h"

#define END_WAIT_MS 500
#define KILL_WAIT_MS 10000

static int fail_not_running(struct container *c)
{
	return fail_text(ESRCH, "container not running: %s", c->id);
}

/* Every process of a container: by its cgroup, or, where a user could make none, by its pid namespace. */
static int signal_everyone(struct container *c, int sig)
{
	autofree pid_t *pids = NULL;

	if (c->cgroups.n)
		return cgroup_kill(&c->cgroups, sig);
	ssize_t n = container_pids(c, &pids);
	for (ssize_t i = 0; i < n; i++)
		kill(pids[i], sig);
	return n < 0 ? (int)n : 0;
}

static int signal_init(struct container *c, int sig)
{
	autoclose int fd = container_init_pidfd(c);

	if (fd < 0)
		return fail_not_running(c);
	if (syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0) < 0)
		return errno == ESRCH ? fail_not_running(c) : fail(errno, "container %s: send signal %d to init (pid %d)", c->id, sig, c->pid);
	return 0;
}

int container_kill(struct container *c, int sig, bool all)
{
	enum oci_status status = container_status(c);
	int r = 0;

	if (status == OCI_STOPPED || status == OCI_CREATING) {
		if (!all)
			return fail_not_running(c);
		return signal_everyone(c, sig);
	}
	if (all || (sig == SIGKILL && !c->private_pid))
		r = signal_everyone(c, sig);
	else
		r = signal_init(c, sig);
	if (r == 0 && sig == SIGKILL && status == OCI_PAUSED)
		r = cgroup_freeze(&c->cgroups, false);
	return r;
}

int container_pause(struct container *c)
{
	int r = container_lock(c);

	if (r < 0)
		return r;
	enum oci_status status = container_status(c);
	if (!c->cgroups.n && status != OCI_STOPPED)
		r = fail_text(EOPNOTSUPP, "cannot pause container %s: it has no cgroup of its own (none was delegated to its user)", c->id);
	else if (status == OCI_RUNNING || status == OCI_CREATED)
		r = cgroup_freeze(&c->cgroups, true);
	else if (status == OCI_PAUSED)
		r = fail_text(EBUSY, "container is paused already: %s", c->id);
	else
		r = fail_not_running(c);
	container_unlock(c);
	return r;
}

int container_resume(struct container *c)
{
	int r = container_lock(c);

	if (r < 0)
		return r;
	if (container_status(c) == OCI_PAUSED)
		r = cgroup_freeze(&c->cgroups, false);
	else
		r = fail_text(EINVAL, "container not paused: %s", c->id);
	container_unlock(c);
	return r;
}

/* Waits until init has ended. */
static int wait_init(struct container *c, int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	int r;

	do
		r = poll(&p, 1, KILL_WAIT_MS);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return fail(errno, "container %s: wait for init (pid %d)", c->id, c->pid);
	return r ? 0 : fail_text(ETIMEDOUT, "container %s: init (pid %d) did not end within %d seconds of SIGKILL", c->id, c->pid,
				KILL_WAIT_MS / 1000);
}

static int kill_init(struct container *c)
{
	autoclose int fd = container_init_pidfd(c);

	if (fd < 0)
		return 0;
	if (syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
		return fail(errno, "container %s: kill init (pid %d)", c->id, c->pid);
	size_t mark = err_mark();
	if (cgroup_frozen(&c->cgroups) > 0 && cgroup_freeze(&c->cgroups, false) < 0)
		log_warn("container %s: %s", c->id, err_line(mark));
	err_rewind(mark);
	return wait_init(c, fd);
}

/* What is left in the cgroups when init has ended: all of it, if the container had no pid namespace of its own. */
static int kill_rest(struct container *c)
{
	for (int i = 0; i < KILL_WAIT_MS / 10; i++) {
		autofree pid_t *pids = NULL;
		ssize_t n = cgroup_pids(&c->cgroups, &pids);
		if (n <= 0)
			return (int)n;
		int r = cgroup_kill(&c->cgroups, SIGKILL);
		if (r < 0)
			return r;
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	}
	return fail_text(ETIMEDOUT, "container %s: processes are left in its cgroup that do not end", c->id);
}

/* `kill ID KILL && delete ID`: a process that was killed a moment ago needs one to end. */
static enum oci_status status_soon(struct container *c)
{
	enum oci_status status = container_status(c);
	autoclose int fd = status == OCI_RUNNING ? container_init_pidfd(c) : -1;
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return fd >= 0 && poll(&p, 1, END_WAIT_MS) > 0 ? container_status(c) : status;
}

static int delete_locked(struct container *c, bool force)
{
	enum oci_status status = force ? container_status(c) : status_soon(c);

	if (!force && status != OCI_STOPPED && status != OCI_CREATED && status != OCI_CREATING)
		return fail_text(EBUSY, "cannot delete container %s that is not stopped: %s", c->id, oci_status_names[status]);
	int r = kill_init(c);
	if (r == 0)
		r = kill_rest(c);
	if (r == 0)
		r = cgroup_remove(&c->cgroups);
	if (r == 0)
		rdt_remove(&c->resctrl);
	if (r == 0)
		oci_lock_sweep(c);
	return r < 0 ? r : container_remove(c);
}

/* The hooks that run when all is gone, their configuration included. One that cannot be read must not keep the rest. */
static void load_poststop(struct container *c, struct spec **s)
{
	size_t mark = err_mark();

	if (c->poststop && container_spec(c, s) < 0) {
		log_warn("container %s: its poststop hooks are not run: %s", c->id, err_line(mark));
		err_rewind(mark);
	}
}

int container_delete(struct container *c, bool force)
{
	struct spec *s = NULL;
	int r = container_lock(c);

	if (r < 0)
		return r;
	load_poststop(c, &s);
	r = delete_locked(c, force);
	container_unlock(c);
	if (r == 0 && s)
		hooks_poststop(s, c->id);
	spec_free(s);
	return r;
}
