/* SPDX-License-Identifier: Apache-2.0 */
/* One entry of the configuration's mounts.
 *
 * A mount is made detached, with all its attributes, and attached last: to a descriptor that was resolved inside the root. Nothing
 * is ever remounted by path, so there is no moment at which a mount is there without its "nosuid", and no path that could be
 * exchanged between two calls.
 *   bind:       open_tree(OPEN_TREE_CLONE) of the source, mount_setattr(), move_mount() (attributes.c has what older kernels do instead)
 *   filesystem: fsopen(), fsconfig() for each option, fsmount() with the attributes, move_mount()
 *   remount:    mount_setattr() on what is mounted there; fspick(), fsconfig() if there is something for the filesystem itself
 * fsconfig() takes values below 256 bytes (an overlay's lowerdir may be longer) and not every flag: then mount(2), onto /proc/self/fd/N.
 *
 * A read-only tmpfs becomes so only when all mounts are in place, since the mount points of later entries are made in it.
 *
 * A mount inside the container's procfs would make the runtime, and every program, believe false things of the kernel: refused,
 * but for the files that lxcfs and the like replace. The check is on the filesystem of the resolved target, not its path.
 *
 * procfs and sysfs are mounted on directories only, never behind a link of the image (CVE-2019-19921, CVE-2023-27561).
 *
 * linux.mountLabel is what SELinux calls all files of a new tmpfs, ramfs, devpts or overlay; the kernel labels those of procfs, sysfs and
 * mqueue itself, and a bind mount's have theirs. Whoever says "context" himself is left alone.
 *
 * sysfs may be refused (EPERM) to a container that does not own its network namespace; the host's is bound then, as all
 * runtimes do. */
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "rootfs/internal.h"

#define LOG_PREFIX "mount"
#include "base/log.h"

#ifndef FSCONFIG_VALUE_MAX
#define FSCONFIG_VALUE_MAX 255
#endif

static int set_propagation(int mount, const struct mount_plan *p, const struct spec_mount *m)
{
	int r = 0;

	if (p->propagation_rec)
		r = mount_set(mount, "", AT_EMPTY_PATH | AT_RECURSIVE, 0, 0, p->propagation_rec);
	if (r >= 0 && p->propagation)
		r = mount_set(mount, "", AT_EMPTY_PATH, 0, 0, p->propagation);
	return r < 0 ? fail(-r, "mount %s: set its propagation", m->destination) : 0;
}

static int attach(int tree, int target, const struct mount_plan *p, const struct spec_mount *m)
{
	int r = sys_move_mount(tree, target, "");

	return r < 0 ? fail(-r, "mount %s: attach it to the container's root", m->destination) : set_propagation(tree, p, m);
}

/* --- bind ------------------------------------------------------------------------------------------------------------ */

static int attach_bind(int tree, int target, const struct mount_plan *p, const struct spec_mount *m)
{
	autofree char *what = str_printf("mount %s", m->destination);
	int r = mount_attach(tree, target, p, what);

	return r < 0 ? r : set_propagation(tree, p, m);
}

/* A tree that was cloned in the host's mount namespace, where its mounts may be shared. */
static int leave_host(const struct rootfs *r, int tree, const struct spec_mount *m)
{
	uint64_t propagation = rootfs_propagation(r->spec);
	int done = propagation == MS_SHARED ? 0 : mount_set(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, 0, 0, propagation == MS_SLAVE ? MS_SLAVE : MS_PRIVATE);

	return done < 0 ? fail(-done, "mount %s: detach it from the host's", m->destination) : 0;
}

int rootfs_open_source(const struct spec *s, const struct spec_mount *m, const struct mount_plan *p)
{
	char source[PATH_MAX];

	if (!m->source)
		return fail_text(EINVAL, "mount %s: a bind mount needs a source", m->destination);
	snprintf(source, sizeof source, "%s%s%s", *m->source == '/' ? "" : s->bundle, *m->source == '/' ? "" : "/", m->source);
	int tree = sys_open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | (p->recursive ? AT_RECURSIVE : 0));
	return tree < 0 ? fail(-tree, "mount %s: bind source %s", m->destination, source) : tree;
}

/* What a bind leaves unsaid stays as the source's mount has it, so only "rw", "suid" … that were written are cleared. */
static int bind(struct rootfs *r, const struct spec_mount *m, const struct mount_plan *p)
{
	struct stat st;
	int *prepared = r->trees && r->trees[m - r->spec->mounts] >= 0 ? &r->trees[m - r->spec->mounts] : NULL;
	autoclose int tree = prepared ? take_fd(prepared) : rootfs_open_source(r->spec, m, p);
	if (tree < 0)
		return tree;
	if (fstat(tree, &st) < 0)
		return fail(errno, "mount %s: bind source %s", m->destination, m->source);
	autoclose int target = S_ISDIR(st.st_mode) ? rootfs_directory(r->root, m->destination) : rootfs_file(r->root, m->destination);
	if (target < 0)
		return fail_text(-target, "mount %s", m->destination);
	int done = attach_bind(tree, target, p, m);
	return done < 0 || !prepared ? done : leave_host(r, tree, m);
}

/* --- a new filesystem ------------------------------------------------------------------------------------------------ */

/* The filesystem's own words on what it did not like, if it has any: lines "e tmpfs: Bad value for 'size'". */
static void explain(int fs, char out[256])
{
	ssize_t n = read(fs, out, 255);

	if (n <= 0) {
		*out = 0;
		return;
	}
	out[n] = 0;
	out[strcspn(out, "\n")] = 0;
	if (out[0] == 'e' && out[1] == ' ')
		memmove(out, out + 2, strlen(out + 2) + 1);
}

static int configure(int fs, const char *word, const char *destination)
{
	char key[64], why[256];
	const char *value = strchr(word, '=');
	int r;

	snprintf(key, sizeof key, "%.*s", (int)(value ? value - word : (long)strlen(word)), word);
	if (value)
		r = sys_fsconfig(fs, FSCONFIG_SET_STRING, key, value + 1);
	else
		r = sys_fsconfig(fs, FSCONFIG_SET_FLAG, key, NULL);
	if (r >= 0)
		return 0;
	explain(fs, why);
	return *why ? fail(-r, "mount %s: option \"%s\": %s", destination, word, why) : fail(-r, "mount %s: option \"%s\"", destination, word);
}

int rootfs_new_fs(const char *type, const char *source, const struct mount_plan *p, const char *destination)
{
	char why[256];
	autoclose int fs = sys_fsopen(type);
	if (fs < 0)
		return fs == -ENODEV ? fail_text(ENODEV, "mount %s: this kernel has no filesystem \"%s\"", destination, type)
				     : fail(-fs, "mount %s: filesystem %s", destination, type);
	int r = sys_fsconfig(fs, FSCONFIG_SET_STRING, "source", source ? source : type);
	if (r < 0)
		return fail(-r, "mount %s: source %s", destination, source);
	for (size_t i = 0; i < p->n_data; i++) {
		r = configure(fs, p->data[i], destination);
		if (r < 0)
			return r;
	}
	r = sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL);
	int mount = r < 0 ? r : sys_fsmount(fs, (unsigned)(p->set | p->set_rec));
	if (mount >= 0)
		return mount;
	explain(fs, why);
	return *why ? fail(-mount, "mount %s: filesystem %s: %s", destination, type, why)
		    : fail(-mount, "mount %s: filesystem %s", destination, type);
}

static bool needs_classic(const struct mount_plan *p)
{
	for (size_t i = 0; i < p->n_data; i++)
		if (strlen(p->data[i]) >= FSCONFIG_VALUE_MAX)
			return true;
	return p->classic;
}

/* What is mounted at the destination now: mount(2) gives no descriptor. */
static int open_mounted(struct rootfs *r, const struct spec_mount *m)
{
	int fd = rootfs_open(r->root, m->destination, O_PATH);
	return fd < 0 ? fail(-fd, "mount %s: open it", m->destination) : fd;
}

/* mount(2)'s flags for the attributes; the words for the filesystem in one string. */
static int mount_classic(const struct spec_mount *m, const struct mount_plan *p, int target)
{
	char data[4096] = "";
	size_t at = 0;
	unsigned long set = p->flags | mount_classic_flags(p->set | p->set_rec);

	for (size_t i = 0; i < p->n_data; i++) {
		long flag = mount_option_flag(p->data[i]);
		if (flag >= 0) {
			set |= (unsigned long)flag;
			continue;
		}
		const char *context = str_starts(p->data[i], "context=") ? p->data[i] + strlen("context=") : NULL;   /* may have commas */
		at += (size_t)snprintf(data + at, sizeof data - at, context ? "%scontext=\"%s\"" : "%s%s", at ? "," : "", context ? context : p->data[i]);
		if (at >= sizeof data)
			return fail_text(E2BIG, "mount %s: its options are longer than a page", m->destination);
	}
	if (syscall(SYS_mount, m->source ? m->source : m->type, FD_PATH(target), m->type, set, data) < 0)
		return fail(errno, "mount %s: filesystem %s", m->destination, m->type);
	return 0;
}

static int new_classic(struct rootfs *r, const struct spec_mount *m, const struct mount_plan *p, int target)
{
	int done = p->copy_up ? fail_text(EINVAL, "mount %s: the option \"tmpcopyup\" does not go with iversion, silent or very long options",
					m->destination)
			      : mount_classic(m, p, target);
	if (done < 0 || !(p->propagation | p->propagation_rec))
		return done;
	autoclose int mount = open_mounted(r, m);
	return mount < 0 ? mount : set_propagation(mount, p, m);
}

static int bind_sysfs(int target, const struct mount_plan *p, const struct spec_mount *m)
{
	autoclose int tree = sys_open_tree(AT_FDCWD, "/sys", OPEN_TREE_CLONE | AT_RECURSIVE);
	if (tree < 0)
		return fail(-tree, "mount %s: bind /sys", m->destination);
	return attach_bind(tree, target, p, m);
}

/* Writable until everything is in it. */
static bool take_read_only(struct mount_plan *p)
{
	bool was = (p->set | p->set_rec) & MOUNT_ATTR_RDONLY;

	p->set &= ~(uint64_t)MOUNT_ATTR_RDONLY;
	p->set_rec &= ~(uint64_t)MOUNT_ATTR_RDONLY;
	return was;
}

/* Masks and read-only paths name files of procfs and sysfs by the path that the configuration has: what is at it must not depend on a
 * link, which somebody could change in between. */
static int mount_point(struct rootfs *r, const struct spec_mount *m)
{
	autoclose int fd = rootfs_directory(r->root, m->destination);
	if (fd < 0)
		return fd;
	if (strcmp(m->type, "proc") != 0 && strcmp(m->type, "sysfs") != 0)
		return take_fd(&fd);
	int direct = rootfs_open_direct(r->root, m->destination, O_PATH | O_DIRECTORY);
	if (direct == -ELOOP)
		return fail_text(ELOOP, "the image has a link in this path, %s is mounted on a directory only", m->type);
	return direct < 0 ? fail(-direct, "open it") : direct;
}

static int add_label(const struct spec *s, const struct spec_mount *m, struct mount_plan *p, char **word)
{
	static const char *const types[] = { "tmpfs", "ramfs", "devpts", "overlay" };
	bool labelled = false;

	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		labelled |= strcmp(m->type, types[i]) == 0;
	for (size_t i = 0; i < p->n_data; i++)
		labelled &= !str_starts(p->data[i], "context=");
	if (!labelled || !s->mount_label || !*s->mount_label)
		return 0;
	if (p->n_data == sizeof p->data / sizeof *p->data)
		return fail_text(E2BIG, "mount %s: no room for linux.mountLabel beside %zu options", m->destination, p->n_data);
	p->data[p->n_data++] = *word = str_printf("context=%s", s->mount_label);
	return 0;
}

static int filesystem(struct rootfs *r, const struct spec_mount *m, struct mount_plan *p)
{
	size_t mark = err_mark();
	autofree char *label = NULL;
	if (add_label(r->spec, m, p, &label) < 0)
		return -E2BIG;
	autoclose int target = mount_point(r, m);
	if (target < 0)
		return fail_text(-target, "mount %s", m->destination);
	if (needs_classic(p))
		return new_classic(r, m, p, target);
	bool later = strcmp(m->type, "tmpfs") == 0 && take_read_only(p);
	autoclose int mount = rootfs_new_fs(m->type, m->source, p, m->destination);
	if (mount == -EPERM && strcmp(m->type, "sysfs") == 0) {
		err_rewind(mark);
		log_debug("sysfs is refused, the host's /sys is bound");
		return bind_sysfs(target, p, m);
	}
	if (mount < 0)
		return mount;
	int done = p->copy_up ? rootfs_copy_up(target, mount, p, m->destination) : 0;
	if (done >= 0)
		done = attach(mount, target, p, m);
	if (done >= 0 && later)
		array_push(&r->read_only_later) = take_fd(&mount);
	return done;
}

/* --- a mount that is there already ------------------------------------------------------------------------------------- */

static int reconfigure(int mount, const struct spec_mount *m, const struct mount_plan *p)
{
	char why[256];
	autoclose int fs = sys_fspick(mount);
	if (fs < 0)
		return fail(-fs, "mount %s: remount: it is no mount", m->destination);
	for (size_t i = 0; i < p->n_data; i++) {
		int r = configure(fs, p->data[i], m->destination);
		if (r < 0)
			return r;
	}
	int r = sys_fsconfig(fs, FSCONFIG_CMD_RECONFIGURE, NULL, NULL);
	if (r >= 0)
		return 0;
	explain(fs, why);
	return fail(-r, "mount %s: remount%s%s", m->destination, *why ? ": " : "", why);
}

static int remount(struct rootfs *r, const struct spec_mount *m, const struct mount_plan *p)
{
	autoclose int mount = open_mounted(r, m);
	if (mount < 0)
		return mount;
	autofree char *what = str_printf("mount %s", m->destination);
	int done = p->n_data ? reconfigure(mount, m, p) : 0;
	if (done >= 0)
		done = mount_set_options(mount, p, what);
	return done < 0 ? done : set_propagation(mount, p, m);
}

/* --- both ------------------------------------------------------------------------------------------------------------ */

bool rootfs_may_cover(const char *path)
{
	static const char *const files[] = { "cpuinfo", "diskstats", "loadavg", "meminfo", "slabinfo", "stat", "swaps", "uptime",
		"sys/kernel/ns_last_pid", "sys/crypto/fips_enabled" };

	for (size_t i = 0; str_starts(path, "/proc/") && i < sizeof files / sizeof *files; i++)
		if (strcmp(path + strlen("/proc/"), files[i]) == 0)
			return true;
	return false;
}

static int check_target(const struct rootfs *r, const struct spec_mount *m)
{
	char clean[PATH_MAX], name[NAME_MAX + 1];
	struct statfs st;

	rootfs_clean(clean, m->destination);
	if (strcmp(clean, "/") == 0)
		return fail_text(EINVAL, "mount %s: nothing can be mounted on the container's root itself", m->destination);
	size_t mark = err_mark();
	autoclose int above = rootfs_parent(r->root, clean, name);
	if (above < 0) {   /* said again, and better, by what makes the target */
		err_rewind(mark);
		return 0;
	}
	if (fstatfs(above, &st) < 0 || st.f_type != PROC_SUPER_MAGIC || rootfs_may_cover(clean))
		return 0;
	return fail_text(EPERM, "mount %s: it is inside the container's procfs, where only a few files may be covered", m->destination);
}

int rootfs_mount(struct rootfs *r, const struct spec_mount *m)
{
	struct mount_plan p;
	int done = mount_plan_read(m, &p);

	if (done >= 0 && p.remount)
		return remount(r, m, &p);
	if (done >= 0)
		done = check_target(r, m);
	if (done < 0)
		return done;
	if (p.bind)
		return bind(r, m, &p);
	if (!m->type || strcmp(m->type, "none") == 0)
		return fail_text(EINVAL, "mount %s: has no type and is no bind mount", m->destination);
	if (strcmp(m->type, "cgroup") == 0 || strcmp(m->type, "cgroup2") == 0)
		return rootfs_mount_cgroup(r, m, &p);
	return filesystem(r, m, &p);
}
