/* SPDX-License-Identifier: Apache-2.0 */
/* The state directory of a container: made, opened, locked, taken away.
 *
 * Facts relied on: mkdir() is the atomic test for an id in use; flock() on a directory works on every Linux filesystem that state
 * may be on (tmpfs and the disk ones), belongs to the open description and goes with its last descriptor; a directory that was
 * removed while somebody waited for its lock has link count 0.
 *
 * Invariants: 1. state.json is only ever replaced as a whole, so readers need no lock. 2. A directory without a readable state.json
 * is a create that was killed in its first moments: it opens as a container without init and can be deleted. 3. Nothing in
 * the directory is trusted to name another container: the id comes from the directory's name, which is checked. */
#define LOG_PREFIX "container"
#include "container/container.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/proc.h"
#include "container/internal.h"
#include "spec/json.h"

#define LOCK_SECONDS 60

bool container_id_valid(const char *id)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.";
	size_t n = strlen(id);

	return n && n <= 255 && n == strspn(id, allowed) && strcmp(id, ".") != 0 && strcmp(id, "..") != 0;
}

char *container_str(struct container *c, const char *s)
{
	return s ? arena_str(&c->arena, s) : NULL;
}

void container_add_pair(struct container *c, struct spec_pairs *list, const char *key, const char *value)
{
	struct spec_pair *larger = arena_array(&c->arena, struct spec_pair, list->n + 1);

	if (list->n)
		memcpy(larger, list->data, list->n * sizeof *larger);
	larger[list->n++] = (struct spec_pair){ container_str(c, key), container_str(c, value) };
	list->data = larger;
}

void container_free(struct container *c)
{
	if (!c)
		return;
	container_unlock(c);
	fd_close(&c->dir_fd);
	fd_close(&c->late_fd);
	arena_done(&c->arena);
	free(c);
}

static int check_root(const char *root)
{
	if (*root != '/' || root[strspn(root, "/")] == '\0')
		return fail_text(EINVAL, "the state directory \"%s\" must be an absolute path other than /", root);
	return 0;
}

int container_make(const char *root, const char *id, struct container **out)
{
	int r = check_root(root);

	*out = NULL;
	if (r == 0 && !container_id_valid(id))
		r = fail_text(EINVAL, "invalid container ID \"%s\": up to 255 letters, digits and _+-. are allowed", id);
	if (r < 0)
		return r;
	struct container *c = *out = mem_zalloc(sizeof *c);
	c->dir_fd = c->late_fd = -1;
	c->root = container_str(c, root);
	c->id = container_str(c, id);
	c->dir = arena_printf(&c->arena, "%s/%s", root, id);
	return 0;
}

/* 0, -EWOULDBLOCK, or -ENOENT when the directory is gone. */
static int try_lock(struct container *c)
{
	struct stat st;

	if (flock(c->dir_fd, LOCK_EX | LOCK_NB) < 0)
		return -errno;
	c->locked = true;
	return fstat(c->dir_fd, &st) < 0 ? -errno : st.st_nlink ? 0 : -ENOENT;
}

static int read_state(struct container *c)
{
	autofree char *text = NULL;
	ssize_t n = file_read(c->dir_fd, "state.json", &text, JSON_MAX_SIZE);

	if (n == -ENOENT)
		return 0;
	int r = n < 0 ? fail((int)-n, "read %s/state.json", c->dir) : container_state_decode(c, text, (size_t)n);
	if (r == -EINVAL)   /* of its text; to a caller that would be a mistake of his own */
		r = -EBADMSG;
	if (r < 0)
		fail_hint("`torpor delete --force %s` takes the damaged state away.", c->id);
	return r;
}

int container_lock(struct container *c)
{
	int r = 0;

	if (c->locked)
		return 0;
	for (int i = 0; i < LOCK_SECONDS * 50; i++) {
		r = try_lock(c);
		if (r != -EWOULDBLOCK)
			break;
		nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	}
	if (r == -ENOENT)
		return fail_text(ENOENT, "container does not exist: %s", c->id);
	if (r == -EWOULDBLOCK)
		return fail_text(EBUSY, "container %s: another command has been working on it for %d seconds", c->id, LOCK_SECONDS);
	return r < 0 ? fail(-r, "lock %s", c->dir) : read_state(c);
}

void container_unlock(struct container *c)
{
	if (c->locked)
		flock(c->dir_fd, LOCK_UN);
	c->locked = false;
}

int container_open_dir(struct container *c)
{
	c->dir_fd = open(c->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return c->dir_fd < 0 ? -errno : 0;
}

int container_open(const struct oci_options *o, const char *id, struct container **out)
{
	struct container *c;
	int r = container_make(o->root, id, &c);

	*out = NULL;
	if (r < 0)
		return r;
	r = container_open_dir(c);
	if (r == -ENOENT)
		r = fail_text(ENOENT, "container does not exist: %s", id);
	else
		r = r < 0 ? fail(-r, "open the state directory %s", c->dir) : read_state(c);
	if (r < 0)
		container_free(c);
	else
		*out = c;
	return r;
}

/* mkdir -p for the root; others may not look into it. */
static int make_root(const char *root)
{
	autofree char *path = str_dup(root);

	for (char *p = path + 1;; p++) {
		if (*p && *p != '/')
			continue;
		char saved = *p;
		*p = '\0';
		if (mkdir(path, saved ? 0755 : 0700) < 0 && errno != EEXIST)
			return fail(errno, "make the state directory %s", path);
		*p = saved;
		if (!saved)
			return 0;
	}
}

static void note_now(struct container *c)
{
	struct timespec now;
	struct tm tm;
	char text[40] = "";

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
	c->created = arena_printf(&c->arena, "%s.%09ldZ", text, now.tv_nsec);
}

static void note_descriptors(struct container *c)
{
	for (int fd = 0; fd < 3; fd++) {
		char name[16];
		autofree char *target = NULL;
		snprintf(name, sizeof name, "fd/%d", fd);
		c->descriptors[fd] = container_str(c, proc_readlink(getpid(), name, &target) < 0 ? "" : target);
	}
}

void container_note_spec(struct container *c, const struct spec *s)
{
	c->oci_version = container_str(c, s->oci_version);
	c->bundle = container_str(c, s->bundle);
	c->config = arena_printf(&c->arena, "%s/config.json", c->dir);
	c->rootfs = container_str(c, s->root_path);
	c->owner = container_str(c, "");
	c->private_pid = s->namespaces[NS_PID].wanted && !s->namespaces[NS_PID].path;
	c->poststart = s->hooks[HOOK_POSTSTART].n;
	c->poststop = s->hooks[HOOK_POSTSTOP].n;
	for (size_t i = 0; i < s->annotations.n; i++)
		container_add_pair(c, &c->annotations, s->annotations.data[i].key, s->annotations.data[i].value);
	for (int k = 0; k < NS_KINDS; k++)
		if (s->namespaces[k].path)
			container_add_pair(c, &c->joined, spec_namespaces[k].spec, s->namespaces[k].path);
	note_now(c);
	note_descriptors(c);
}

static int fill_dir(struct container *c, const struct spec *s)
{
	int r = container_open_dir(c);

	if (r < 0)
		return fail(-r, "open %s", c->dir);
	r = try_lock(c);
	if (r < 0)
		return fail(-r, "lock %s", c->dir);
	r = file_swap(c->dir_fd, "config.json", s->text, s->text_size, 0600);
	if (r < 0)
		return fail(-r, "write %s/config.json", c->dir);
	return container_save(c);
}

int container_new(const char *root, const char *id, const struct spec *spec, struct container **out)
{
	struct container *c;
	int r = container_make(root, id, &c);

	*out = NULL;
	if (r == 0)
		r = make_root(root);
	if (r < 0) {
		container_free(c);
		return r;
	}
	container_note_spec(c, spec);
	if (mkdir(c->dir, 0711) < 0) {
		r = errno == EEXIST ? fail_text(EEXIST, "container with given ID already exists: %s", id) :
				      fail(errno, "make the state directory %s", c->dir);
		container_free(c);
		return r;
	}
	r = fill_dir(c, spec);
	if (r < 0) {
		container_remove(c);
		container_free(c);
		return r;
	}
	*out = c;
	return 0;
}

int container_set_init(struct container *c, pid_t pid)
{
	struct proc_stat st;
	int r = proc_stat_read(pid, &st);

	if (r < 0)
		return fail(-r, "container %s: read the start time of init (pid %d)", c->id, pid);
	c->pid = pid;
	c->pid_start = st.starttime;
	return 0;
}

int container_spec(struct container *c, struct spec **out)
{
	autofree char *text = NULL;
	ssize_t n = file_read(c->dir_fd, "config.json", &text, JSON_MAX_SIZE);

	*out = NULL;
	if (n < 0)
		return fail((int)-n, "read %s/config.json", c->dir);
	return spec_parse(c->bundle ? c->bundle : "/", "config.json", text, (size_t)n, out);
}

/* Removes what is in the directory fd (which it closes); symbolic links are not followed, other mounts not entered. */
static int empty_dir(int fd, dev_t device)
{
	DIR *d = fdopendir(fd);
	int r = 0;

	if (!d) {
		r = -errno;
		close(fd);
		return r;
	}
	for (struct dirent *e; (e = readdir(d)) && r == 0;) {
		struct stat st;
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") || fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISDIR(st.st_mode) && st.st_dev == device) {
			int sub = openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			r = sub < 0 ? -errno : empty_dir(sub, device);
		}
		if (r == 0 && unlinkat(fd, e->d_name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) < 0 && errno != ENOENT)
			r = -errno;
	}
	closedir(d);
	return r;
}

int container_remove(struct container *c)
{
	struct stat st;
	int fd = open(c->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : fail(errno, "open %s", c->dir);
	if (fstat(fd, &st) < 0) {
		close(fd);
		return fail(EIO, "look at %s", c->dir);
	}
	int r = empty_dir(fd, st.st_dev);
	if (r == 0 && rmdir(c->dir) < 0 && errno != ENOENT)
		r = -errno;
	return r < 0 ? fail(-r, "remove the state directory %s", c->dir) : 0;
}

static int compare_ids(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

ssize_t container_list(const struct oci_options *o, char ***ids)
{
	ARRAY(char *) list = { 0 };
	int r = check_root(o->root);

	*ids = NULL;
	if (r < 0)
		return r;
	DIR *d = opendir(o->root);
	if (!d)
		return errno == ENOENT ? 0 : fail(errno, "open the state directory %s", o->root);
	for (struct dirent *e; (e = readdir(d));) {
		struct stat st;
		if (container_id_valid(e->d_name) && fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
			array_push(&list) = str_dup(e->d_name);
	}
	closedir(d);
	if (list.n)
		qsort(list.data, list.n, sizeof *list.data, compare_ids);
	*ids = list.data;
	return (ssize_t)list.n;
}
