/* SPDX-License-Identifier: Apache-2.0 */
/* The runtime's side of making init.
 *
 * There is one clone and no execve(): the child is a copy of the runtime that builds the container around itself (init.c) while
 * the runtime notes its pid, compiles the seccomp profile and then waits for the child's word.
 *
 * What a crash of the runtime leaves at any point can be deleted:
 *   1. the cgroups' paths are saved before they are made;
 *   2. init's pid is saved as soon as it exists; before that, init ends by itself when the runtime's end of the socket closes;
 *   3. an error undoes in the other order: init killed and reaped, cgroups removed.
 *
 * The child of a caller with threads is a copy of the calling thread alone, so it uses nothing that another thread may hold a lock
 * of: but it does allocate memory. The C library keeps its allocator usable only in a child of its own fork(), so a caller with
 * threads must not have others at work in the allocator during the clone. */
#include "init/spawn.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "cgroup/cgroup.h"
#include "cgroup/rdt.h"
#include "container/hooks.h"
#include "init/internal.h"
#include "rootfs/rootfs.h"

struct spawn {
	struct container *c;
	const struct oci_spawn_options *o;
	const struct oci_create_options *create;
	struct init init;
	struct spec spec;              /* the specification with what the environment adds */
	struct spec_process process;   /* the specification's with capabilities that can be given */
	int sock, pidfd, console, console_sock;
	int netns;   /* the container's, while devices may have to come back from there */
	pid_t pid;
	bool cgroups_made;
};

unsigned preserved_descriptors(const struct oci_create_options *c)
{
	const char *listen_fds = getenv("LISTEN_FDS");
	uint64_t n;

	if (!listen_fds || parse_u64(listen_fds, 10, &n) < 0 || n > 4096)
		n = 0;
	return (unsigned)n + c->preserve_fds;
}

/* Those that the caller inherited are not close-on-exec, those that this process opened itself are. */
int preserved_check(unsigned n)
{
	if (n > INT_MAX - 3)
		return fail_text(EINVAL, "%u descriptors to be preserved (--preserve-fds, LISTEN_FDS) are more than there can be", n);
	for (unsigned fd = 3; fd < 3 + n; fd++) {
		int flags = fcntl((int)fd, F_GETFD);
		if (flags < 0 || flags & FD_CLOEXEC)
			return fail_text(EBADF, "descriptor %u is to be preserved (--preserve-fds, LISTEN_FDS), but the caller did not pass it", fd);
	}
	return 0;
}

static int listen_for_start(struct spawn *s)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	snprintf(at.sun_path, sizeof at.sun_path, "/proc/self/fd/%d/" CONTAINER_START_SOCKET, s->c->dir_fd);
	s->init.start = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s->init.start < 0)
		return fail(errno, "make the start socket");
	if (bind(s->init.start, (const struct sockaddr *)&at, sizeof at) < 0 || listen(s->init.start, 1) < 0)
		return fail(errno, "make the start socket %s/" CONTAINER_START_SOCKET, s->c->dir);
	return 0;
}

static int open_all(struct spawn *s)
{
	int ends[2];
	int r = channel_open(ends);

	if (r < 0)
		return r;
	s->sock = ends[0];
	s->init.sock = ends[1];
	s->init.runtime_sock = ends[0];
	s->init.proc = proc_open_host();
	if (s->init.proc < 0)
		return s->init.proc;
	if (!s->o->restore)
		exe_open(&s->init);
	r = namespaces_open(&s->init);
	if (r >= 0)
		r = rootfs_prepare(s->init.spec, &s->init.trees);
	if (r >= 0 && !s->o->restore && s->create->console_socket && (s->console_sock = console_connect(s->create->console_socket)) < 0)
		r = s->console_sock;
	return r < 0 || s->o->restore ? r : listen_for_start(s);
}

static int make_cgroups(struct spawn *s)
{
	struct container *c = s->c;
	enum oci_cgroups wanted = s->o->create ? s->o->create->cgroups : OCI_CGROUPS_MADE;
	int planned = rdt_plan(&c->arena, RDT_ROOT, &s->init.spec->intel_rdt, c->id, &c->resctrl);
	int r = planned < 0 ? planned : c->cgroups.n || wanted == OCI_CGROUPS_NONE ? 0 : cgroup_plan(&c->arena, s->init.spec, c->id, &c->cgroups);

	if (r >= 0)
		r = container_save(c);
	if (r >= 0)
		r = rdt_create(RDT_ROOT, &s->init.spec->intel_rdt, c->id, &c->resctrl);
	if (r >= 0)
		r = cgroup_create(&c->cgroups, &s->init.spec->resources, wanted == OCI_CGROUPS_IF_ALLOWED);
	s->cgroups_made = r >= 0;
	return r < 0 ? r : cgroup_delegate(&c->cgroups, s->init.spec);
}

static int clone_init(struct spawn *s)
{
	autoclose int cgroup2 = cgroup_open_unified(&s->c->cgroups, NULL);
	if (cgroup2 < 0 && cgroup2 != -ENOENT)
		return cgroup2;
	autofree char *score = NULL;
	int r = oom_score_lend(&s->init, &score);
	if (r < 0)
		return r;
	s->pid = namespaces_clone(&s->init, cgroup2, s->init.joined[NS_PID], s->o->set_pid, &s->pidfd);
	if (s->pid == 0) {
		close(s->sock);
		init_child(&s->init);
	}
	oom_score_return(score);
	fd_close(&s->init.sock);
	fd_close(&s->init.start);
	return s->pid < 0 ? s->pid : 0;
}

static int clone_between_callbacks(struct spawn *s)
{
	int r = s->o->before_clone(s->o->arg);

	if (r < 0)
		return r;
	r = clone_init(s);
	int after = s->o->after_clone ? s->o->after_clone(s->o->arg) : 0;
	return r < 0 ? r : after;
}

static int clone_with_clocks(struct spawn *s)
{
	int own = -1;
	int r = clocks_begin(s->init.proc, s->init.spec, &own);

	s->init.time_done = true;
	if (r >= 0)
		r = clone_init(s);
	int after = clocks_end(&own);
	return r < 0 ? r : after;
}

static int clone_in_time(struct spawn *s)
{
	if (s->o->before_clone)
		return clone_between_callbacks(s);
	return clocks_wanted(s->init.spec) && !s->init.unprivileged ? clone_with_clocks(s) : clone_init(s);
}

/* What init could not say itself. */
static int explain_death(struct spawn *s)
{
	siginfo_t info = { 0 };

	if (waitid(P_PIDFD, (id_t)s->pidfd, &info, WEXITED | WNOWAIT) < 0)
		return fail(errno, "wait for the container's init (pid %d)", s->pid);
	if (info.si_code == CLD_EXITED)
		return fail_text(ECHILD, "the container's init (pid %d) exited with status %d while it was set up", s->pid, info.si_status);
	int r = fail_text(ECHILD, "the container's init (pid %d) was killed by signal %d (%s) while it was set up", s->pid, info.si_status,
		sigdescr_np(info.si_status));
	if (info.si_status == SIGKILL)
		fail_hint("if linux.resources.memory.limit is small, it may be too small for the setup itself");
	return r;
}

static int work_beside_init(struct spawn *s)
{
	struct seccomp_program filter = { 0 };
	int r = container_set_init(s->c, s->pid);

	if (r >= 0)   /* before its first child */
		r = rdt_join(RDT_ROOT, &s->init.spec->intel_rdt, s->c->id, s->pid);
	if (r >= 0)
		r = container_save(s->c);
	if (r >= 0 && s->init.spec->namespaces[NS_USER].wanted)
		r = userns_settle(&s->init, s->pid);
	if (r < 0 || s->o->restore)
		return r;
	r = seccomp_cached(s->c->root, &s->init.spec->seccomp, &filter);
	if (r >= 0)
		r = channel_send_filter(s->sock, &filter);
	free(filter.code);
	return r == -EPIPE || r == -ECONNRESET ? 0 : r;   /* init has failed, and says why */
}

/* Init has built its root and waits. */
static int create_hooks(struct spawn *s)
{
	const struct hook_call call = {
		.spec = s->init.spec, .id = s->c->id, .status = "creating", .pid = s->pid, .directory = s->init.spec->bundle,
	};
	int r = hooks_run(&call, HOOK_PRESTART);

	if (r >= 0)
		r = hooks_run(&call, HOOK_CREATE_RUNTIME);
	return r < 0 ? r : channel_go(s->sock);
}

/* Init is in its network namespace and waits. */
static int give_devices(struct spawn *s)
{
	int r = netdevs_move(s->init.spec, s->pid, &s->netns);

	return r < 0 ? r : channel_go(s->sock);
}

static int wait_for_init(struct spawn *s)
{
	int r = work_beside_init(s);

	if (r >= 0)
		r = channel_wait(s->sock, &s->console);
	if (r == CHANNEL_MEET && s->o->network_made) {
		int ready = s->o->network_made(s->o->arg, s->pid);
		r = ready < 0 ? ready : r;
	}
	if (r == CHANNEL_MEET && s->init.spec->n_net_devices) {
		r = give_devices(s);
		if (r >= 0)
			r = channel_wait(s->sock, &s->console);
	}
	if (r == CHANNEL_MEET) {
		r = create_hooks(s);
		if (r >= 0)
			r = channel_wait(s->sock, NULL);
	}
	if (r >= 0 && s->console_sock >= 0)
		r = console_hand_over(s->console_sock, s->console);
	return r == -ECANCELED ? explain_death(s) : r;
}

static void undo(struct spawn *s)
{
	size_t mark = err_mark();   /* the cause is known, what follows from it is not said */

	if (s->netns >= 0)
		netdevs_return(s->init.spec, s->netns);
	if (s->pidfd >= 0) {
		syscall(SYS_pidfd_send_signal, s->pidfd, SIGKILL, NULL, 0);
		waitid(P_PIDFD, (id_t)s->pidfd, NULL, WEXITED);
	}
	if (s->cgroups_made)
		cgroup_remove(&s->c->cgroups);
	rdt_remove(&s->c->resctrl);
	if (!s->o->restore)
		unlinkat(s->c->dir_fd, CONTAINER_START_SOCKET, 0);
	s->c->pid = 0;
	err_rewind(mark);
}

static void close_all(struct spawn *s)
{
	fd_close(&s->sock);
	fd_close(&s->pidfd);
	fd_close(&s->console);
	fd_close(&s->console_sock);
	fd_close(&s->init.sock);
	fd_close(&s->init.start);
	fd_close(&s->init.proc);
	fd_close(&s->init.self);
	s->c->late_fd = take_fd(&s->init.self_tree);
	namespaces_close(&s->init);
	rootfs_prepared_free(s->init.spec, &s->init.trees);
}

static int check(const struct spec *spec, const struct oci_spawn_options *o, const struct oci_create_options *create)
{
	int r = namespaces_check(spec, o->restore);

	if (r >= 0)
		r = console_check(spec->process.terminal, create->console_socket, create->console);
	if (r >= 0 && !o->restore && !spec->has_process)
		r = fail_text(EINVAL, "config.json: process: is missing");
	if (r >= 0)
		r = lsm_check(&spec->process);
	if (r >= 0)
		r = lsm_check_mounts(spec);
	return r < 0 ? r : preserved_check(o->restore ? 0 : preserved_descriptors(create));
}

static int run(struct spawn *s)
{
	int r = open_all(s);

	if (r >= 0)
		r = make_cgroups(s);
	if (r >= 0)
		r = clone_in_time(s);
	return r < 0 ? r : wait_for_init(s);
}

int oci_spawn_init(struct container *c, const struct spec *spec, const struct oci_spawn_options *o, pid_t *host_pid)
{
	static const struct oci_create_options defaults;
	const struct oci_create_options *create = o->create ? o->create : &defaults;
	struct spawn s = { .c = c, .o = o, .create = create, .sock = -1, .pidfd = -1, .netns = -1, .console = -1, .console_sock = -1,
		.process = spec->process };
	int r = check(spec, o, create);

	if (r < 0)
		return r;
	init_defaults(&s.init);
	s.spec = *spec;
	s.init.notify = notify_prepare(&c->arena, &s.spec);
	s.init.spec = &s.spec;
	s.init.process = &s.process;
	s.init.cgroups = &c->cgroups;
	s.init.id = c->id;
	s.init.restore = o->restore;
	s.init.terminal = o->terminal;
	s.init.no_pivot = create->no_pivot;
	c->no_new_keyring = create->no_new_keyring;
	s.init.new_keyring = !create->no_new_keyring;
	s.init.preserve_fds = o->restore ? 0 : preserved_descriptors(create);
	s.init.time_done = o->before_clone;
	console_size(&s.process, create->rows, create->columns);
	s.init.unprivileged = oci_unprivileged();
	caps_limit(&s.process.capabilities, spec->namespaces[NS_USER].wanted);
	r = run(&s);
	if (r < 0)
		undo(&s);
	else
		*host_pid = s.pid;
	if (r >= 0 && o->restore && o->console)
		*o->console = take_fd(&s.console);
	else if (r >= 0 && create->console)
		*create->console = take_fd(&s.console);
	if (r >= 0 && o->restore && o->park_fd)
		*o->park_fd = take_fd(&s.sock);
	close_all(&s);
	return r;
}

int oci_spawn_undo(struct container *c)
{
	int killed = cgroup_kill(&c->cgroups, SIGKILL);

	if (c->pid > 0) {
		kill(c->pid, SIGKILL);
		waitpid(c->pid, NULL, 0);   /* a child of this process */
		c->pid = 0;
	}
	int removed = cgroup_remove(&c->cgroups);
	rdt_remove(&c->resctrl);
	return killed < 0 ? killed : removed;
}
