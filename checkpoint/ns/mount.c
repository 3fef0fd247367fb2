/* SPDX-License-Identifier: Apache-2.0 */
/* The mount namespace of a container, while it is saved; and what a runtime's restore lacks.
 *
 * Every mount is described in the image, as CRIU does it, so that all of them can be made again from it (mount_build.c): by its kind of
 * filesystem and options, as a part of another mount, or as external: from a path outside that whoever restores names by a key. Which are
 * external the caller says (mnt[/path]:key; mnt[]: those that can be nothing else are); a mount that is neither is refused by name.
 * The contents of a tmpfs are saved once, as a tar (tar_write.c).
 *
 * When it is a runtime that dumps, it makes the mounts again from its bundle (o->bundle): each may be anything then, and one of a
 * superblock that is mounted in the engine's own namespace is external by its place. At restore, every mount point of the image must be one
 * in the namespace that the runtime has made, and the contents of each tmpfs are unpacked into the one at the same place. */
#define LOG_PREFIX "mount"
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/proc.h"
#include "files/builder.h"
#include "mnt.pb-c.h"
#include "model/external.h"
#include "ns/fstype.h"
#include "ns/internal.h"
#include "ns/tar.h"

struct mount_table {
	struct mount_list root, mine;
};

/* mountinfo writes blanks, tabs, newlines and backslashes as \ooo. */
static char *unescape(char *s)
{
	char *to = s;

	for (const char *from = s; *from; to++) {
		if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] && from[3]) {
			*to = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = 0;
	return s;
}

static void optional_fields(struct mount_info *m, const char *field)
{
	if (str_starts(field, "shared:"))
		m->shared_id = (unsigned)strtoul(field + 7, NULL, 10);
	else if (str_starts(field, "master:"))
		m->master_id = (unsigned)strtoul(field + 7, NULL, 10);
}

/* "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue" (proc(5)) */
static int parse_line(char *line, struct mount_info *m)
{
	char *fields[6], *tail[3] = { NULL }, *save, *word = strtok_r(line, " ", &save);
	int n = 0;

	for (; word && n < 6; word = strtok_r(NULL, " ", &save))
		fields[n++] = word;
	for (; word && strcmp(word, "-") != 0; word = strtok_r(NULL, " ", &save))
		optional_fields(m, word);
	for (int i = 0; i < 3 && word; i++)
		tail[i] = strtok_r(NULL, " ", &save);
	if (n < 6 || !tail[0] || sscanf(fields[2], "%u:%u", &m->major, &m->minor) != 2)
		return -EBADMSG;
	m->mnt_id = atoi(fields[0]);
	m->parent_id = atoi(fields[1]);
	m->root = unescape(fields[3]);
	m->mountpoint = unescape(fields[4]);
	m->options = fields[5];
	m->fstype = tail[0];
	m->source = unescape(tail[1] ? tail[1] : tail[0] + strlen(tail[0]));
	m->super_options = tail[2] ? unescape(tail[2]) : tail[0] + strlen(tail[0]);
	return 0;
}

int mounts_parse(struct arena *arena, char *text, struct mount_list *out)
{
	size_t lines = 1;

	for (const char *c = text; *c; c++)
		lines += *c == '\n';
	out->data = arena_array(arena, struct mount_info, lines);
	char *save, *line = strtok_r(text, "\n", &save);
	for (; line; line = strtok_r(NULL, "\n", &save)) {
		int r = parse_line(line, &out->data[out->n]);
		if (r < 0)
			return r;
		out->n++;
	}
	return 0;
}

int mounts_read(struct arena *arena, pid_t host_pid, struct mount_list *out)
{
	autofree char *text = NULL;
	ssize_t n = proc_read(host_pid ? host_pid : getpid(), "mountinfo", &text);

	if (n < 0)
		return fail((int)-n, "read the mounts of task %d", host_pid);
	int r = mounts_parse(arena, arena_str(arena, text), out);
	return r < 0 ? fail(-r, "/proc/%d/mountinfo has a line that is not understood", host_pid) : 0;
}

int mount_collect(struct dump *d)
{
	d->mounts = arena_new(d->arena, struct mount_table);
	pid_t root = tree_root(d->tree)->host_pid;
	int saved, r = d->own_cgroup_ns ? ns_enter(root, NSK_CGROUP, &saved) : 0;

	if (r < 0)
		return r;
	r = mounts_read(d->arena, root, &d->mounts->root);   /* which tells roots of cgroup mounts by the reader's namespace */
	if (d->own_cgroup_ns) {
		int left = ns_leave(NSK_CGROUP, &saved);
		r = r < 0 ? r : left;
	}
	return r < 0 || !d->own_mnt_ns ? r : mounts_read(d->arena, 0, &d->mounts->mine);
}

const struct mount_info *mount_by_id(const struct dump *d, int mnt_id)
{
	for (size_t i = 0; i < d->mounts->root.n; i++)
		if (d->mounts->root.data[i].mnt_id == mnt_id)
			return &d->mounts->root.data[i];
	return NULL;
}

static bool same_device(const struct mount_info *a, const struct mount_info *b)
{
	return a->major == b->major && a->minor == b->minor;
}

static bool device_in(const struct mount_list *l, const struct mount_info *m)
{
	for (size_t i = 0; i < l->n; i++)
		if (same_device(&l->data[i], m))
			return true;
	return false;
}

/* What of path is below top: "" if they are the same, NULL if it is elsewhere. */
static const char *below(const char *path, const char *top)
{
	size_t len = strlen(top);

	while (len && top[len - 1] == '/')
		len--;
	return strncmp(path, top, len) != 0 || (path[len] && path[len] != '/') ? NULL : path + len;
}

static bool skipped(const struct dump *d, const struct mount_info *m)
{
	for (const char *const *s = d->o->skip_mounts; s && *s; s++)
		if (below(m->mountpoint, *s))
			return true;
	return false;
}

static bool is_root(const struct mount_info *m)
{
	return !m->mountpoint[1];
}

/* It can be taken from another mount of the tree: the root's, an external one, or one of the filesystem's own root. */
static bool part_of_another(const struct dump *d, const struct mount_info *m)
{
	const struct mount_list *l = &d->mounts->root;

	for (size_t i = 0; i < l->n; i++) {
		const struct mount_info *other = &l->data[i];
		if (other != m && same_device(other, m) && below(m->root, other->root) && !skipped(d, other) &&
		    (is_root(other) || external_find(d->o->external, "mnt", other->mountpoint) || fstype_number(other->fstype)))
			return true;
	}
	return false;
}

static bool made_by_type(const struct dump *d, const struct mount_info *m)
{
	return fstype_number(m->fstype) || (fstype_listed(d->o->plain_filesystems, m->fstype) && !is_root(m));
}

/* The key of an external mount; NULL: it is none. */
static const char *external_key(const struct dump *d, const struct mount_info *m)
{
	const char *value = is_root(m) ? NULL : external_find(d->o->external, "mnt", m->mountpoint);

	if (value)
		return *value ? value : m->mountpoint;
	if (d->o->bundle)
		return device_in(&d->mounts->mine, m) ? m->mountpoint : NULL;
	if (is_root(m) || !external_find(d->o->external, "mnt", "") || !device_in(&d->mounts->mine, m) || part_of_another(d, m))
		return NULL;
	return fstype_number(m->fstype) && !strcmp(m->root, "/") ? NULL : "CRIU:AUTOGENERATED";
}

static int check_mount(const struct dump *d, const struct mount_info *m, const char *key)
{
	if (d->o->bundle || key || is_root(m) || made_by_type(d, m) || part_of_another(d, m))
		return 0;
	fail_text(ENOTSUP, "mount %s of task %d (%s, %s of %s) comes from outside: its contents are not saved", m->mountpoint, d->o->pid, m->fstype,
		  m->root, m->source);
	fail_hint("say so with --external 'mnt[%s]:KEY' and name its source at restore with --external 'mnt[KEY]:PATH'", m->mountpoint);
	return -ENOTSUP;
}

static void describe(struct dump *d, const struct mount_info *m, MntEntry *e)
{
	e->fstype = is_root(m) && !fstype_number(m->fstype) ? FSTYPE__UNSUPPORTED : fstype_number(m->fstype);
	if (!e->fstype && fstype_listed(d->o->plain_filesystems, m->fstype)) {
		e->fstype = FSTYPE__AUTO;
		e->fsname = m->fstype;
	}
	e->mnt_id = (uint32_t)m->mnt_id;
	e->root_dev = m->major << 20 | m->minor;
	e->parent_mnt_id = (uint32_t)m->parent_id;
	e->flags = mount_flags(m->options);
	e->root = m->root;
	e->mountpoint = m->mountpoint;
	e->source = m->source;
	e->has_sb_flags = e->has_shared_id = e->has_master_id = 1;
	e->shared_id = m->shared_id;
	e->master_id = m->master_id;
	e->sb_flags = superblock_flags(m->super_options);
	e->options = superblock_options(arena_str(d->arena, m->super_options));
	if (e->fstype == FSTYPE__DEVPTS)   /* which the kernel does not show: without it, older ones mount the host's */
		e->options = arena_printf(d->arena, "%s%snewinstance", e->options, *e->options ? "," : "");
}

static int write_mount(struct dump *d, struct image *i, const struct mount_info *m)
{
	const char *key = external_key(d, m);
	MntEntry e = MNT_ENTRY__INIT;
	int r = check_mount(d, m, key);

	if (r < 0)
		return r;
	describe(d, m, &e);
	e.ext_key = (char *)(uintptr_t)key;
	return image_write(i, &e);
}

/* Its name in the image directory, as CRIU has it. */
static char *tmpfs_name(unsigned major, unsigned minor)
{
	return str_printf("tmpfs-dev-%u.tar.gz.img", major << 20 | minor);
}

static bool saved_before(const struct mount_list *l, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (same_device(&l->data[k], &l->data[i]) && !strcmp(l->data[k].root, "/"))
			return true;
	return false;
}

/* The directory of a mount of the tree, by a descriptor. Only the topmost mount at a place can be opened: is it this one? */
static int open_mount(struct dump *d, const struct mount_info *m)
{
	struct stat st;
	int fd = openat(d->root_fd, m->mountpoint[1] ? m->mountpoint + 1 : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return fail(errno, "open the tmpfs at %s of task %d", m->mountpoint, d->o->pid);
	if (fstat(fd, &st) < 0 || major(st.st_dev) != m->major || minor(st.st_dev) != m->minor) {
		close(fd);
		return fail_text(ENOTSUP, "the tmpfs at %s of task %d is covered by another mount: its contents cannot be reached", m->mountpoint,
				 d->o->pid);
	}
	return fd;
}

static int save_tmpfs(struct dump *d, const struct mount_info *m)
{
	autoclose int dir = open_mount(d, m);

	if (dir < 0)
		return dir;
	if (d->o->bundle && tar_is_empty(dir))   /* CRIU wants every one */
		return 0;
	autofree char *name = tmpfs_name(m->major, m->minor);
	autoclose int out = image_create_raw(d->images, name);
	if (out < 0)
		return out;
	int r = tar_write(dir, out, !d->o->bundle);
	return r < 0 ? fail_hint("while saving the tmpfs at %s of task %d", m->mountpoint, d->o->pid), r : 0;
}

/* Its contents go into the images: it is the tree's own, and this is the first mount of it. */
static bool has_contents(const struct dump *d, size_t k)
{
	const struct mount_list *l = &d->mounts->root;
	const struct mount_info *m = &l->data[k];

	if (is_root(m) || strcmp(m->fstype, "tmpfs") != 0 || strcmp(m->root, "/") != 0 || saved_before(l, k))
		return false;
	if (d->o->bundle)
		return !(mount_flags(m->options) & MS_RDONLY) && !device_in(&d->mounts->mine, m);
	return !external_key(d, m);
}

/* In CRIU's order, what was mounted last first. */
int mount_save(struct dump *d, uint32_t id)
{
	const struct mount_list *l = &d->mounts->root;
	auto_image struct image *i = NULL;
	int r = image_create(d->images, IMG_MOUNTPOINTS, id, &i);

	for (size_t k = l->n; k-- > 0 && r >= 0;) {
		if (skipped(d, &l->data[k]))
			continue;
		r = write_mount(d, i, &l->data[k]);
		if (r >= 0 && has_contents(d, k))
			r = save_tmpfs(d, &l->data[k]);
	}
	return r < 0 ? r : image_close(&i);
}

/* --- restore, into the mounts that a runtime has made --- */

static const struct mount_info *find_mount(const struct mount_list *l, const char *mountpoint)
{
	const struct mount_info *found = NULL;

	for (size_t i = 0; i < l->n; i++)
		if (!strcmp(l->data[i].mountpoint, mountpoint))
			found = &l->data[i];
	return found;
}

struct unpack {
	char image[64], mountpoint[4096];
};

/* In the builder: the tree's root directory is ours, and so is the descriptor of the images directory. */
static int unpack_tmpfs(struct restore *r, void *data, size_t size)
{
	struct unpack *u = data;
	struct statfs fs;

	(void)size;
	autoclose int image = image_open_raw(r->images, u->image);
	if (image < 0)
		return image == -ENOENT ? 0 : image;   /* it was empty */
	autoclose int dir = open(u->mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (dir < 0 || fstatfs(dir, &fs) < 0)
		return fail(errno, "open the tmpfs at %s of the new container", u->mountpoint);
	if ((uint32_t)fs.f_type != TMPFS_MAGIC)
		return fail_text(EINVAL, "what is mounted at %s of the new container is not a tmpfs", u->mountpoint);
	int ret = tar_read(image, dir);
	if (ret < 0)
		fail_hint("while restoring the tmpfs at %s from %s", u->mountpoint, u->image);
	return ret;
}

static int restore_tmpfs(struct restore *r, const MntEntry *e)
{
	struct unpack u;
	autofree char *name = tmpfs_name(e->root_dev >> 20, e->root_dev & 0xfffff);

	snprintf(u.image, sizeof u.image, "%s", name);
	if (snprintf(u.mountpoint, sizeof u.mountpoint, "%s", e->mountpoint) >= (int)sizeof u.mountpoint)
		return fail(ENAMETOOLONG, "mount point %s", e->mountpoint);
	return builder_call(r, unpack_tmpfs, &u, sizeof u);
}

int mount_restore(struct restore *r, struct task *root, uint32_t id)
{
	struct mount_list now = { 0 };
	auto_image struct image *i = NULL;
	MntEntry *e;
	int ret = image_open(r->images, IMG_MOUNTPOINTS, id, &i);

	if (ret < 0)
		return ret == -ENOENT ? fail_text(ENOENT, "mountpoints-%u.img is missing: the checkpoint is not complete", id) : ret;
	ret = mounts_read(r->arena, root->host_pid, &now);
	while (ret >= 0 && (ret = image_read(i, r->arena, &e)) > 0) {
		const struct mount_info *m = find_mount(&now, e->mountpoint);
		if (!m) {
			fail_text(ENOTSUP, "the container had a mount at %s, which the bundle does not make: it cannot be restored", e->mountpoint);
			fail_hint("mounts made inside a container after its start are not supported; add it to config.json");
			return -ENOTSUP;
		}
		if (e->fstype == FSTYPE__TMPFS && !strcmp(m->fstype, "tmpfs") && !strcmp(e->root, "/"))
			ret = restore_tmpfs(r, e);
	}
	return ret;
}
