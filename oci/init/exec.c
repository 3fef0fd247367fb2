/* SPDX-License-Identifier: Apache-2.0 */
/* exec: one more process in a running container.
 *
 * The child is born in the container's pid namespace and cgroup2 group, enters the v1 groups, and then all other namespaces of the
 * container's init in one setns() on its pidfd (5.8): a pidfd cannot mean another process than the one that was checked. Entering a
 * mount namespace sets root and directory to that namespace's root, which with --no-pivot is the host's tree below the container's, so
 * the child goes into init's own root explicitly, by a descriptor taken from /proc/PID/root.
 *
 * What then applies is the same as for init (process.c): the limits, the seccomp filter, no_new_privs of the container, unless the
 * process object says otherwise. There is nothing to wait for: the runtime hears READY and then either the end of the socket, which
 * is the execve(), or the reason why there was none. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/proc.h"
#include "cgroup/cgroup.h"
#include "container/container.h"
#include "init/exec.h"

/* --- the runtime's side ------------------------------------------------------------------------------------------------------ */

/* With a user namespace of the container's, or around the runtime, only those are entered that are not the runtime's already: the host's
 * cannot be, from there. The pid namespace is the one that the child is born in. */
static int compare_namespaces(struct exec *x, pid_t pid)
{
	x->init.kinds = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP | CLONE_NEWTIME;
	for (int k = NS_KINDS - 1; k >= 0; k--) {
		uint64_t theirs, own;
		if (k != NS_USER && !x->spec->namespaces[NS_USER].wanted && !x->init.unprivileged)
			continue;
		if (proc_ns_inode(pid, spec_namespaces[k].proc, &theirs) < 0 || proc_ns_inode(getpid(), spec_namespaces[k].proc, &own) < 0)
			return fail(EIO, "look at the container's %s namespace", spec_namespaces[k].spec);
		if (k == NS_USER)
			x->init.foreign_user = theirs != own;
		else if (theirs == own)
			x->init.kinds &= ~(int)spec_namespaces[k].clone_flag;
	}
	x->init.user_entered = x->init.foreign_user && x->init.unprivileged;
	return 0;
}

/* What is opened by init's number is init's if it had not been reaped yet afterwards: until then nobody else gets the number. */
static int open_target(struct exec *x)
{
	char root[64];
	pid_t pid = x->c->pid;

	x->init.target = container_init_pidfd(x->c);
	if (x->init.target < 0)
		return fail_text(ESRCH, "cannot exec in a container that is not running: container not running: %s", x->c->id);
	int r = compare_namespaces(x, pid);
	if (r < 0)
		return r;
	snprintf(root, sizeof root, "/proc/%d/root", pid);
	x->init.target_root = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (x->init.target_root < 0)
		return fail(errno, "open the container's root (/proc/%d/root)", pid);
	if (syscall(SYS_pidfd_send_signal, x->init.target, 0, NULL, 0) < 0 && errno == ESRCH)
		return fail_text(ESRCH, "container not running: %s", x->c->id);
	return 0;
}

static int check_status(struct exec *x)
{
	enum oci_status status = container_status(x->c);

	if (status == OCI_PAUSED && !x->e->ignore_paused)
		return fail_text(EBUSY, "cannot exec in a paused container (use --ignore-paused to override): %s", x->c->id);
	if (status != OCI_RUNNING && status != OCI_CREATED && status != OCI_PAUSED)
		return fail_text(ESRCH, "cannot exec in a %s container: container not running: %s", oci_status_names[status], x->c->id);
	return 0;
}

static int open_all(struct exec *x)
{
	int ends[2];
	int r = check_status(x);

	if (r >= 0)
		r = open_target(x);
	if (r >= 0)
		r = channel_open(ends);
	if (r >= 0 && x->e->console_socket && (x->console_sock = console_connect(x->e->console_socket)) < 0)
		r = x->console_sock;
	if (r < 0)
		return r;
	x->sock = ends[0];
	x->init.sock = ends[1];
	x->init.proc = proc_open_host();
	exe_open(&x->init);
	return x->init.proc < 0 ? x->init.proc : 0;
}

/* A cgroup2 group that hands controllers on to groups below it takes no processes (EBUSY): a container that manages its groups itself, as
 * one with systemd does, has moved its init further down, and a process that is to be in the container as a whole goes there. */
static pid_t clone_beside_init(struct exec *x, pid_t failed, size_t mark)
{
	autofree char *own = NULL;

	if (failed != -EBUSY || x->e->cgroups || cgroup_unified_of(&x->c->cgroups, container_init_pid(x->c), &own) < 0)
		return failed;
	autoclose int group = open(own, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (group < 0)
		return failed;
	err_rewind(mark);
	return namespaces_clone(&x->init, group, x->init.kinds & CLONE_NEWPID ? x->init.target : -1, 0, &x->pidfd);
}

static int clone_process(struct exec *x)
{
	autoclose int cgroup2 = cgroup_open_unified(&x->groups, NULL);
	if (cgroup2 < 0 && cgroup2 != -ENOENT)
		return cgroup2;
	cpu_set_t saved;
	autofree char *score = NULL;
	int r = oom_score_lend(&x->init, &score);
	size_t mark = err_mark();
	if (r >= 0)
		r = affinity_begin(&x->process, &saved);
	if (r < 0)
		return r;
	x->pid = namespaces_clone(&x->init, cgroup2, x->init.kinds & CLONE_NEWPID ? x->init.target : -1, 0, &x->pidfd);
	if (x->pid < 0)
		x->pid = clone_beside_init(x, x->pid, mark);
	if (x->pid == 0) {
		close(x->sock);
		exec_child(&x->init);
	}
	affinity_end(&x->process, &saved);
	oom_score_return(score);
	fd_close(&x->init.sock);
	return x->pid < 0 ? x->pid : 0;
}

static int wait_for_program(struct exec *x)
{
	struct seccomp_program filter;
	int r = seccomp_cached(x->c->root, &x->spec->seccomp, &filter);

	if (r >= 0)
		r = channel_send_filter(x->sock, &filter);
	free(filter.code);
	if (r >= 0 || r == -EPIPE || r == -ECONNRESET)
		r = channel_wait_exec(x->sock, &x->console, &(struct listener_owner){ x->c, x->spec, x->pid, oci_status_names[OCI_RUNNING] });
	if (r == -ECANCELED)
		r = fail_text(ECHILD, "the process (pid %d) ended before it executed its program", x->pid);
	if (r >= 0 && x->console_sock >= 0)
		r = console_hand_over(x->console_sock, x->console);
	if (r >= 0)
		r = pidfd_hand_over(x->e->pidfd_socket, x->pid);
	return r < 0 ? r : pid_file_write(x->e->pid_file, x->pid);
}

static int run(struct exec *x)
{
	int r = exec_read_process(x);

	x->init.spec = x->spec;
	if (r >= 0)
		r = open_all(x);
	if (r >= 0)
		r = clone_process(x);
	if (r < 0)
		return r;
	r = wait_for_program(x);
	if (r < 0) {
		syscall(SYS_pidfd_send_signal, x->pidfd, SIGKILL, NULL, 0);
		waitid(P_PIDFD, (id_t)x->pidfd, NULL, WEXITED);
	}
	return r;
}

int oci_exec(struct container *c, const struct oci_exec_options *e, pid_t *pid)
{
	const struct oci_create_options preserve = { .preserve_fds = e->preserve_fds };
	struct exec x = { .c = c, .e = e, .sock = -1, .pidfd = -1, .console = -1, .console_sock = -1 };
	int r = preserved_check(preserved_descriptors(&preserve));

	if (r < 0)
		return r;
	init_defaults(&x.init);
	x.init.process = &x.process;
	x.init.cgroups = &x.groups;
	x.init.id = c->id;
	x.init.new_keyring = !c->no_new_keyring;
	x.init.unprivileged = oci_unprivileged();
	x.init.preserve_fds = preserved_descriptors(&preserve);
	r = run(&x);
	*pid = r < 0 ? 0 : x.pid;
	if (r >= 0 && e->console)
		*e->console = take_fd(&x.console);
	fd_close(&x.console);
	fd_close(&x.console_sock);
	fd_close(&x.sock);
	fd_close(&x.pidfd);
	fd_close(&x.init.sock);
	fd_close(&x.init.proc);
	fd_close(&x.init.self);
	fd_close(&x.init.self_tree);
	fd_close(&x.init.target);
	fd_close(&x.init.target_root);
	spec_free(x.spec);
	arena_done(&x.arena);
	return r;
}

/* --- the child ----------------------------------------------------------------------------------------------------------------- */

static int enter(const struct init *i)
{
	int kinds = (i->kinds & ~CLONE_NEWPID) | (i->foreign_user && !i->user_entered ? CLONE_NEWUSER : 0);
	int r = kinds ? setns(i->target, kinds) : 0;

	if (r < 0 && errno == EINVAL)   /* a kernel without time namespaces */
		r = setns(i->target, kinds & ~CLONE_NEWTIME);
	if (r < 0)
		return fail(errno, "enter the container's namespaces");
	if (fchdir(i->target_root) < 0 || chroot(".") < 0)
		return fail(errno, "enter the container's root");
	return i->foreign_user ? userns_become_root(i) : 0;
}

static int exec_console(const struct init *i)
{
	autoclose int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	return root < 0 ? fail(errno, "open the container's root") : console_open(i, root);
}

/* What cannot be done any more in the container's user namespace. */
static int exec_privileged(const struct spec_process *p)
{
	int r = rlimits_raise(0, p);

	return r < 0 ? r : attributes_schedule(p, 0);
}

static int exec_prepare(struct init *i)
{
	int r = exe_detach(i);

	if (r >= 0)
		r = cgroup_join(i->cgroups, NULL);
	if (r >= 0)
		r = affinity_final(i->process);
	if (r >= 0)
		r = process_oom_score(i);
	if (r >= 0 && (i->lsm = lsm_open(i->proc, i->process)) < 0)
		r = i->lsm == -ENOENT ? 0 : i->lsm;
	if (r >= 0 && i->foreign_user && !i->user_entered)
		r = exec_privileged(i->process);
	if (r >= 0)
		r = enter(i);
	if (r >= 0 && i->process->terminal)
		r = exec_console(i);
	if (r >= 0)
		r = channel_receive_filter(i->sock, &i->filter);
	if (r >= 0)
		r = process_prepare(i);
	return r < 0 ? r : process_close_others(i, (int[]){ i->sock, i->lsm }, 2);
}

void exec_child(struct init *i)
{
	err_clear();
	process_reset_signals();
	setsid();
	if (exec_prepare(i) < 0)
		channel_die(i->sock);
	if (channel_ready(i->sock) < 0)
		_exit(1);
	process_exec(i);
	channel_die(i->sock);
}
