/* SPDX-License-Identifier: Apache-2.0 */
/* The socket that a group's shim listens at, and whether it lives.
 *
 * 1. Its name follows from containerd's address, the namespace and the group, so that the second container's `start` finds the shim of the
 *    first: that name is taken. A lock on the directory keeps two of them from finding nobody at the same time.
 * 2. It is the shim that calls listen(2): the kernel notes who did, and tells whoever connects (SO_PEERCRED). That a connection comes about
 *    does not mean that the shim lives: its workers, which are forks of it, have the socket too, and end a moment after it.
 *    A name is taken from a shim only when that has died; so a living one that gives up its own (service_end()) needs no lock: it cannot be
 *    another's yet. It goes before the socket is closed.
 * 3. For the same reason a connection that is refused means that the last of its workers is gone. `delete` waits for that: what a worker has
 *    begun must not be cleaned up while it goes on. Containers' processes do not have the socket. */
#include "containerd/address.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/proc.h"
#include "base/str.h"
#include "containerd/bootstrap.h"

/* FNV-1a twice, with two starts: it only has to spread. Whoever can choose ids so that two collide has containerd in hand. */
static uint64_t hash(const char *text, uint64_t h)
{
	for (; *text; text++)
		h = (h ^ (uint8_t)*text) * 1099511628211u;
	return h;
}

char *address_path(const char *dir, const char *containerd, const char *ns, const char *group)
{
	autofree char *name = str_printf("%s/%s/%s", containerd, ns, group);

	return str_printf("%s/torpor-%016llx%016llx", dir, (unsigned long long)hash(name, 14695981039346656037u),
		(unsigned long long)hash(name, 7809847782465536322u));
}

int address_lock(const char *dir)
{
	int r = bootstrap_make_directories(dir);
	autoclose int fd = r < 0 ? -1 : open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (r < 0)
		return r;
	return fd < 0 || flock(fd, LOCK_EX) < 0 ? fail(errno, "lock the directory %s", dir) : take_fd(&fd);
}

static int address_of(const char *path, struct sockaddr_un *at)
{
	*at = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof at->sun_path)
		return fail_text(ENAMETOOLONG, "the socket's path %s is too long", path);
	memcpy(at->sun_path, path, strlen(path));
	return 0;
}

/* NOBODY has the socket; only LEFTOVERS of a dead shim have; or the SHIM. */
enum who { NOBODY, LEFTOVERS, SHIM };

static enum who who_listens(const struct sockaddr_un *at)
{
	autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct ucred peer = { 0 };
	socklen_t size = sizeof peer;

	if (fd < 0)
		return SHIM;
	if (connect(fd, (const struct sockaddr *)at, sizeof *at) < 0)
		return errno == EAGAIN ? SHIM : NOBODY;   /* more wait than it can take at once */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || peer.pid <= 0)
		return SHIM;
	return proc_is_ending(peer.pid) ? LEFTOVERS : SHIM;
}

int address_bind(const char *path)
{
	struct sockaddr_un at;
	int r = address_of(path, &at);
	autoclose int fd = r < 0 ? -1 : socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (r < 0)
		return r;
	for (int tries = 0; tries < 3; tries++) {
		mode_t mask = umask(0177);
		r = fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0 ? -errno : 0;
		umask(mask);
		if (r == 0)
			return take_fd(&fd);
		if (r != -EADDRINUSE)
			return fail(-r, "make the socket %s", path);
		if (who_listens(&at) == SHIM)
			return -EADDRINUSE;
		unlink(path);
	}
	return fail(EADDRINUSE, "make the socket %s", path);
}

void address_settle(const char *path, unsigned ms)
{
	const struct timespec step = { .tv_nsec = 5000000 };
	struct sockaddr_un at;

	if (address_of(path, &at) < 0) {
		err_clear();
		return;
	}
	for (unsigned waited = 0; waited < ms && who_listens(&at) == LEFTOVERS; waited += 5)
		nanosleep(&step, NULL);
}

void address_remove(const char *path)
{
	struct sockaddr_un at;

	if (address_of(path, &at) < 0)
		err_clear();
	else if (who_listens(&at) != SHIM)
		unlink(path);
}
