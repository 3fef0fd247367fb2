/* SPDX-License-Identifier: Apache-2.0 */
/* The seccomp listener.
 *
 *   process                                     runtime (start, exec)
 *   finds its next free descriptor, LISTENER n
 *   seccomp(): the listener is at n             tries pidfd_getfd(n) until there is one
 *   waits                                       sends it to listenerPath, GO
 *   execve(): its own copy closes
 *
 * Once the filter is there, the process can rely on no call: any may be one that the listener decides, and nobody listens yet. So the
 * announcement comes before, the runtime fetches the descriptor, and the only call before execve() is the read() that waits for GO. A
 * profile that forbids read() cannot have a listener; one that asks the listener about it can, since by then somebody has it.
 *
 * If the runtime dies the read ends and the process exits. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "container/container.h"
#include "container/hooks.h"
#include "init/internal.h"
#include "spec/json.h"

#define TRIES 10000   /* of a millisecond each, or less */

/* --- the process ---------------------------------------------------------------------------------------------------------- */

int filter_install(const struct init *i)
{
	if (!i->filter.notify)
		return seccomp_install(&i->filter);
	int next = fcntl(i->sock, F_DUPFD_CLOEXEC, 0);
	if (next < 0)
		return fail(errno, "linux.seccomp: find a free descriptor");
	close(next);
	int r = channel_announce_listener(i->sock, next);
	if (r < 0)
		return r;
	r = seccomp_install(&i->filter);
	if (r < 0)
		return r;
	return r == next ? channel_wait_go(i->sock) : fail_text(EBADF, "linux.seccomp: the listener is descriptor %d, not %d", r, next);
}

/* --- the runtime ---------------------------------------------------------------------------------------------------------- */

static bool is_listener(int fd)
{
	char target[64];
	ssize_t n = readlink(FD_PATH(fd), target, sizeof target - 1);

	if (n < 0)
		return false;
	target[n] = 0;
	return strcmp(target, "anon_inode:seccomp notify") == 0;
}

/* -ECANCELED: the process says something else, or has gone. */
static int fetch(int sock, int pidfd, int number)
{
	struct pollfd p = { .fd = sock, .events = POLLIN };

	for (int i = 0; i < TRIES; i++) {
		autoclose int fd = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
		if (fd >= 0 && is_listener(fd))
			return take_fd(&fd);
		if (fd < 0 && errno != EBADF && errno != ESRCH)
			return fail(errno, "linux.seccomp: take the listener from the container's process");
		if (poll(&p, 1, i > 20) > 0)
			return -ECANCELED;
	}
	return fail_text(ETIMEDOUT, "linux.seccomp: the container's process does not get its listener");
}

static char *describe(const struct listener_owner *o, const struct spec *s)
{
	struct json_out out = { 0 };
	const struct hook_call state = { .spec = s, .id = o->c->id, .status = o->status, .pid = o->c->pid };

	json_open_object(&out, NULL);
	json_add_string(&out, "ociVersion", s->oci_version);
	json_add_strings(&out, "fds", (const char *const[]){ "seccompFd", NULL });
	json_add_i64(&out, "pid", o->pid);
	json_add_string(&out, "metadata", s->seccomp.listener_metadata);
	hook_state(&state, &out, "state");
	json_close_object(&out);
	return json_take(&out);
}

static int send_listener(const struct listener_owner *o, int listener)
{
	struct spec *loaded = NULL;
	int r = o->spec ? 0 : container_spec(o->c, &loaded);

	if (r >= 0) {
		const struct spec *s = o->spec ? o->spec : loaded;
		autofree char *text = describe(o, s);
		r = seccomp_send_listener(s->seccomp.listener_path, listener, text, strlen(text));
	}
	spec_free(loaded);
	return r;
}

int listener_take(int sock, int number, const struct listener_owner *owner)
{
	autoclose int pidfd = (int)syscall(SYS_pidfd_open, owner->pid, 0);
	if (pidfd < 0)
		return fail(errno, "linux.seccomp: open a pidfd of the container's process (pid %d)", owner->pid);
	autoclose int listener = fetch(sock, pidfd, number);
	if (listener == -ECANCELED)
		return fail_text(ECHILD, "linux.seccomp: the container's process (pid %d) has not got its listener", owner->pid);
	return listener < 0 ? listener : send_listener(owner, listener);
}
