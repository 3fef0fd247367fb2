/* SPDX-License-Identifier: Apache-2.0 */
/* Open files whose name is gone while they have another one that nobody knows (--link-remap).
 *
 * Dump: the file gets a further name, link_remap.ID beside the one it had (linkat() of the descriptor), an entry of its own for that name, and
 * one of remap-fpath.img (LINKED) which says that the file is to be opened by it. A dump that fails takes the names away again; those of a
 * checkpoint stay, whatever becomes of the tree: without them it could not be restored.
 *
 * Restore: the file gets the name that it had, if no other has it now, is opened by it, and loses it: so its path looks as it did. When all files
 * are open, link_remap.ID goes as well; the checkpoint cannot be restored again then. */
#define LOG_PREFIX "files"
#include "files/link_remap.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "files/ghost.h"

/* --- dump --- */

struct named {
	struct named *next;
	dev_t dev;
	ino_t ino;
	uint32_t id;           /* of the entry with the further name */
	char *path;            /* the tree's */
};

struct link_remaps {
	struct dump *d;
	struct named *all;
};

static int tree_dir(const struct dump *d)
{
	return d->own_mnt_ns ? d->root_fd : AT_FDCWD;
}

static const char *below_root(const struct dump *d, const char *path)
{
	return d->own_mnt_ns ? path + strspn(path, "/") : path;
}

static void end(void *arg)
{
	const struct link_remaps *s = arg;

	for (const struct named *n = s->all; n && s->d->failed; n = n->next)
		if (unlinkat(tree_dir(s->d), below_root(s->d, n->path), 0) < 0)
			log_warn("take away %s, which the dump made: %s", n->path, strerror(errno));
}

static struct link_remaps *state(struct dump *d)
{
	struct link_remaps **at = (struct link_remaps **)file_state(d, STATE_LINK_REMAP);

	if (!*at) {
		*at = arena_new(d->arena, struct link_remaps);
		(*at)->d = d;
		file_at_end(d, end, *at);
	}
	return *at;
}

/* Beside the name that the file had. */
static int give_name(struct dump *d, const struct file_info *f, const char *gone, struct named *n)
{
	const char *slash = strrchr(gone, '/');

	n->path = arena_printf(d->arena, "%.*s/link_remap.%u", slash ? (int)(slash - gone) : 0, gone, n->id);
	if (linkat(AT_FDCWD, FD_PATH(f->local), tree_dir(d), below_root(d, n->path), AT_SYMLINK_FOLLOW) < 0)
		return fail(errno, FILE_FMT ": give it the temporary name %s (--link-remap)", FILE_ARG(f), n->path);
	return 0;
}

static void describe(struct dump *d, const struct file_info *f, const struct named *n, FileEntry *e)
{
	RegFileEntry *reg = e->reg = ARENA_MESSAGE(d->arena, RegFileEntry, REG_FILE_ENTRY__INIT);

	reg->id = e->id;
	reg->name = n->path;
	reg->fown = ARENA_MESSAGE(d->arena, FownEntry, FOWN_ENTRY__INIT);
	reg->has_mode = reg->has_size = true;
	reg->mode = f->st.st_mode;
	reg->size = (uint64_t)f->st.st_size;
}

int link_remap_dump(struct dump *d, const struct file_info *f, const char *gone, uint32_t orig_id)
{
	struct link_remaps *s = state(d);
	struct named *n;

	for (n = s->all; n && (n->dev != f->st.st_dev || n->ino != f->st.st_ino); n = n->next)
		;
	if (!n) {
		FileEntry *entry = file_add_entry(d, FD_TYPES__REG);
		n = arena_new(d->arena, struct named);
		*n = (struct named){ .dev = f->st.st_dev, .ino = f->st.st_ino, .id = entry->id };
		int r = give_name(d, f, gone, n);
		if (r < 0)
			return r;
		describe(d, f, n, entry);
		n->next = s->all;
		s->all = n;
	}
	return remap_write(d, orig_id, n->id, REMAP_TYPE__LINKED);
}

/* --- restore --- */

static const RegFileEntry *remap_entry(struct restore *r, const RegFileEntry *e, uint32_t id)
{
	const FileEntry *named = file_entry(r, FD_TYPES__REG, id);

	if (named && named->reg->name[0] == '/')
		return named->reg;
	fail_text(EBADMSG, "file %s of the images is to be opened by the name of file %u, which is not in them", e->name, id);
	return NULL;
}

int link_remap_open(struct restore *r, const RegFileEntry *e, uint32_t id, uint32_t flags)
{
	const RegFileEntry *named = remap_entry(r, e, id);

	if (!named)
		return -EBADMSG;
	bool back = link(named->name, e->name) == 0;
	int fd = open(back ? e->name : named->name, (int)flags), err = errno;
	if (back)
		unlink(e->name);
	return fd < 0 ? fail(err, "open %s, the temporary name of %s", named->name, e->name) : fd;
}

int link_remap_finish(struct restore *r, const RegFileEntry *e, uint32_t id)
{
	const RegFileEntry *named = remap_entry(r, e, id);

	if (!named)
		return -EBADMSG;
	if (unlink(named->name) < 0 && errno != ENOENT)
		return fail(errno, "take away %s, the temporary name of %s", named->name, e->name);
	return 0;
}
