/* SPDX-License-Identifier: Apache-2.0 */
/* Kinds of filesystems that a container has beside its root: which of them can be made again from a type and options, their numbers in
 * the images, and how they are made.
 *
 * fsopen(), fsconfig() and fsmount() (Linux 5.2) make a mount that is attached nowhere. proc takes the pid namespace of who calls
 * fsopen(), sysfs the network namespace, mqueue the ipc namespace: that process must be in the container's. A network or block filesystem is
 * not made here: it comes from outside, by --external. */
#define LOG_PREFIX "mount"
#include "ns/fstype.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "mnt.pb-c.h"

#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif

static const struct {
	const char *name;
	Fstype type;
} fstypes[] = {
	{ "proc", FSTYPE__PROC }, { "sysfs", FSTYPE__SYSFS }, { "devtmpfs", FSTYPE__DEVTMPFS }, { "binfmt_misc", FSTYPE__BINFMT_MISC },
	{ "tmpfs", FSTYPE__TMPFS }, { "devpts", FSTYPE__DEVPTS }, { "pstore", FSTYPE__PSTORE }, { "securityfs", FSTYPE__SECURITYFS },
	{ "fusectl", FSTYPE__FUSECTL }, { "debugfs", FSTYPE__DEBUGFS }, { "cgroup", FSTYPE__CGROUP }, { "mqueue", FSTYPE__MQUEUE },
	{ "overlay", FSTYPE__OVERLAYFS }, { "tracefs", FSTYPE__TRACEFS }, { "cgroup2", FSTYPE__CGROUP2 },
};

uint32_t fstype_number(const char *name)
{
	for (size_t i = 0; i < sizeof fstypes / sizeof *fstypes; i++)
		if (!strcmp(fstypes[i].name, name))
			return fstypes[i].type;
	return FSTYPE__UNSUPPORTED;
}

const char *fstype_name(uint32_t number)
{
	for (size_t i = 0; i < sizeof fstypes / sizeof *fstypes; i++)
		if (fstypes[i].type == number)
			return fstypes[i].name;
	return NULL;
}

bool fstype_listed(const char *const *list, const char *name)
{
	for (; list && *list; list++)
		for (const char *at = *list; *at;) {
			size_t len = strcspn(at, ",");
			if ((strlen(name) == len && !strncmp(at, name, len)) || (len == 3 && !strncmp(at, "all", 3)))
				return true;
			at += len + (at[len] == ',');
		}
	return false;
}

struct flag_word {
	const char *word;
	uint32_t flag;
	uint64_t attribute;
};

static const struct flag_word mount_words[] = {
	{ "ro", MS_RDONLY, MOUNT_ATTR_RDONLY },          { "nosuid", MS_NOSUID, MOUNT_ATTR_NOSUID },
	{ "nodev", MS_NODEV, MOUNT_ATTR_NODEV },         { "noexec", MS_NOEXEC, MOUNT_ATTR_NOEXEC },
	{ "noatime", MS_NOATIME, MOUNT_ATTR_NOATIME },   { "nodiratime", MS_NODIRATIME, MOUNT_ATTR_NODIRATIME },
	{ "relatime", MS_RELATIME, 0 },                  { "nosymfollow", MS_NOSYMFOLLOW, MOUNT_ATTR_NOSYMFOLLOW },
	{ "", MS_STRICTATIME, MOUNT_ATTR_STRICTATIME },  { NULL },
};

static const struct flag_word superblock_words[] = {
	{ "ro", MS_RDONLY, 0 }, { "rw", 0, 0 }, { "sync", MS_SYNCHRONOUS, 0 }, { "dirsync", MS_DIRSYNC, 0 }, { "mand", MS_MANDLOCK, 0 },
	{ "lazytime", MS_LAZYTIME, 0 }, { NULL },
};

static const struct flag_word *find_word(const struct flag_word *words, const char *at, size_t len)
{
	for (; words->word; words++)
		if (strlen(words->word) == len && len && !strncmp(at, words->word, len))
			return words;
	return NULL;
}

static uint32_t flags_of(const struct flag_word *words, const char *options)
{
	uint32_t flags = 0;

	for (const char *at = options; *at;) {
		size_t len = strcspn(at, ",");
		const struct flag_word *w = find_word(words, at, len);
		flags |= w ? w->flag : 0;
		at += len + (at[len] == ',');
	}
	return flags;
}

uint32_t mount_flags(const char *options)
{
	uint32_t flags = flags_of(mount_words, options);

	return flags & (MS_NOATIME | MS_RELATIME) ? flags : flags | MS_STRICTATIME;
}

uint32_t superblock_flags(const char *options)
{
	return flags_of(superblock_words, options);
}

uint64_t mount_attributes(uint32_t flags)
{
	uint64_t attributes = 0;

	for (const struct flag_word *w = mount_words; w->word; w++)
		if (flags & w->flag && !(w->flag == MS_STRICTATIME && flags & (MS_NOATIME | MS_RELATIME)))
			attributes |= w->attribute;
	return attributes;
}

char *superblock_options(char *options)
{
	char *to = options;

	for (char *at = options; *at;) {
		size_t len = strcspn(at, ",");
		bool last = !at[len];
		if (!find_word(superblock_words, at, len)) {
			if (to != options)
				*to++ = ',';
			memmove(to, at, len);
			to += len;
		}
		at += len + !last;
	}
	*to = 0;
	return options;
}

/* --- making one --- */

/* The kernel's own words about the last failure, if it has any. */
static int failed(int fs, const char *name, const char *what)
{
	int err = errno;
	char message[256];
	ssize_t n = read(fs, message, sizeof message - 1);

	if (n <= 2)
		return fail(err, "mount a %s: %s", name, what);
	message[n] = 0;
	message[strcspn(message, "\n")] = 0;
	return fail(err, "mount a %s: %s: %s", name, what, message + 2);
}

static int set_option(int fs, const char *name, char *option)
{
	char *value = strchr(option, '=');
	int r;

	if (value)
		*value++ = 0;
	r = value ? fsconfig(fs, FSCONFIG_SET_STRING, option, value, 0) : fsconfig(fs, FSCONFIG_SET_FLAG, option, NULL, 0);
	return r < 0 ? failed(fs, name, option) : 0;
}

static int set_options(int fs, const char *name, const char *options)
{
	autofree char *copy = str_dup(options);
	char *save, *word = strtok_r(copy, ",", &save);
	bool named = !strcmp(name, "cgroup") && !strncmp(options, "name=", 5) && !strchr(options, ',');
	int r = named ? set_option(fs, name, (char[]){ "none" }) : 0;

	for (; word && r >= 0; word = strtok_r(NULL, ",", &save))
		r = set_option(fs, name, word);
	return r;
}

static int try_mount(const char *name, const char *source, const char *options, bool read_only)
{
	autoclose int fs = fsopen(name, FSOPEN_CLOEXEC);

	if (fs < 0)
		return fail(errno, "mount a %s", name);
	if (*source && fsconfig(fs, FSCONFIG_SET_STRING, "source", source, 0) < 0)
		return failed(fs, name, "source");
	int r = set_options(fs, name, options);
	if (r >= 0 && read_only && fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0) < 0)
		r = failed(fs, name, "ro");
	if (r < 0)
		return r;
	if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return errno == EBUSY && read_only ? -EBUSY : failed(fs, name, *options ? options : "without options");
	int mount = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	return mount < 0 ? failed(fs, name, "attach it") : mount;
}

/* Filesystems of which there is one for all (a network namespace's sysfs) may be mounted writable elsewhere: that stays. */
int fstype_mount(const char *name, const char *source, const char *options, bool read_only)
{
	int fd = try_mount(name, source, options, read_only);

	return fd == -EBUSY ? try_mount(name, source, options, false) : fd;
}
