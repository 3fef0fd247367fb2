/* SPDX-License-Identifier: Apache-2.0 */
/* "tmpcopyup": a tmpfs that begins with what the image has in the directory that it covers.
 *
 * The copy is made into the tmpfs before it is attached, so nothing of the container sees it half done. Everything is found by name in
 * an opened directory, no link is followed, other filesystems mounted below are not entered. Kept: kinds, contents, modes, owners,
 * modification times, extended attributes (as far as tmpfs takes them). Not kept: hard links (each name gets a copy), sockets.
 * The tmpfs itself gets the directory's mode and owner, unless its options say others. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "rootfs/internal.h"

#define DEPTH_MAX 128

struct copy {
	const char *destination;
	dev_t device;
};

static void copy_attributes(int from, int to)
{
	char names[4096], value[4096];
	ssize_t n = flistxattr(from, names, sizeof names);

	for (char *name = names; n > 0 && name < names + n; name += strlen(name) + 1) {
		ssize_t size = fgetxattr(from, name, value, sizeof value);
		if (size >= 0)
			fsetxattr(to, name, value, (size_t)size, 0);   /* what tmpfs does not take is not there */
	}
}

/* The mode last: a change of owner clears bits of it. */
static int copy_owner(int to, const struct stat *st)
{
	const struct timespec times[] = { st->st_atim, st->st_mtim };

	if (fchown(to, st->st_uid, st->st_gid) < 0 || fchmod(to, st->st_mode & 07777) < 0 || futimens(to, times) < 0)
		return -errno;
	return 0;
}

static int copy_contents(int from, int to)
{
	ssize_t n;

	do
		n = sendfile(to, from, NULL, 1 << 30);
	while (n > 0 || (n < 0 && errno == EINTR));
	return n < 0 ? -errno : 0;
}

static int copy_file(int from_dir, int to_dir, const char *name, const struct stat *st)
{
	autoclose int from = openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	autoclose int to = openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (from < 0 || to < 0)
		return -errno;
	int r = copy_contents(from, to);
	copy_attributes(from, to);
	return r < 0 ? r : copy_owner(to, st);
}

static int copy_other(int from_dir, int to_dir, const char *name, const struct stat *st)
{
	char target[PATH_MAX];
	const struct timespec times[] = { st->st_atim, st->st_mtim };

	if (S_ISSOCK(st->st_mode))
		return 0;
	if (S_ISLNK(st->st_mode)) {
		ssize_t n = readlinkat(from_dir, name, target, sizeof target - 1);
		if (n < 0)
			return -errno;
		target[n] = 0;
		if (symlinkat(target, to_dir, name) < 0)
			return -errno;
	} else if (mknodat(to_dir, name, st->st_mode, st->st_rdev) < 0) {
		return -errno;
	}
	if (fchownat(to_dir, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0 || utimensat(to_dir, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return S_ISLNK(st->st_mode) || fchmodat(to_dir, name, st->st_mode & 07777, 0) == 0 ? 0 : -errno;
}

static int copy_directory(const struct copy *c, int from, int to, int depth);

static int copy_below(const struct copy *c, int from_dir, int to_dir, const char *name, const struct stat *st, int depth)
{
	autoclose int from = openat(from_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (from < 0 || mkdirat(to_dir, name, 0700) < 0)
		return -errno;
	autoclose int to = openat(to_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (to < 0)
		return -errno;
	int r = st->st_dev == c->device ? copy_directory(c, from, to, depth + 1) : 0;
	copy_attributes(from, to);
	return r < 0 ? r : copy_owner(to, st);
}

static int copy_entry(const struct copy *c, int from, int to, const char *name, int depth)
{
	struct stat st;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(errno, "mount %s: tmpcopyup: %s", c->destination, name);
	size_t mark = err_mark();
	int r = S_ISDIR(st.st_mode) ? copy_below(c, from, to, name, &st, depth) : S_ISREG(st.st_mode) ? copy_file(from, to, name, &st)
												     : copy_other(from, to, name, &st);
	return r < 0 && err_count() == mark ? fail(-r, "mount %s: tmpcopyup: copy %s", c->destination, name) : r;
}

static int copy_directory(const struct copy *c, int from, int to, int depth)
{
	int r = 0, copy = fcntl(from, F_DUPFD_CLOEXEC, 0);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);

	if (!d) {
		r = -errno;
		fd_close(&copy);
		return r;
	}
	if (depth > DEPTH_MAX)
		r = fail_text(ELOOP, "mount %s: tmpcopyup: directories below it are nested more than %d deep", c->destination, DEPTH_MAX);
	for (struct dirent *e; r >= 0 && (e = readdir(d));)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			r = copy_entry(c, from, to, e->d_name, depth);
	closedir(d);
	return r;
}

static bool says(const struct mount_plan *p, const char *key)
{
	for (size_t i = 0; i < p->n_data; i++)
		if (str_starts(p->data[i], key))
			return true;
	return false;
}

static int copy_top(int to, const struct stat *st, const struct mount_plan *p)
{
	uid_t uid = says(p, "uid=") ? (uid_t)-1 : st->st_uid;
	gid_t gid = says(p, "gid=") ? (gid_t)-1 : st->st_gid;

	if (fchown(to, uid, gid) < 0)
		return -errno;
	return says(p, "mode=") || fchmod(to, st->st_mode & 07777) == 0 ? 0 : -errno;
}

int rootfs_copy_up(int from, int to, const struct mount_plan *p, const char *destination)
{
	struct copy c = { .destination = destination };
	struct stat st;
	autoclose int source = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autoclose int target = openat(to, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (source < 0 || target < 0 || fstat(source, &st) < 0)
		return fail(errno, "mount %s: tmpcopyup", destination);
	c.device = st.st_dev;
	size_t mark = err_mark();
	int r = copy_directory(&c, source, target, 0);
	if (r >= 0)
		r = copy_top(target, &st, p);
	return r < 0 && err_count() == mark ? fail(-r, "mount %s: tmpcopyup", destination) : r;
}
