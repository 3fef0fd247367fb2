/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint and restore. A container that was saved and not left running is gone afterwards, its state included: engines delete it
 * next and expect to hear that it does not exist. A restored one is run's container from there on. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "cmd/cmd.h"
#include "container/container.h"

/* The library may work in another directory. */
static char *absolute(const char *path)
{
	autofree char *cwd = *path == '/' ? NULL : getcwd(NULL, 0);
	return cwd ? str_printf("%s/%s", cwd, path) : str_dup(path);
}

static const char *image_path(const struct shim_options *o)
{
	return o->image_path && *o->image_path ? o->image_path : "checkpoint";
}

static int end_container(struct container *container)
{
	size_t mark = err_mark();
	int r = container_delete(container, true);

	if (r == -ENOENT)
		err_rewind(mark);
	return r == -ENOENT ? 0 : r;
}

int shim_page_server(const char *text, char **address, unsigned *port)
{
	uint64_t number = 0;
	const char *colon = text ? strrchr(text, ':') : NULL;

	*address = NULL;
	*port = 0;
	if (!text)
		return 0;
	bool is_path = *text == '/';
	if (!is_path && (!colon || colon == text || parse_u64(colon + 1, 10, &number) < 0 || !number || number > 65535))
		return fail_text(EINVAL, "page server %s: expected ADDRESS:PORT", text);
	bool brackets = !is_path && *text == '[' && colon[-1] == ']';
	*address = is_path ? str_dup(text) : str_printf("%.*s", (int)(colon - text) - (brackets ? 2 : 0), text + brackets);
	*port = (unsigned)number;
	return 0;
}

static int memory_can_be_fetched(void *arg, unsigned port)
{
	const struct shim_options *o = arg;

	if (!o->page_server) {
		printf("%u\n", port);
		fflush(stdout);
	}
	if (o->status_fd >= 0 && write(o->status_fd, "", 1) != 1)
		return fail(errno, "--status-fd %d", o->status_fd);
	if (o->status_fd >= 0)
		close(o->status_fd);
	return 0;
}

static int check_lazy(const struct shim_options *o)
{
	if (o->status_fd >= 0 && !o->lazy_pages)
		return fail_text(EINVAL, "--status-fd: only with --lazy-pages there is something to tell");
	int flags = o->status_fd < 0 ? O_WRONLY : fcntl(o->status_fd, F_GETFL);
	if (flags < 0)
		return fail(errno, "--status-fd %d", o->status_fd);
	return (flags & O_ACCMODE) == O_RDONLY ? fail_text(EINVAL, "--status-fd %d: cannot be written to", o->status_fd) : 0;
}

/* runc's word for the one namespace that can be left empty; a Go program may say "net". */
static int check_empty(const struct shim_options *o)
{
	if (o->empty_ns && strcmp(o->empty_ns, "network") != 0 && strcmp(o->empty_ns, "net") != 0)
		return fail_text(EINVAL, "--empty-ns %s: only network can be left empty", o->empty_ns);
	return 0;
}

int shim_checkpoint(struct shim_call *c)
{
	const struct shim_options *o = c->o;
	autofree char *images = absolute(image_path(o)), *work = absolute(o->work_path ? o->work_path : image_path(o));
	autofree char *address = NULL;
	autoclose int stop = o->lazy_pages ? fd_end_signals() : -1;
	unsigned port = 0;
	int r = o->lazy_pages && stop < 0 ? stop : check_lazy(o);
	if (r == 0)
		r = check_empty(o);
	if (r == 0)
		r = shim_page_server(o->page_server, &address, &port);
	const struct oci_checkpoint_options options = {
		.image_path = images,
		.work_path = work,
		.leave_running = o->leave_running,
		.pre_dump = o->pre_dump,
		.parent_path = o->parent_path,
		.page_address = address,
		.page_port = port,
		.lazy_pages = o->lazy_pages,
		.stop_fd = stop,
		.ready = memory_can_be_fetched,
		.arg = (void *)(uintptr_t)o,
		.auto_dedup = o->auto_dedup,
		.ext_unix_sk = o->ext_unix_sk,
		.shell_job = o->shell_job,
		.file_locks = o->file_locks,
		.tcp_established = o->tcp_established,
		.skip_in_flight = o->tcp_skip_in_flight,
		.link_remap = o->link_remap,
		.empty_net = o->empty_ns != NULL,
		.manage_cgroups_mode = o->manage_cgroups_mode,
		.action_scripts = o->action_scripts.data,
		.network_lock = o->network_lock,
	};
	struct container *container;

	if (r == 0)
		r = shim_need_root("checkpoint");
	if (r == 0)
		r = container_open(&c->oci, c->argv[0], &container);
	if (r < 0)
		return r;
	r = oci_checkpoint(container, &options);
	if (r == 0 && !o->leave_running && !o->pre_dump)
		r = end_container(container);
	container_free(container);
	return r;
}

static int wait_restored(struct container *container, pid_t pid, int console)
{
	int status = shim_foreground_wait(pid, console);
	int r = status < 0 ? status : end_container(container);

	return r < 0 ? r : status;
}

int shim_restore(struct shim_call *c)
{
	const struct shim_options *o = c->o;
	autofree char *images = absolute(image_path(o)), *work = absolute(o->work_path ? o->work_path : image_path(o));
	autofree char *address = NULL;
	unsigned port = 0;
	int r = check_empty(o) ?: shim_page_server(o->page_server, &address, &port);
	struct oci_restore_options options = {
		.create = shim_create_options(o),
		.image_path = images,
		.work_path = work,
		.ext_unix_sk = o->ext_unix_sk,
		.shell_job = o->shell_job,
		.file_locks = o->file_locks,
		.tcp_established = o->tcp_established,
		.tcp_close = o->tcp_close,
		.map_address = o->map_address.data,
		.empty_net = o->empty_ns != NULL,
		.lazy_pages = o->lazy_pages,
		.page_address = address,
		.page_port = port,
		.manage_cgroups_mode = o->manage_cgroups_mode,
		.action_scripts = o->action_scripts.data,
		.network_lock = o->network_lock,
	};
	struct container *container = NULL;
	autoclose int console = -1;

	if (!o->detach)
		options.create.console = &console;
	if (r == 0)
		r = shim_need_root("restore");
	if (r == 0 && !o->detach)
		r = shim_foreground_begin(!o->no_subreaper);
	if (r < 0)
		return r;
	r = oci_restore(&c->oci, c->argv[0], &options, &container);
	if (r == 0 && !o->detach)
		r = wait_restored(container, container->pid, console);
	container_free(container);
	return r;
}
