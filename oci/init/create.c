/* SPDX-License-Identifier: Apache-2.0 */
/* create and start.
 *
 * create: configuration, state directory, init up to where it waits, then the files that callers asked for; the pid file last, since
 * its appearance is what some callers wait for. Any failure takes all of it away again.
 *
 * start: a connection to init's start socket. It is refused when init is dead; a word comes back before the execve(); then either the
 * connection ends, and the program runs, or the reason comes why it does not. The socket's file goes as soon as init has heard. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "container/hooks.h"
#include "init/internal.h"
#include "init/spawn.h"

/* Without a newline: a consumer parses the whole file as a number. */
int pid_file_write(const char *path, pid_t pid)
{
	char text[16];

	if (!path)
		return 0;
	snprintf(text, sizeof text, "%d", pid);
	int r = file_swap(AT_FDCWD, path, text, strlen(text), 0644);
	return r < 0 ? fail(-r, "write the pid file %s", path) : 0;
}

int connect_to(const char *path, const char *what)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof at.sun_path)
		return fail(ENAMETOOLONG, "%s %s", what, path);
	strcpy(at.sun_path, path);
	autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fail(errno, "%s: make a socket", what);
	if (connect(fd, (const struct sockaddr *)&at, sizeof at) < 0)
		return -errno;
	return take_fd(&fd);
}

int pidfd_hand_over(const char *path, pid_t pid)
{
	if (!path)
		return 0;
	autoclose int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0)
		return fail(errno, "open a pidfd of pid %d", pid);
	autoclose int sock = connect_to(path, "--pidfd-socket");
	if (sock < 0)
		return fail(-sock, "--pidfd-socket: connect to %s", path);
	int r = fd_send(sock, &fd, 1);
	return r < 0 ? fail(-r, "--pidfd-socket: send to %s", path) : 0;
}

static int make(struct container *c, const struct spec *s, const struct oci_create_options *options)
{
	struct oci_spawn_options spawn = { .create = options };
	pid_t pid;
	int r = oci_spawn_init(c, s, &spawn, &pid);

	if (r < 0)
		return r;
	r = pidfd_hand_over(options->pidfd_socket, pid);
	if (r >= 0)
		r = pid_file_write(options->pid_file, pid);
	if (r < 0) {
		size_t mark = err_mark();
		oci_spawn_undo(c);
		err_rewind(mark);
	}
	return r;
}

int oci_create(const struct oci_options *o, const char *id, const struct oci_create_options *options, struct container **out)
{
	struct container *c = NULL;
	struct spec *s = NULL;

	*out = NULL;
	int r = spec_load(options->bundle, options->config, &s);
	if (r >= 0)
		r = container_new(o->root, id, s, &c);
	if (r >= 0) {
		r = make(c, s, options);
		if (r < 0) {
			size_t mark = err_mark();
			container_remove(c);
			hooks_poststop(s, c->id);
			err_rewind(mark);
			container_free(c);
		} else {
			container_unlock(c);
			*out = c;
		}
	}
	spec_free(s);
	return r;
}

static int start_locked(struct container *c)
{
	char path[64];
	enum oci_status status = container_status(c);

	if (status == OCI_STOPPED)
		return fail_text(EINVAL, "cannot start a container that has stopped: %s", c->id);
	if (status != OCI_CREATED)
		return fail_text(EINVAL, "cannot start container %s: it is %s, not created", c->id, oci_status_names[status]);
	snprintf(path, sizeof path, "/proc/self/fd/%d/" CONTAINER_START_SOCKET, c->dir_fd);
	autoclose int fd = connect_to(path, "start");
	if (fd < 0)
		return fd == -ECONNREFUSED ? fail_text(ESRCH, "cannot start container %s: its init (pid %d) waits no longer", c->id, c->pid)
					   : fail(-fd, "connect to init of container %s", c->id);
	if (unlinkat(c->dir_fd, CONTAINER_START_SOCKET, 0) < 0 && errno != ENOENT)
		return fail(errno, "remove %s/" CONTAINER_START_SOCKET, c->dir);
	int r = channel_wait_exec(fd, NULL, &(struct listener_owner){ .c = c, .pid = c->pid, .status = oci_status_names[OCI_CREATED] });
	return r == -ECANCELED ? fail_text(ESRCH, "container %s: its init (pid %d) ended before it executed its program", c->id, c->pid) : r;
}

/* The program runs already: if a hook fails, it is killed. Without the lock, so that a hook may call this program. */
static int poststart(struct container *c)
{
	struct spec *s = NULL;
	int r = container_spec(c, &s);

	if (r >= 0)
		r = hooks_run(&(struct hook_call){ .spec = s, .id = c->id, .status = "running", .pid = c->pid, .directory = s->bundle }, HOOK_POSTSTART);
	spec_free(s);
	if (r < 0) {
		size_t mark = err_mark();
		container_kill(c, SIGKILL, true);
		err_rewind(mark);
	}
	return r;
}

int oci_start(struct container *c)
{
	int r = container_lock(c);

	if (r < 0)
		return r;
	r = start_locked(c);
	container_unlock(c);
	return r < 0 || !c->poststart ? r : poststart(c);
}
