/* SPDX-License-Identifier: Apache-2.0 */
/* Names of unix sockets, and binding to them (in the builder).
 *
 * bind(2) makes the file, and fails if the name is there. What the dumped socket left is removed first; for a socket whose name
 * was gone or taken by another file, the other file is moved aside and back. */
#include "sockets/unix_bind.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/str.h"
#include "sockets/socket.h"

bool unix_named(const UnixSkEntry *u)
{
	return u->name.len > 0;
}

bool unix_by_path(const UnixSkEntry *u)
{
	return unix_named(u) && u->name.data[0];
}

int unix_address(const FileEntry *e, struct sockaddr_un *a, socklen_t *size)
{
	const UnixSkEntry *u = e->usk;

	if (u->name.len > sizeof a->sun_path)
		return fail_text(EBADMSG, ENTRY_FMT ": a name of %zu bytes", ENTRY_ARG(e), u->name.len);
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(a->sun_path, u->name.data, u->name.len);
	*size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + u->name.len);
	return 0;
}

static int bind_address(const FileEntry *e, int fd, const struct sockaddr_un *a, socklen_t size)
{
	const char *name = a->sun_path;

	if (bind(fd, (const struct sockaddr *)a, size) >= 0)
		return 0;
	return fail(errno, ENTRY_FMT ": bind it to %s%.*s", ENTRY_ARG(e), name[0] ? "" : "@", (int)(sizeof a->sun_path - !name[0]),
		    name[0] ? name : name + 1);
}

static int set_perms(const FileEntry *e, const char *path)
{
	const FilePermsEntry *p = e->usk->file_perms;

	if (!p)
		return 0;
	if (chmod(path, p->mode & 07777) < 0 || lchown(path, p->uid, p->gid) < 0)
		return fail(errno, ENTRY_FMT ": set owner and mode of %s", ENTRY_ARG(e), path);
	return 0;
}

/* The name belongs to nobody, or to what the dumped socket left. */
static int bind_here(const FileEntry *e, int fd, const struct sockaddr_un *a, socklen_t size, const char *path)
{
	struct stat st;

	if (lstat(path, &st) == 0) {
		if (!S_ISSOCK(st.st_mode))
			return fail_text(EEXIST, ENTRY_FMT ": %s, which it was bound to, is not a socket any more", ENTRY_ARG(e), path);
		if (unlink(path) < 0)
			return fail(errno, ENTRY_FMT ": remove the old %s", ENTRY_ARG(e), path);
	}
	int r = bind_address(e, fd, a, size);
	return r < 0 ? r : set_perms(e, path);
}

/* The name was gone: it is only lent for the moment. */
static int bind_and_remove(const FileEntry *e, int fd, const struct sockaddr_un *a, socklen_t size, const char *path)
{
	char aside[sizeof a->sun_path + 32];
	bool moved = false;

	snprintf(aside, sizeof aside, "%s.torpor-%u", path, e->id);
	if (rename(path, aside) == 0)
		moved = true;
	else if (errno != ENOENT)
		return fail(errno, ENTRY_FMT ": move %s aside", ENTRY_ARG(e), path);
	int r = bind_address(e, fd, a, size);
	if (r >= 0)
		r = set_perms(e, path);
	if (moved ? rename(aside, path) < 0 : r >= 0 && unlink(path) < 0)
		return r < 0 ? r : fail(errno, ENTRY_FMT ": put %s back", ENTRY_ARG(e), path);
	return r;
}

int unix_bind(const FileEntry *e, int fd, bool gone)
{
	const UnixSkEntry *u = e->usk;
	struct sockaddr_un a;
	char path[sizeof a.sun_path + 1];
	socklen_t size;

	if (!unix_named(u))
		return 0;
	int r = unix_address(e, &a, &size);
	if (r < 0 || !unix_by_path(u))
		return r < 0 ? r : bind_address(e, fd, &a, size);
	snprintf(path, sizeof path, "%.*s", (int)u->name.len, (const char *)u->name.data);
	if (chdir(u->name_dir && u->name_dir[0] ? u->name_dir : "/") < 0)
		return fail(errno, ENTRY_FMT ": change to %s, which its name is relative to", ENTRY_ARG(e), u->name_dir);
	return gone ? bind_and_remove(e, fd, &a, size, path) : bind_here(e, fd, &a, size, path);
}
