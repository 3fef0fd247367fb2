/* SPDX-License-Identifier: Apache-2.0 */
/* init, from the clone to the moment it waits, and what wakes it.
 *
 *   init_prepare()   what a restored container needs as well: cgroups, namespaces, root filesystem, hooks, hostname, kernel parameters
 *   create:          process_prepare(); READY; accept() on the start socket; process_exec()
 *   restore:         READY; read() on the runtime's socket for ever
 *
 *        clone ──► prepare ──► READY ──► waits ──(start connects)──► execve
 *                     │                    │                            │
 *                     └── FAILED, exit     └── create's process is      └── FAILED to start, exit
 *                                              gone: nothing changes
 *
 * The start socket is a unix socket in the container's state directory, which the runtime bound and init alone holds. It needs no path
 * and no procfs inside the container; connecting to it fails at once when init is dead; what goes wrong at the execve() goes back over
 * the connection, and success is its end (the descriptor closes on exec). Only who may enter the state directory can connect.
 *
 * A husk for restore waits in read(), restarted if a signal or a tracer interrupts it, and exits at the end of file: then the runtime has
 * died. It keeps root's privileges, since the engine gives it the image's. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "cgroup/cgroup.h"
#include "container/hooks.h"
#include "init/internal.h"
#include "rootfs/rootfs.h"

void init_defaults(struct init *i)
{
	*i = (struct init){ .sock = -1, .start = -1, .proc = -1, .self = -1, .self_tree = -1, .target = -1, .target_root = -1, .lsm = -1 };
	for (int k = 0; k < NS_KINDS; k++)
		i->joined[k] = -1;
}

static int set_names(const struct spec *s)
{
	if (!s->namespaces[NS_UTS].wanted)
		return 0;
	if (s->hostname && *s->hostname && sethostname(s->hostname, strlen(s->hostname)) < 0)
		return fail(errno, "hostname: set it to %s", s->hostname);
	if (s->domainname && *s->domainname && setdomainname(s->domainname, strlen(s->domainname)) < 0)
		return fail(errno, "domainname: set it to %s", s->domainname);
	return 0;
}

static int receive_filter(struct init *i)
{
	if (i->restore || i->has_filter)
		return 0;
	i->has_filter = true;
	return channel_receive_filter(i->sock, &i->filter);
}

static int plain_umask(void *arg)
{
	(void)arg;
	umask(022);
	return 0;
}

/* The hooks of create: the runtime runs its own while this process waits. */
static int create_hooks(struct init *i)
{
	const struct spec_hooks *h = i->spec->hooks;
	const struct hook_call call = {
		.spec = i->spec,
		.id = i->id,
		.status = "creating",
		.pid = getpid(),
		.directory = i->spec->root_path,
		.confine = plain_umask,
	};

	if (!h[HOOK_PRESTART].n && !h[HOOK_CREATE_RUNTIME].n && !h[HOOK_CREATE_CONTAINER].n)
		return 0;
	int r = receive_filter(i);   /* it comes before the answer */
	if (r >= 0)
		r = channel_meet(i->sock);
	return r < 0 ? r : hooks_run(&call, HOOK_CREATE_CONTAINER);
}

static int make_root(struct init *i)
{
	const struct spec_namespace_entry *cgroup_ns = &i->spec->namespaces[NS_CGROUP];
	struct rootfs root = {
		.spec = i->spec,
		.cgroups = i->cgroups,
		.own_cgroup_namespace = cgroup_ns->wanted && !cgroup_ns->path,
		.no_pivot = i->no_pivot,
		.trees = i->trees,
		.root = -1,
	};
	int r = rootfs_build(&root);

	if (r >= 0 && i->process->terminal)
		r = console_open(i, root.root);
	if (r >= 0)
		r = create_hooks(i);
	return r < 0 ? r : rootfs_enter(&root);
}

/* The runtime moves devices here while this process waits. */
static int receive_devices(struct init *i)
{
	int r = i->spec->n_net_devices ? receive_filter(i) : 0;   /* it comes before the answer */

	return r < 0 || !i->spec->n_net_devices ? r : channel_meet(i->sock);
}

/* What init and the husk for restore share. */
static int init_prepare(struct init *i)
{
	int r = i->restore ? 0 : exe_detach(i);

	if (r >= 0)
		r = cgroup_join(i->cgroups, NULL);
	if (r >= 0)
		r = process_oom_score(i);
	if (r >= 0)
		r = userns_enter(i);
	if (r >= 0)
		r = namespaces_enter(i);
	if (r >= 0)
		r = receive_devices(i);
	if (r >= 0)
		r = set_names(i->spec);
	if (r >= 0)
		r = sysctls_apply(i->proc, i->spec);
	if (r >= 0 && !i->restore && (i->lsm = lsm_open(i->proc, i->process)) < 0)
		r = i->lsm == -ENOENT ? 0 : i->lsm;
	return r < 0 ? r : make_root(i);
}

/* Without the C library's locks: a signal may come at any time, and a tracer. */
_Noreturn static void wait_for_engine(int sock)
{
	char byte;
	ssize_t n;

	do
		n = read(sock, &byte, 1);
	while (n > 0 || (n < 0 && errno == EINTR));
	_exit(0);
}

/* From now on failures go to the start command. */
static int wait_for_start(struct init *i)
{
	int fd;

	do
		fd = accept4(i->start, NULL, NULL, SOCK_CLOEXEC);
	while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
	if (fd < 0)
		_exit(1);
	fd_close(&i->start);
	i->sock = fd;
	return channel_ready(fd);
}

static int create_prepare(struct init *i)
{
	int r = init_prepare(i);

	if (r >= 0)
		r = receive_filter(i);
	if (r >= 0)
		r = i->restore ? attributes_apply(i) : process_prepare(i);
	if (r >= 0)
		r = process_close_others(i, (int[]){ i->sock, i->start, i->lsm }, 3);
	return r;
}

void init_child(struct init *i)
{
	err_clear();
	process_reset_signals();
	setsid();
	umask(0);
	if (create_prepare(i) < 0)
		channel_die(i->sock);
	if (channel_ready(i->sock) < 0)
		_exit(1);
	if (i->restore)
		wait_for_engine(i->sock);
	fd_close(&i->sock);
	if (wait_for_start(i) < 0)
		_exit(1);
	process_exec(i);
	channel_die(i->sock);
}
