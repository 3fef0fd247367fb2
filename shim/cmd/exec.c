/* SPDX-License-Identifier: Apache-2.0 */
/* exec: a further process in a running container. Its description comes from --process FILE, or is the container's own with the command
 * and what the options change. The exit status is the process's; 255 when it could not be started. */
#include <errno.h>

#include "base/err.h"
#include "base/fd.h"
#include "cmd/cmd.h"
#include "cmd/terminal.h"

static struct oci_exec_options exec_options(const struct shim_call *c)
{
	const struct shim_options *o = c->o;

	return (struct oci_exec_options){
		.process_file = o->process,
		.args = (const char *const *)(c->argv + 1),
		.cwd = o->cwd,
		.user = o->user,
		.pid_file = o->pid_file,
		.console_socket = o->console_socket,
		.pidfd_socket = o->pidfd_socket,
		.tty = o->tty,
		.env = o->env.data,
		.caps = o->caps.data,
		.additional_gids = o->additional_gids.data,
		.cgroups = o->cgroups.data,
		.apparmor = o->apparmor,
		.selinux_label = o->process_label,
		.preserve_fds = o->preserve_fds,
		.detach = o->detach,
		.no_new_privs = o->no_new_privs,
		.ignore_paused = o->ignore_paused,
	};
}

static int start(struct shim_call *c, pid_t *pid, int *console)
{
	struct oci_exec_options options = exec_options(c);
	struct container *container;
	int r = container_open(&c->oci, c->argv[0], &container);

	if (r < 0)
		return r;
	if (!c->o->detach) {
		options.console = console;
		shim_terminal_size(&options.rows, &options.columns);
	}
	r = oci_exec(container, &options, pid);
	container_free(container);
	return r;
}

int shim_exec(struct shim_call *c)
{
	autoclose int console = -1;
	pid_t pid = 0;
	int r = 0;

	if (!c->o->process && c->argc < 2)
		return fail_text(EINVAL, "exec: missing arguments; it takes a container and a command, or --process");
	if (c->o->process && c->argc > 1)
		return fail_text(EINVAL, "exec: a command and --process exclude each other");
	if (!c->o->detach)
		r = shim_foreground_begin(false);
	if (r == 0)
		r = start(c, &pid, &console);
	if (r < 0)
		return 255;
	return c->o->detach ? 0 : shim_foreground_wait(pid, console);
}
