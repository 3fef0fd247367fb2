/* SPDX-License-Identifier: Apache-2.0 */
/* The page server: listens, and gives every connection to a process of its own (session.c), so that what one peer makes go wrong is
 * its own affair. With one session, CRIU's way, there is just this process.
 *
 * 1. It listens until it has taken as many connections as it was asked for, and then no longer.
 * 2. Into a directory with an inventory nothing is received: that is a whole checkpoint, which its pages would no longer fit.
 * 3. The result is that of the sessions: one that was not a whole dump is a failure of the server. */
#define LOG_PREFIX "page-server"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "checkpoint.h"
#include "pages/session.h"
#include "pages/socket.h"
#include "pages/tls.h"

static int check_directory(const char *path)
{
	struct stat st;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return fail(errno, "make the images directory %s", path);
	autoclose int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return fail(errno, "open the images directory %s", path);
	if (fstatat(dir, "inventory.img", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : fail(errno, "look at %s/inventory.img", path);
	fail_text(EEXIST, "%s holds a whole checkpoint", path);
	fail_hint("receive the pages into an empty directory");
	return -EEXIST;
}

/* The link to the round before. *made: it is new, and goes again if nothing comes. */
static int link_parent(const struct ck_page_server_options *o, bool *made)
{
	struct stat own, other;

	if (!o->prev_images_dir)
		return 0;
	autoclose int dir = open(o->images_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autoclose int parent = dir < 0 ? -1 : openat(dir, o->prev_images_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent < 0 || fstat(dir, &own) < 0 || fstat(parent, &other) < 0) {
		int r = fail(errno, "open the directory of the previous round, %s (--prev-images-dir)", o->prev_images_dir);
		fail_hint("the path is relative to the images directory, %s", o->images_dir);
		return r;
	}
	if (own.st_dev == other.st_dev && own.st_ino == other.st_ino)
		return fail_text(EINVAL, "--prev-images-dir %s: that is the images directory itself", o->prev_images_dir);
	*made = symlinkat(o->prev_images_dir, dir, "parent") == 0;
	if (*made)
		return 0;
	if (errno != EEXIST)
		return fail(errno, "make the link %s/parent", o->images_dir);
	if (fstatat(dir, "parent", &own, 0) < 0 || own.st_dev != other.st_dev || own.st_ino != other.st_ino)
		return fail_text(EEXIST, "%s/parent is there already, and does not lead to %s", o->images_dir, o->prev_images_dir);
	return 0;
}

static int next_connection(int sock)
{
	for (;;) {
		int fd = accept4(sock, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			return fd;
		if (errno != EINTR && errno != ECONNABORTED)
			return fail(errno, "wait for a dump to connect");
	}
}

static pid_t start_session(int sock, const struct ck_page_server_options *o, unsigned number)
{
	pid_t pid = fork();

	if (pid < 0)
		return fail(errno, "make a process for session %u", number);
	if (pid > 0)
		return pid;
	int r = session_run(sock, o, number, false);
	if (r < 0)
		log_trail();
	_exit(r < 0 ? 1 : 0);
}

static int wait_sessions(unsigned n)
{
	unsigned failed = 0;

	for (int status; n > 0; n--) {
		pid_t pid;
		while ((pid = wait(&status)) < 0 && errno == EINTR)
			;
		if (pid < 0)
			return fail(errno, "wait for a session");
		failed += status != 0;
	}
	return failed ? fail_text(EIO, "%u of the dumps did not arrive whole", failed) : 0;
}

static int serve_many(int sock, const struct ck_page_server_options *o)
{
	unsigned started = 0;
	int r = 0;

	while (started < o->sessions && r >= 0) {
		autoclose int fd = next_connection(sock);
		r = fd < 0 ? fd : start_session(fd, o, started);
		started += r >= 0;
	}
	fd_close(&sock);
	int waited = wait_sessions(started);
	return r < 0 ? r : waited;
}

/* All is here: what cannot be freed in earlier rounds is no failure. */
static void dedup(const struct ck_page_server_options *o)
{
	size_t mark = err_mark();

	if (ck_dedup(o->images_dir, false) < 0)
		log_warn("--auto-dedup: %s", err_line(mark));
	err_rewind(mark);
}

static int serve(int sock, bool connected, const struct ck_page_server_options *o)
{
	if (o->sessions > 1)
		return serve_many(sock, o);
	int fd = connected ? sock : next_connection(sock);
	if (!connected)
		fd_close(&sock);
	return fd < 0 ? fd : session_run(fd, o, 0, true);
}

int ck_page_server(const struct ck_page_server_options *o)
{
	unsigned port;
	bool connected, linked = false;
	int r = o->images_dir ? check_directory(o->images_dir) : fail_text(EINVAL, "no images directory given (--images-dir DIR)");

	if (r == 0 && o->where.tls)
		r = tls_check(o->where.tls, true);
	autoclose int sock = r < 0 ? -1 : page_listen(&o->where, o->sessions > 1 ? 16 : 1, &port, &connected);
	if (r < 0 || sock < 0)
		return r < 0 ? r : sock;
	if (o->sessions > 1 && connected)
		return fail_text(EINVAL, "one connected socket cannot carry %u sessions", o->sessions);
	r = link_parent(o, &linked);
	if (r == 0 && o->ready)
		r = o->ready(o->arg, port);
	if (r == 0)
		r = serve(take_fd(&sock), connected, o);
	if (r == 0 && o->auto_dedup)
		dedup(o);
	if (r < 0 && linked && o->sessions <= 1) {
		autofree char *path = str_printf("%s/parent", o->images_dir);
		unlink(path);
	}
	return r;
}
