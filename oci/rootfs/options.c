/* SPDX-License-Identifier: Apache-2.0 */
/* The options of a mount: one row each.
 *
 * Three kinds of thing hide behind one list of words: attributes of the mount (ro, nosuid, noatime; with an "r" in front for all
 * mounts below it too), its propagation, and what is meant for the filesystem. A word that is in no row goes to the filesystem as it
 * is; a bind mount has no filesystem to make, so there it is an error.
 *
 * "iversion" and "silent" are flags that only mount(2) takes; "noiversion" and "loud" are how every mount begins.
 *
 * The access-time modes are one field of the attributes, not bits: to set one, the whole field is cleared first. */
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "rootfs/internal.h"

#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif

#define BOTH(name, attr) { name, OPTION_ATTR, attr }, { "r" name, OPTION_ATTR_REC, attr }
#define BOTH_CLEAR(name, attr) { name, OPTION_CLEAR, attr }, { "r" name, OPTION_CLEAR_REC, attr }
#define PROPAGATION(name, value) { name, OPTION_PROPAGATION, value }, { "r" name, OPTION_PROPAGATION_REC, value }

const struct mount_option mount_options[] = {
	{ "defaults", OPTION_NONE, 0 },
	{ "bind", OPTION_BIND, 0 },
	{ "rbind", OPTION_BIND, 1 },
	BOTH("ro", MOUNT_ATTR_RDONLY),
	BOTH_CLEAR("rw", MOUNT_ATTR_RDONLY),
	BOTH("nosuid", MOUNT_ATTR_NOSUID),
	BOTH_CLEAR("suid", MOUNT_ATTR_NOSUID),
	BOTH("nodev", MOUNT_ATTR_NODEV),
	BOTH_CLEAR("dev", MOUNT_ATTR_NODEV),
	BOTH("noexec", MOUNT_ATTR_NOEXEC),
	BOTH_CLEAR("exec", MOUNT_ATTR_NOEXEC),
	BOTH("nodiratime", MOUNT_ATTR_NODIRATIME),
	BOTH_CLEAR("diratime", MOUNT_ATTR_NODIRATIME),
	BOTH("noatime", MOUNT_ATTR_NOATIME),
	BOTH("strictatime", MOUNT_ATTR_STRICTATIME),
	BOTH_CLEAR("relatime", MOUNT_ATTR__ATIME),
	BOTH_CLEAR("atime", MOUNT_ATTR__ATIME),
	BOTH_CLEAR("nostrictatime", MOUNT_ATTR__ATIME),
	BOTH_CLEAR("norelatime", MOUNT_ATTR__ATIME),
	BOTH("nosymfollow", MOUNT_ATTR_NOSYMFOLLOW),
	BOTH_CLEAR("symfollow", MOUNT_ATTR_NOSYMFOLLOW),
	PROPAGATION("private", MS_PRIVATE),
	PROPAGATION("shared", MS_SHARED),
	PROPAGATION("slave", MS_SLAVE),
	PROPAGATION("unbindable", MS_UNBINDABLE),
	{ "sync", OPTION_FS, MS_SYNCHRONOUS },
	{ "async", OPTION_FS, 0 },
	{ "dirsync", OPTION_FS, MS_DIRSYNC },
	{ "lazytime", OPTION_FS, MS_LAZYTIME },
	{ "nolazytime", OPTION_FS, 0 },
	{ "mand", OPTION_FS, MS_MANDLOCK },
	{ "nomand", OPTION_FS, 0 },
	{ "iversion", OPTION_CLASSIC, MS_I_VERSION },
	{ "noiversion", OPTION_NONE, 0 },
	{ "silent", OPTION_CLASSIC, MS_SILENT },
	{ "loud", OPTION_NONE, 0 },
	{ "remount", OPTION_REMOUNT, 0 },
	{ "tmpcopyup", OPTION_COPY_UP, 0 },
	{ "idmap", OPTION_IDMAP, 0 },
	{ "ridmap", OPTION_IDMAP, 1 },
	{ NULL, OPTION_NONE, 0 },
};

static const struct mount_option *find(const char *name)
{
	const struct mount_option *o = mount_options;
	while (o->name && strcmp(o->name, name) != 0)
		o++;
	return o->name ? o : NULL;
}

long mount_option_flag(const char *word)
{
	const struct mount_option *o = find(word);
	return o && o->kind == OPTION_FS ? (long)o->value : -ENOENT;
}

static void set(uint64_t *on, uint64_t *off, uint64_t value)
{
	if (value & MOUNT_ATTR__ATIME) {
		*on &= ~(uint64_t)MOUNT_ATTR__ATIME;
		*off |= MOUNT_ATTR__ATIME;
	} else {
		*off &= ~value;
	}
	*on |= value;
}

static void clear(uint64_t *on, uint64_t *off, uint64_t value)
{
	*on &= ~value;
	*off |= value;
}

static int to_filesystem(struct mount_plan *p, const struct spec_mount *m, const char *word)
{
	if (p->n_data == sizeof p->data / sizeof *p->data)
		return fail_text(E2BIG, "mount %s: more than %zu options", m->destination, p->n_data);
	p->data[p->n_data++] = word;
	return 0;
}

static int apply(struct mount_plan *p, const struct spec_mount *m, const char *word)
{
	const struct mount_option *o = find(word);

	if (!*word)   /* podman writes such */
		return 0;
	if (!o)
		return to_filesystem(p, m, word);
	bool below = o->kind == OPTION_ATTR_REC || o->kind == OPTION_CLEAR_REC;
	uint64_t *on = below ? &p->set_rec : &p->set, *off = below ? &p->clear_rec : &p->clear;
	switch (o->kind) {
	case OPTION_NONE:
		break;
	case OPTION_BIND:
		p->bind = true;
		p->recursive |= o->value != 0;
		break;
	case OPTION_ATTR:
	case OPTION_ATTR_REC:
		set(on, off, o->value);
		break;
	case OPTION_CLEAR:
	case OPTION_CLEAR_REC:
		clear(on, off, o->value);
		break;
	case OPTION_PROPAGATION:
		p->propagation = o->value;
		break;
	case OPTION_PROPAGATION_REC:
		p->propagation_rec = o->value;
		break;
	case OPTION_REMOUNT:
		p->remount = true;
		break;
	case OPTION_COPY_UP:
		p->copy_up = true;
		break;
	case OPTION_IDMAP:
		p->idmap = true;
		p->idmap_recursive |= o->value != 0;
		break;
	case OPTION_CLASSIC:
		p->classic = true;
		p->flags |= o->value;
		break;
	case OPTION_FS:
		return to_filesystem(p, m, word);
	}
	return 0;
}

int mount_plan_read(const struct spec_mount *m, struct mount_plan *p)
{
	int r = 0;

	*p = (struct mount_plan){ .bind = m->type && strcmp(m->type, "bind") == 0 };
	for (size_t i = 0; r >= 0 && i < m->options.n; i++)
		r = apply(p, m, m->options.data[i]);
	if (r < 0)
		return r;
	if (p->copy_up && (p->bind || p->remount || !m->type || strcmp(m->type, "tmpfs") != 0))
		return fail_text(EINVAL, "mount %s: the option \"tmpcopyup\" is for a new tmpfs only", m->destination);
	if ((p->bind || p->remount) && p->classic)
		return fail_text(EINVAL, "mount %s: the options \"iversion\" and \"silent\" are for a new filesystem only", m->destination);
	if (p->bind && p->n_data)
		return fail_text(EINVAL, "mount %s: the option \"%s\" means nothing to a bind mount", m->destination, p->data[0]);
	return r;
}
