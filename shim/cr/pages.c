/* SPDX-License-Identifier: Apache-2.0 */
/* torpor-cr page-server and lazy-pages: the process around the engine's servers. It becomes a daemon only when it listens, so that whoever started it
 * knows from its exit status that a dump or a restore can connect. */
#include "cr/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"

struct ck_page_peer cr_page_peer(const struct cr_options *o)
{
	return (struct ck_page_peer){ .address = o->address, .port = o->port, .socket = o->ps_socket, .tls = o->tls ? &o->tls_files : NULL };
}

/* Made before there is a daemon, so that an error is the caller's to see; -1 if none is wanted. */
static int open_pidfile(const struct cr_options *o)
{
	int fd = o->pidfile ? open(o->pidfile, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;

	return fd < 0 && o->pidfile ? fail(errno, "make the pid file %s", o->pidfile) : fd;
}

static int write_pid(const struct cr_options *o, int fd, pid_t pid)
{
	char text[16];
	int r = fd < 0 ? 0 : fd_write_all(fd, text, (size_t)snprintf(text, sizeof text, "%d", pid));

	return r < 0 ? fail(-r, "write the pid file %s", o->pidfile) : 0;
}

void cr_detach(void)
{
	setsid();
	autoclose int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; null >= 0 && fd < 3; fd++)
		if (fd != 2 || log_fd() != 2)
			dup2(null, fd);
}

/* In a daemon's parent it does not come back. */
static int go_to_background(const struct cr_options *o)
{
	autoclose int pidfile = open_pidfile(o);
	pid_t pid = o->pidfile && pidfile < 0 ? -1 : o->daemon ? fork() : getpid();

	if (pid < 0)
		return o->pidfile && pidfile < 0 ? pidfile : fail(errno, "become a daemon");
	if (o->daemon && pid == 0) {
		cr_detach();
		return 0;
	}
	int r = write_pid(o, pidfile, pid);
	if (!o->daemon)
		return r;
	if (r < 0)
		log_trail();
	_exit(r < 0 ? 1 : 0);
}

int cr_is_ready(void *arg, unsigned port)
{
	const struct cr_options *o = arg;
	if (!o->port && port) {
		printf("%u\n", port);
		fflush(stdout);
	}
	int r = go_to_background(o);
	if (r >= 0 && o->actions)
		r = o->actions->run(o->actions->arg, &(struct ck_action_event){ .action = CK_STATUS_READY, .images = o->images_dir, .fd = -1 });
	if (r < 0 || o->status_fd < 0)
		return r;
	if (write(o->status_fd, "", 1) != 1)
		return fail(errno, "--status-fd %d", o->status_fd);
	close(o->status_fd);
	return 0;
}

static int give_pages(const struct cr_options *o, int (*ready)(void *arg, unsigned port), void *arg)
{
	const struct ck_give_options g = { .images_dir = o->images_dir, .where = cr_page_peer(o), .ready = ready, .arg = arg };

	if (o->sessions > 1)
		return fail_text(EINVAL, "--sessions: images are served to one restore");
	if (o->prev_images_dir || o->auto_dedup)
		return fail_text(EINVAL, "%s: a page server with --lazy-pages takes no pages", o->auto_dedup ? "--auto-dedup" : "--prev-images-dir");
	return ck_give_pages(&g);
}

int cr_serve_pages(const struct cr_options *o, int (*ready)(void *arg, unsigned port), void *arg)
{
	const struct ck_page_server_options s = {
		.images_dir = o->images_dir,
		.where = cr_page_peer(o),
		.sessions = o->sessions,
		.prev_images_dir = o->prev_images_dir,
		.auto_dedup = o->auto_dedup,
		.ready = ready,
		.arg = arg,
	};

	return o->lazy_pages ? give_pages(o, ready, arg) : ck_page_server(&s);
}

int cr_page_server(const struct cr_options *o)
{
	struct cr_options copy = *o;

	return cr_serve_pages(o, cr_is_ready, &copy);
}

int cr_lazy_pages(const struct cr_options *o)
{
	struct cr_options copy = *o;
	const struct ck_page_peer peer = cr_page_peer(o);
	const struct ck_lazy_options l = {
		.images_dir = o->images_dir,
		.work_dir = o->work_dir,
		.page_server = o->page_server ? &peer : NULL,
		.ready = cr_is_ready,
		.arg = &copy,
	};

	return ck_lazy_pages(&l);
}
