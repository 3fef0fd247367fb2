/* SPDX-License-Identifier: Apache-2.0 */
/* create, start and run. run is both, and then, unless detached, the wait for the program's end and the deletion of the container;
 * a start that fails deletes it as well. create leaves init to whoever adopts orphans (the engine's monitor). */
#include <errno.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "cmd/cmd.h"
#include "cmd/terminal.h"
#include "container/container.h"

int shim_need_root(const char *verb)
{
	if (geteuid() == 0)
		return 0;
	return fail_text(EPERM, "%s needs root: operation not permitted for user %u (containers of other users are not supported by this version)",
		verb, geteuid());
}

static enum oci_cgroups cgroups_wanted(const struct shim_options *o)
{
	if (o->cgroup_manager == SHIM_NO_CGROUPS)
		return OCI_CGROUPS_NONE;
	bool tolerant = o->rootless == SHIM_ROOTLESS_AUTO ? oci_unprivileged() : o->rootless == SHIM_ROOTLESS_TRUE;
	return tolerant ? OCI_CGROUPS_IF_ALLOWED : OCI_CGROUPS_MADE;
}

struct oci_create_options shim_create_options(const struct shim_options *o)
{
	return (struct oci_create_options){
		.cgroups = cgroups_wanted(o),
		.bundle = o->bundle,
		.config = o->config,
		.pid_file = o->pid_file,
		.console_socket = o->console_socket,
		.pidfd_socket = o->pidfd_socket,
		.preserve_fds = o->preserve_fds,
		.no_pivot = o->no_pivot,
		.no_new_keyring = o->no_new_keyring,
	};
}

int shim_create(struct shim_call *c)
{
	const struct oci_create_options create = shim_create_options(c->o);
	struct container *container = NULL;
	int r = oci_create(&c->oci, c->argv[0], &create, &container);
	container_free(container);
	return r;
}

int shim_start(struct shim_call *c)
{
	struct container *container;
	int r = container_open(&c->oci, c->argv[0], &container);

	if (r < 0)
		return r;
	r = oci_start(container);
	container_free(container);
	return r;
}

/* Deletes after the end or a failed start; the container may be gone already (`delete --force` by somebody else). */
static int clean_up(struct container *container)
{
	size_t mark = err_mark();
	int r = container_delete(container, true);

	if (r == -ENOENT)
		err_rewind(mark);
	return r == -ENOENT ? 0 : r;
}

static int start_and_wait(struct shim_call *c, struct container *container, int console)
{
	pid_t pid = container_init_pid(container);   /* asked before: a short program is a zombie soon after */
	int r = oci_start(container);

	if (r < 0) {
		clean_up(container);
		return r;
	}
	if (c->o->detach)
		return 0;
	fd_close(&container->late_fd);
	int status = shim_foreground_wait(pid, console);
	if (status < 0 || c->o->keep)
		return status;
	r = clean_up(container);
	return r < 0 ? r : status;
}

int shim_run(struct shim_call *c)
{
	struct oci_create_options create = shim_create_options(c->o);
	struct container *container = NULL;
	autoclose int console = -1;
	int r = 0;

	if (!c->o->detach) {
		create.console = &console;
		shim_terminal_size(&create.rows, &create.columns);
	}
	if (!c->o->detach)
		r = shim_foreground_begin(!c->o->no_subreaper);
	if (r < 0)
		return r;
	r = oci_create(&c->oci, c->argv[0], &create, &container);
	if (r == 0)
		r = start_and_wait(c, container, console);
	container_free(container);
	return r;
}
