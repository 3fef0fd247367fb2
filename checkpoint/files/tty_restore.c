/* SPDX-License-Identifier: Apache-2.0 */
/* Terminals, in the builder: tty.c tells what the images have.
 *
 * Each pseudo terminal is made once, with the number it had, when the first of its ends is opened; the slave's settings, window, owner and what
 * was on its way are put back when all are open (tty_finish). A pair whose master is in no descriptor of the tree is the container's
 * terminal: the caller has made it and has given its master (CK_TERMINAL_KEY), or takes it when it is made
 * (orphan_pts_master), or there is no one to give it to, which is an error.
 *
 * Kernel facts relied on:
 * - Opening a ptmx gives the lowest free number of its devpts: those below are taken, and given back.
 * - A session gets its terminal by a call of its leader, before the leader's children are born (they inherit it); the engine does that
 *   (build.c). /dev/tty can be opened by members of the session only, and stands for their terminal from then on. So the builder, before
 *   the session has it, makes itself the leader of one that has, opens /dev/tty, and gives the terminal up (TIOCNOTTY); its signals are
 *   blocked.
 * - A slave open when its master is closed is hung up; a master whose last slave was closed reads EIO: both are made by doing it. */
#define LOG_PREFIX "tty"
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "files/builder_state.h"
#include "files/reg.h"
#include "files/tty.h"

#define INDEX_MAX 4096                 /* the kernel's default limit of ptys */

struct pair {
	struct pair *next;
	unsigned index;
	const TtyInfoEntry *master_info, *info;   /* of the ends; either may be NULL */
	int master, peer;              /* peer: a slave of our own; both until the builder ends */
	bool master_used, settled;
	bool orphan;                   /* nobody has the master yet */
};

struct terminals {
	struct {
		TtyInfoEntry **data;
		size_t n;
	} infos;
	struct {
		TtyDataEntry **data;
		size_t n;
	} data;
	struct pair *pairs;
	bool leads;                    /* the builder leads a session */
};

static int load_list(struct restore *r, enum image_kind kind, void **messages, size_t *n)
{
	auto_image struct image *i = NULL;
	ARRAY(void *) list = { 0 };
	void *e;
	int ret = image_open(r->images, kind, 0, &i);

	while (ret >= 0 && (ret = image_read(i, r->arena, &e)) > 0)
		array_push(&list) = e;
	*n = list.n;
	*messages = arena_dup(r->arena, list.data, list.n * sizeof *list.data);
	array_free(&list);
	return ret;
}

static int load(struct restore *r, struct terminals *all)
{
	void *infos, *data = NULL;
	int ret = load_list(r, IMG_TTY_INFO, &infos, &all->infos.n);

	if (ret >= 0)
		ret = load_list(r, IMG_TTY_DATA, &data, &all->data.n);
	all->infos.data = infos;
	all->data.data = data;
	return ret == -ENOENT ? 0 : ret;
}

static int terminals(struct restore *r, struct terminals **out)
{
	struct terminals **at = (struct terminals **)file_restore_state(r, STATE_TTY);
	int ret = 0;

	if (!*at) {
		*at = arena_new(r->arena, struct terminals);
		ret = load(r, *at);
	}
	*out = *at;
	return ret;
}

static const TtyInfoEntry *find_info(const struct terminals *all, uint32_t id)
{
	for (size_t i = 0; i < all->infos.n; i++)
		if (all->infos.data[i]->id == id)
			return all->infos.data[i];
	return NULL;
}

static bool is_master(const TtyInfoEntry *e)
{
	return e->rdev == makedev(5, 2);
}

/* Consoles and what CRIU has without a number: none of a pair. */
static bool in_pair(const TtyInfoEntry *e)
{
	return e->pty && (e->type == TTY_TYPE__PTY || e->type == TTY_TYPE__CTTY);
}

/* --- a pair --- */

static int open_numbered(unsigned index)
{
	ARRAY(int) spare = { 0 };
	int fd, ret = -EBUSY;
	unsigned got;

	for (unsigned n = 0; n < INDEX_MAX; n++) {
		fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
		if (fd < 0 || ioctl(fd, TIOCGPTN, &got) < 0) {
			ret = fail(errno, "open /dev/ptmx for terminal %u", index);
			fd_close(&fd);
			break;
		}
		if (got == index) {
			ret = fd;
			break;
		}
		array_push(&spare) = fd;
		if (got > index) {
			ret = fail_text(EBUSY, "the terminal /dev/pts/%u is in use: the tree cannot get it back", index);
			fail_hint("restore in a mount namespace with a devpts of its own (a container)");
			break;
		}
	}
	for (size_t i = 0; i < spare.n; i++)
		close(spare.data[i]);
	array_free(&spare);
	return ret;
}

/* The container's terminal: the caller has the other end already. */
static int given_master(struct restore *r, unsigned index)
{
	autoclose int fd = file_inherited(r, CK_TERMINAL_KEY);
	unsigned number;

	if (fd == -ENOENT) {
		fail_text(ENOTSUP, "the other end of the terminal /dev/pts/%u was outside the tree: somebody must take the new one", index);
		fail_hint("restore it as a container with a terminal, or with --shell-job if it was a job of a shell");
		return -ENOTSUP;
	}
	if (fd >= 0 && (ioctl(fd, TIOCGPTN, &number) < 0 || number != index))
		return fail_text(EINVAL, "the container's new terminal is not /dev/pts/%u, which it had", index);
	return take_fd(&fd);
}

/* Whose master was outside the tree. */
static int outside_master(struct restore *r, struct pair *p)
{
	p->orphan = r->o->orphan_pts_master && r->o->actions;
	return p->orphan ? open_numbered(p->index) : given_master(r, p->index);
}

static int pair_make(struct restore *r, struct terminals *all, struct pair *p, bool anywhere)
{
	int unlock = 0;

	for (size_t i = 0; i < all->infos.n; i++) {
		const TtyInfoEntry *e = all->infos.data[i];
		if (!in_pair(e) || e->pty->index != p->index || e->type != TTY_TYPE__PTY || (!is_master(e) && !e->termios))
			continue;
		*(is_master(e) ? &p->master_info : &p->info) = e;
	}
	p->master = anywhere ? open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC) :
		    p->master_info ? open_numbered(p->index) : outside_master(r, p);
	if (p->master < 0)
		return anywhere ? fail(errno, "open /dev/ptmx") : p->master;
	if (ioctl(p->master, TIOCSPTLCK, &unlock) < 0)
		return fail(errno, "unlock terminal %u", p->index);
	p->peer = ioctl(p->master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	return p->peer < 0 ? fail(errno, "open the slave of terminal %u", p->index) : 0;
}

static int pair_get(struct restore *r, struct terminals *all, unsigned index, struct pair **out)
{
	struct pair *p;

	for (p = all->pairs; p && p->index != index; p = p->next)
		;
	*out = p;
	if (p)
		return 0;
	p = arena_new(r->arena, struct pair);
	*p = (struct pair){ .index = index, .master = -1, .peer = -1 };
	int ret = pair_make(r, all, p, false);
	if (ret < 0)
		return ret;
	p->next = all->pairs;
	all->pairs = *out = p;
	return 0;
}

/* --- settings --- */

static int set_termios(int fd, const TermiosEntry *e)
{
	struct termios2 t = { .c_iflag = e->c_iflag, .c_oflag = e->c_oflag, .c_cflag = e->c_cflag, .c_lflag = e->c_lflag, .c_line = (cc_t)e->c_line,
			      .c_ispeed = e->c_ispeed, .c_ospeed = e->c_ospeed };
	size_t size = e->n_c_cc * sizeof *e->c_cc;

	memcpy(t.c_cc, e->c_cc, size < sizeof t.c_cc ? size : sizeof t.c_cc);
	return ioctl(fd, TCSETS2, &t) < 0 ? -errno : 0;
}

static int set_locks(int fd, const TermiosEntry *e)
{
	struct termios t = { .c_iflag = e->c_iflag, .c_oflag = e->c_oflag, .c_cflag = e->c_cflag, .c_lflag = e->c_lflag };
	size_t size = e->n_c_cc * sizeof *e->c_cc;

	memcpy(t.c_cc, e->c_cc, size < sizeof t.c_cc ? size : sizeof t.c_cc);
	if (!(t.c_iflag | t.c_oflag | t.c_cflag | t.c_lflag) && !memcmp(t.c_cc, (cc_t[NCCS]){ 0 }, NCCS))
		return 0;
	return ioctl(fd, TIOCSLCKTRMIOS, &t) < 0 ? -errno : 0;
}

static int set_window(int fd, const WinsizeEntry *e)
{
	const struct winsize size = { .ws_row = (unsigned short)e->ws_row, .ws_col = (unsigned short)e->ws_col,
				      .ws_xpixel = (unsigned short)e->ws_xpixel, .ws_ypixel = (unsigned short)e->ws_ypixel };

	return ioctl(fd, TIOCSWINSZ, &size) < 0 ? -errno : 0;
}

static const TtyDataEntry *data_of(const struct terminals *all, const TtyInfoEntry *info)
{
	for (size_t i = 0; info && i < all->data.n; i++)
		if (all->data.data[i]->tty_id == info->id)
			return all->data.data[i];
	return NULL;
}

/* Lines stay whole if they are put in when the mode is set. */
static int pair_fill(const struct terminals *all, const struct pair *p)
{
	const TtyDataEntry *in = data_of(all, p->info), *out = data_of(all, p->master_info);
	int ret = in ? tty_input_put(p->peer, in->data.data, in->data.len) : 0;

	return ret < 0 || !out ? ret : tty_output_put(p->peer, out->data.data, out->data.len);
}

static int set_owner(const struct pair *p)
{
	if (p->info && p->info->has_uid && p->info->has_gid && fchown(p->peer, p->info->uid, p->info->gid) < 0)
		return fail(errno, "give terminal %u its owner", p->index);
	return 0;
}

static int pair_settle(const struct terminals *all, struct pair *p)
{
	const TtyInfoEntry *e = p->info ? p->info : p->master_info, *m = p->master_info;
	int ret = e && e->termios ? set_termios(p->peer, e->termios) : 0, on = 1;

	p->settled = true;
	if (ret >= 0 && e && e->winsize)
		ret = set_window(p->peer, e->winsize);
	if (ret >= 0 && m && m->packet_mode)
		ret = ioctl(p->master, TIOCPKT, &on) < 0 ? -errno : 0;
	if (ret < 0)
		return fail(-ret, "set up terminal %u", p->index);
	ret = set_owner(p);
	if (ret >= 0)
		ret = pair_fill(all, p);
	if (ret < 0)
		return ret;
	if (e && e->termios_locked)
		ret = set_locks(p->peer, e->termios_locked);
	if (ret >= 0 && e && e->exclusive)
		ret = ioctl(p->peer, TIOCEXCL) < 0 ? -errno : 0;
	if (ret >= 0 && m && m->locked)
		ret = ioctl(p->master, TIOCSPTLCK, &on) < 0 ? -errno : 0;
	return ret < 0 ? fail(-ret, "set up terminal %u", p->index) : 0;
}

/* --- files --- */

static const RegFileEntry *path_of(const struct restore *r, const FileEntry *e)
{
	const FileEntry *path = file_entry(r, FD_TYPES__REG, e->tty->has_regf_id ? e->tty->regf_id : e->id);

	return path ? path->reg : NULL;
}

static int with_flags(const FileEntry *e, int fd)
{
	autoclose int owned = fd;
	int ret = file_set_flags(e, owned, e->tty->flags);

	return ret < 0 ? ret : take_fd(&owned);
}

/* The terminal of who restores: a job of a shell goes on there. */
static int open_own(struct restore *r, const FileEntry *e, const TtyInfoEntry *info)
{
	if (r->builder->terminal < 0) {
		fail_text(ENOTTY, ENTRY_FMT ": the job was on its shell's terminal, and there is none here", ENTRY_ARG(e));
		fail_hint("restore it from a terminal");
		return -ENOTTY;
	}
	int fd = file_reopen(r, r->builder->terminal, (e->tty->flags & O_ACCMODE) | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return fail(-fd, ENTRY_FMT ": open the terminal of this session", ENTRY_ARG(e));
	if (info->termios)
		set_termios(fd, info->termios);   /* as the job wants it; if it cannot be, the job will see */
	return with_flags(e, fd);
}

/* The session's leader was in the tree, or nobody's. */
static bool of_outside(const struct restore *r, const TtyInfoEntry *info)
{
	return r->o->shell_job && info->sid && !tree_find(r->tree, (pid_t)info->sid);
}

static int open_hung(struct restore *r, const FileEntry *e)
{
	struct pair p = { .master = -1, .peer = -1 };
	int ret = pair_make(r, &(struct terminals){ .pairs = NULL }, &p, true);

	fd_close(&p.master);
	return ret < 0 ? ret : with_flags(e, p.peer);
}

/* By the name it had, so that it has it again. */
static int open_slave(struct restore *r, const FileEntry *e, const TtyInfoEntry *info, const struct pair *p)
{
	const RegFileEntry *path = path_of(r, e);
	struct stat st, own;

	if (!path || path->name[0] != '/')
		return fail_text(EBADMSG, ENTRY_FMT ": its path is missing", ENTRY_ARG(e));
	if (fstat(p->peer, &own) < 0)
		return fail(errno, "fstat terminal %u", p->index);
	if (info->has_uid && path->has_mode && fchmod(p->peer, path->mode & 07777) < 0)
		return fail(errno, "give terminal %u its mode", p->index);
	autoclose int fd = open(path->name, (int)((e->tty->flags & O_ACCMODE) | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
	if (fd < 0 || fstat(fd, &st) < 0)
		return fail(errno, "open the terminal %s", path->name);
	if (st.st_dev != own.st_dev || st.st_ino != own.st_ino)
		return fail_text(EINVAL, "%s is not the terminal %u that was made for it", path->name, p->index);
	return with_flags(e, take_fd(&fd));
}

static int open_current(struct restore *r, struct terminals *all, const FileEntry *e, const struct pair *p)
{
	const RegFileEntry *path = path_of(r, e);

	if (!all->leads && setsid() < 0)
		return fail(errno, "lead a session to open /dev/tty");
	all->leads = true;
	if (ioctl(p->peer, TIOCSCTTY, 0) < 0)
		return fail(errno, "take terminal %u to open /dev/tty", p->index);
	int fd = open(path ? path->name : "/dev/tty", (int)((e->tty->flags & O_ACCMODE) | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
	int err = errno;
	if (ioctl(p->peer, TIOCNOTTY) < 0 && fd >= 0) {
		err = errno;
		fd_close(&fd);
	}
	return fd < 0 ? fail(err, "open %s for terminal %u", path ? path->name : "/dev/tty", p->index) : with_flags(e, fd);
}

static int open_external(struct restore *r, const FileEntry *e, const TtyInfoEntry *info)
{
	char key[64];

	snprintf(key, sizeof key, "tty[%x:%x]", info->rdev, info->has_dev ? info->dev : 0);
	int fd = file_inherited(r, key);
	if (fd != -ENOENT)
		return fd < 0 ? fd : with_flags(e, fd);
	fail_text(ENOENT, ENTRY_FMT ": the terminal was outside the tree and must come from the caller", ENTRY_ARG(e));
	fail_hint("restore with --inherit-fd 'fd[N]:%s'", key);
	return -ENOENT;
}

static unsigned index_of(const struct terminals *all, const TtyInfoEntry *info)
{
	for (size_t i = 0; !info->pty && i < all->infos.n; i++)   /* CRIU's /dev/tty has a session only */
		if (all->infos.data[i]->pty && all->infos.data[i]->sid == info->sid)
			return all->infos.data[i]->pty->index;
	return info->pty ? info->pty->index : 0;
}

static int open_pty(struct restore *r, struct terminals *all, const FileEntry *e, const TtyInfoEntry *info)
{
	struct pair *p;
	int ret = pair_get(r, all, index_of(all, info), &p);

	if (ret < 0)
		return ret;
	if (info->type == TTY_TYPE__CTTY)
		return open_current(r, all, e, p);
	if (!is_master(info))
		return open_slave(r, e, info, p);
	if (p->master_used)
		return fail_text(EBADMSG, ENTRY_FMT ": the master of terminal %u is open twice", ENTRY_ARG(e), p->index);
	p->master_used = true;
	int fd = fcntl(p->master, F_DUPFD_CLOEXEC, 0);
	return fd < 0 ? fail(errno, ENTRY_FMT ": duplicate it", ENTRY_ARG(e)) : with_flags(e, fd);
}

int tty_open(struct restore *r, const FileEntry *e)
{
	struct terminals *all;
	int ret = terminals(r, &all);

	if (ret < 0)
		return ret;
	const TtyInfoEntry *info = find_info(all, e->tty->tty_info_id);
	if (!info)
		return fail_text(EBADMSG, ENTRY_FMT ": terminal %u is not in tty-info.img", ENTRY_ARG(e), e->tty->tty_info_id);
	if (info->type == TTY_TYPE__EXT_TTY)
		return open_external(r, e, info);
	if (info->type != TTY_TYPE__PTY && info->type != TTY_TYPE__CTTY)
		return fail_text(ENOTSUP, ENTRY_FMT ": a terminal of type %d, which is not supported", ENTRY_ARG(e), (int)info->type);
	if (info->type == TTY_TYPE__PTY && (!info->pty || info->pty->index >= INDEX_MAX))
		return fail_text(EBADMSG, "tty-info.img: terminal %u has no valid number", info->id);
	if (info->type == TTY_TYPE__PTY && !info->termios)
		return open_hung(r, e);
	return of_outside(r, info) ? open_own(r, e, info) : open_pty(r, all, e, info);
}

int tty_finish(struct restore *r, const FileEntry *e, int fd)
{
	struct terminals *all;
	int ret = terminals(r, &all);

	(void)e;
	(void)fd;
	for (struct pair *p = ret < 0 ? NULL : all->pairs; p && ret >= 0; p = p->next)
		if (!p->settled)
			ret = pair_settle(all, p);
	return ret;
}

int tty_of_session(struct restore *r, pid_t sid)
{
	struct terminals *all;
	const TtyInfoEntry *found = NULL;
	struct pair *p;
	int ret = terminals(r, &all);

	for (size_t i = 0; ret >= 0 && i < all->infos.n; i++)
		if ((pid_t)all->infos.data[i]->sid == sid && in_pair(all->infos.data[i]) && all->infos.data[i]->termios)
			found = all->infos.data[i];
	if (ret < 0 || !found)
		return ret < 0 ? ret : -ENOENT;
	for (size_t i = 0; i < r->builder->n && ret >= 0; i++) {
		const FileEntry *e = r->builder->slots[i].entry;
		const TtyInfoEntry *info = e->type == FD_TYPES__TTY ? find_info(all, e->tty->tty_info_id) : NULL;
		if (info && info->type == TTY_TYPE__CTTY && (pid_t)info->sid == sid)
			ret = builder_need(r, e->id);
	}
	if (ret >= 0)
		ret = pair_get(r, all, found->pty->index, &p);
	return ret < 0 ? ret : p->peer;
}

int builder_foreground(struct restore *r, pid_t sid)
{
	struct terminals *all;
	int ret = terminals(r, &all);

	for (size_t i = 0; ret >= 0 && i < all->infos.n; i++)
		if ((pid_t)all->infos.data[i]->sid == sid && all->infos.data[i]->pgrp)
			return (int)all->infos.data[i]->pgrp;
	return ret < 0 ? ret : 0;
}

static const TtyInfoEntry *master_of(const struct terminals *all, unsigned index)
{
	for (size_t i = 0; i < all->infos.n; i++)
		if (in_pair(all->infos.data[i]) && is_master(all->infos.data[i]) && all->infos.data[i]->pty->index == index)
			return all->infos.data[i];
	return NULL;
}

int tty_orphan_master(struct restore *r, uint32_t number)
{
	struct terminals *all;
	int ret = terminals(r, &all);

	if (ret < 0)
		return ret;
	for (const struct pair *p = all->pairs; p; p = p->next)
		if (p->orphan && !number--)
			return p->master;
	return -ENOENT;
}

int files_orphan_terminal(struct restore *r, int *index)
{
	struct terminals all = { .pairs = NULL };
	int ret = load(r, &all);

	*index = -1;
	for (size_t i = 0; i < all.infos.n && ret >= 0; i++) {
		const TtyInfoEntry *e = all.infos.data[i];
		bool outside = e->sid && !tree_find(r->tree, (pid_t)e->sid);
		if (in_pair(e) && e->termios && !is_master(e) && !outside && !master_of(&all, e->pty->index))
			*index = (int)e->pty->index;
	}
	return ret < 0 ? ret : 0;
}
