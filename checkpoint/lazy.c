/* SPDX-License-Identifier: Apache-2.0 */
/* The processes around the pager (lazy/pager.c): either the daemon of `torpor-cr lazy-pages`, which reads the images itself and takes one
 * restore on its socket, or a process that a restore starts for itself once it has read and checked the images, and which outlives
 * it. The latter is no child of anybody who would wait for it, and holds no descriptor that is not its own: engines wait for the end of
 * the pipes that a runtime was given. */
#define LOG_PREFIX "lazy"
#include "lazy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "image/run_id.h"
#include "inventory.h"
#include "lazy/content.h"
#include "lazy/pager.h"
#include "mem/lazy.h"
#include "mem/mem.h"
#include "pages/giver.h"
#include "pages/socket.h"
#include "pages/wire.h"

/* --- the daemon --- */

static int listen_here(const char *dir, char **path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct stat st;

	*path = str_printf("%s/" LAZY_SOCKET, dir);
	if (strlen(*path) >= sizeof a.sun_path)
		return fail(ENAMETOOLONG, "%s", *path);
	strcpy(a.sun_path, *path);
	if (lstat(*path, &st) == 0 && S_ISSOCK(st.st_mode))   /* of a daemon that has gone */
		unlink(*path);
	autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 ||
	    chmod(*path, S_ISVTX | 0600) < 0 || listen(fd, 1) < 0)   /* sticky: mem/lazy.c */
		return fail(errno, "listen on %s", *path);
	return take_fd(&fd);
}

static int read_images(struct restore *r)
{
	int e = image_dir_open(r->o->images_dir, &r->images);

	if (e >= 0)
		e = inventory_read(r);
	if (e >= 0)
		e = tree_read(r);
	for (size_t i = 0; i < r->tree->tasks.n && e >= 0; i++)
		if (r->tree->tasks.data[i]->state != TASK_DEAD)
			e = mm_check(r, r->tree->tasks.data[i]);
	return e;
}

/* Reads the images, and gives them to fn with its argument. */
static int with_images(const struct ck_restore_options *ro, int (*fn)(struct restore *r, const void *arg), const void *arg)
{
	struct restore r = { .o = ro };

	r.tree = tree_new();
	r.arena = &r.tree->arena;
	int e = ro->images_dir ? read_images(&r) : fail_text(EINVAL, "no images directory given (--images-dir DIR)");
	if (e >= 0)
		e = fn(&r, arg);
	shmem_done(&r);
	image_dir_free(r.images);
	tree_free(r.tree);
	return e;
}

static int serve_restore(struct restore *r, const void *arg)
{
	const struct ck_lazy_options *o = arg;
	autofree char *path = NULL;
	autoclose int sock = listen_here(o->work_dir ? o->work_dir : o->images_dir, &path);
	int e = sock < 0 ? sock : o->ready ? o->ready(o->arg, 0) : 0;

	if (e < 0)
		return e;
	int fd;
	while ((fd = accept4(sock, NULL, NULL, SOCK_CLOEXEC)) < 0 && errno == EINTR)
		;
	e = fd < 0 ? fail(errno, "wait for the restore") : 0;
	unlink(path);
	fd_close(&sock);
	sock = -1;
	return e < 0 ? e : pager_run(r, fd, o->page_server);
}

int ck_lazy_pages(const struct ck_lazy_options *o)
{
	const struct ck_restore_options ro = {
		.images_dir = o->images_dir, .work_dir = o->work_dir, .lazy_pages = true, .own_pager = true, .page_server = o->page_server,
	};

	return with_images(&ro, serve_restore, o);
}

/* --- the other side of a page server: images that are served --- */

struct source {
	struct restore *r;
	struct content *content;
};

static uint64_t stretch(void *arg, pid_t pid, uint64_t address, uint64_t pages)
{
	struct source *s = arg;
	const struct task *t = tree_find(s->r->tree, pid);

	return t && t->state != TASK_DEAD ? content_stretch(s->content, t, address, pages * PAGE) / PAGE : 0;
}

static int read_images_of(void *arg, pid_t pid, uint64_t address, char *buffer, uint64_t size)
{
	struct source *s = arg;

	return content_read(s->content, tree_find(s->r->tree, pid), address, buffer, size);
}

static int give(struct restore *r, const void *arg)
{
	const struct ck_give_options *o = arg;
	struct source s = { .r = r };
	autofree char *id = image_run_id(r->images);
	const struct giver g = {
		.where = &o->where, .mark = wire_mark(id), .harmless = true, .stop_fd = -1, .stretch = stretch, .read = read_images_of, .arg = &s,
	};
	unsigned port;
	bool connected;
	int e = content_open(r, NULL, &s.content), sock = e < 0 ? e : page_listen(&o->where, 16, &port, &connected);

	if (sock >= 0)
		e = o->ready ? o->ready(o->arg, port) : 0;
	if (sock >= 0 && e >= 0)
		e = giver_run(&g, sock, connected);
	else if (sock >= 0)
		fd_close(&sock);
	content_free(&s.content);
	return sock < 0 ? sock : e;
}

int ck_give_pages(const struct ck_give_options *o)
{
	const struct ck_restore_options ro = { .images_dir = o->images_dir };

	return with_images(&ro, give, o);
}

/* --- a restore's own --- */

static bool is_images(const struct restore *r, int fd)
{
	for (size_t i = 0; r->memory && i < r->memory->chain.n; i++)
		if (r->memory->chain.data[i]->fd == fd)
			return true;
	return r->images->fd == fd;
}

static void close_others(const struct restore *r, int sock)
{
	DIR *dir = opendir("/proc/self/fd");

	while (dir) {
		struct dirent *e = readdir(dir);
		if (!e)
			break;
		int fd = atoi(e->d_name);
		bool wanted = fd == sock || is_images(r, fd) || fd == log_fd() || fd == log_tee_fd();
		if (fd > 2 && !wanted && fd != dirfd(dir))
			close(fd);
	}
	if (dir)
		closedir(dir);
	autoclose int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; null >= 0 && fd < 3; fd++)
		dup2(null, fd);
}

int lazy_start(struct restore *r)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return fail(errno, "make a socket for the pager");
	pid_t pid = fork();
	if (pid < 0)
		return fail(errno, "start the pager");
	if (pid == 0) {
		if (fork() != 0)
			_exit(0);
		setsid();
		if (chdir("/") < 0)
			_exit(1);
		close(pair[0]);
		close_others(r, pair[1]);
		int e = pager_run(r, pair[1], r->o->page_server);
		if (e < 0)
			log_trail();
		_exit(e < 0 ? 1 : 0);
	}
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	close(pair[1]);
	memory(r)->lazy = pair[0];
	memory(r)->lazy_answers = true;
	return 0;
}
