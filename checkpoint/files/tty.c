/* SPDX-License-Identifier: Apache-2.0 */
/* Terminals: pseudo terminals (pty(7)), the name /dev/tty, and terminals that the caller answers for.
 *
 * The image has three things: of each open file a tty_file and the path it was opened by (a reg_file), and of each end of a terminal a
 * tty_info: settings, window, whose session it belongs to. Ends are told by their number: twice the pty's, plus one for a master. What is
 * on its way is in tty-data.img (tty_queue.c). Both ends in the tree are the simple case (script, tmux, sshd). A slave whose master is
 * somebody else's is
 *
 *   the terminal of a container        its session's leader is in the tree: the restore makes a new one, and its master is for the caller
 *   a job of a shell (--shell-job)     the leader is outside: the terminal of who restores takes its place
 *   external (--external tty[…])       given back at restore by --inherit-fd
 *
 * Kernel facts relied on:
 * - Settings and window of a pair can be asked for at either end. TIOCGPTN has the number of a master, st_rdev that of a slave. Each devpts
 *   has numbers of its own; a master belongs to the one beside its ptmx.
 * - /proc/PID/stat of every member tells the session's terminal and its foreground group, as device number and in the host's numbering.
 * - A slave whose master was closed is hung up: every ioctl gives EIO, its name is gone. It is restored like that.
 * - c_cc is stored as CRIU does: its bytes one after the other in the first words of the list.
 *
 * Not handled: other terminals (consoles, serial lines) unless external; who has given its controlling terminal up (TIOCNOTTY) without leaving the
 * session has it again; a session whose terminal is open nowhere in the tree loses it, with a word in the log; a master whose slave was never
 * opened behaves as if it had been and was closed. */
#define LOG_PREFIX "tty"
#include "files/tty.h"

#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/proc.h"
#include "base/str.h"
#include "files/reg.h"

#define SLAVE_MAJOR 136
#define SLAVE_MAJOR_END 143
#define OTHER_IDS (1u << 20)           /* of what has no number, or one that is taken */

struct tty {
	struct tty *next;
	TtyInfoEntry *info;
	dev_t devpts;                      /* 0: not known */
	unsigned index;                    /* of the pty */
	enum { MASTER, SLAVE, CURRENT, EXTERNAL } role;
	bool hung;
	int fd;                            /* a duplicate, until the dump ends */
	struct task *task;                 /* where it was first seen */
	int number;
	char *link;
};

static bool is_slave(dev_t dev)
{
	return major(dev) >= SLAVE_MAJOR && major(dev) <= SLAVE_MAJOR_END;
}

static bool is_terminal(dev_t dev)
{
	return is_slave(dev) || dev == makedev(5, 2) || dev == makedev(5, 0);
}

static char *external_key(struct dump *d, const struct stat *st)
{
	return arena_printf(d->arena, "tty[%llx:%llx]", (unsigned long long)st->st_rdev, (unsigned long long)st->st_dev);
}

static bool tty_match(const struct file_info *f)
{
	return S_ISCHR(f->st.st_mode) && (is_terminal(f->st.st_rdev) || (f->fd >= 0 && isatty(f->local)));
}

static unsigned slave_index(dev_t dev)
{
	return (major(dev) - SLAVE_MAJOR) * 256 + minor(dev);
}

/* --- one end --- */

static TermiosEntry *settings(struct dump *d, const struct termios2 *t)
{
	TermiosEntry *e = ARENA_MESSAGE(d->arena, TermiosEntry, TERMIOS_ENTRY__INIT);

	e->c_iflag = t->c_iflag;
	e->c_oflag = t->c_oflag;
	e->c_cflag = t->c_cflag;
	e->c_lflag = t->c_lflag;
	e->c_line = t->c_line;
	e->c_ispeed = t->c_ispeed;
	e->c_ospeed = t->c_ospeed;
	e->n_c_cc = sizeof t->c_cc;
	e->c_cc = arena_array(d->arena, uint32_t, e->n_c_cc);
	memset(e->c_cc, 0, e->n_c_cc * sizeof *e->c_cc);
	memcpy(e->c_cc, t->c_cc, sizeof t->c_cc);
	return e;
}

static int ask_settings(struct dump *d, const struct file_info *f, struct tty *t)
{
	struct termios2 now, locked = { 0 };
	struct termios locks = { 0 };
	struct winsize size;

	if (ioctl(f->local, TCGETS2, &now) < 0) {
		t->hung = errno == EIO;
		return t->hung ? 0 : fail(errno, FILE_FMT ": ask for its settings", FILE_ARG(f));
	}
	if (ioctl(f->local, TIOCGLCKTRMIOS, &locks) < 0 || ioctl(f->local, TIOCGWINSZ, &size) < 0)
		return fail(errno, FILE_FMT ": ask for its locks and window", FILE_ARG(f));
	memcpy(&locked, &locks, sizeof locks);
	t->info->termios = settings(d, &now);
	t->info->termios_locked = settings(d, &locked);
	t->info->winsize = ARENA_MESSAGE(d->arena, WinsizeEntry, WINSIZE_ENTRY__INIT);
	t->info->winsize->ws_row = size.ws_row;
	t->info->winsize->ws_col = size.ws_col;
	t->info->winsize->ws_xpixel = size.ws_xpixel;
	t->info->winsize->ws_ypixel = size.ws_ypixel;
	return 0;
}

static int ask_modes(const struct file_info *f, struct tty *t)
{
	int exclusive = 0, locked = 0, packets = 0;

	if (t->hung)
		return 0;
	if (ioctl(f->local, TIOCGEXCL, &exclusive) < 0)
		return fail(errno, FILE_FMT ": ask whether it is exclusive", FILE_ARG(f));
	if (t->role == MASTER && (ioctl(f->local, TIOCGPTLCK, &locked) < 0 || ioctl(f->local, TIOCGPKT, &packets) < 0))
		return fail(errno, FILE_FMT ": ask for its lock and packet mode", FILE_ARG(f));
	t->info->exclusive = exclusive;
	t->info->locked = locked;
	t->info->packet_mode = packets;
	return 0;
}

/* The devpts that belongs to a ptmx: its own, or the one beside it. */
static dev_t devpts_of(const struct dump *d, const struct file_info *f)
{
	struct statfs fs;
	struct stat st;
	const char *slash = strrchr(f->link, '/');

	if (fstatfs(f->local, &fs) == 0 && (uint32_t)fs.f_type == DEVPTS_SUPER_MAGIC)
		return f->st.st_dev;
	autofree char *path = str_printf("%.*s/pts", slash ? (int)(slash - f->link) : 0, f->link);
	return file_stat_path(d, path, &st) < 0 ? 0 : st.st_dev;
}

static int identify(struct dump *d, const struct file_info *f, struct tty *t)
{
	unsigned device = 0;

	t->task = f->task;
	t->number = f->fd;
	t->link = arena_str(d->arena, f->link);
	t->role = f->st.st_rdev == makedev(5, 2) ? MASTER : f->st.st_rdev == makedev(5, 0) ? CURRENT : is_slave(f->st.st_rdev) ? SLAVE : EXTERNAL;
	if (file_listed(d, external_key(d, &f->st)))
		t->role = EXTERNAL;
	switch (t->role) {
	case MASTER:
		t->devpts = devpts_of(d, f);
		return ioctl(f->local, TIOCGPTN, &t->index) < 0 ? fail(errno, FILE_FMT ": ask for its number", FILE_ARG(f)) : 0;
	case CURRENT:   /* new_encode_dev() */
		if (ioctl(f->local, TIOCGDEV, &device) < 0 || !is_slave(makedev((device >> 8) & 0xfff, 0)))
			return fail_text(ENOTSUP, FILE_FMT ": it is a terminal other than a pseudo terminal, which is not supported", FILE_ARG(f));
		t->index = slave_index(makedev((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xfff00)));
		return 0;
	case SLAVE:
		t->devpts = f->st.st_dev;
		t->index = slave_index(f->st.st_rdev);
		return 0;
	case EXTERNAL:
		break;
	}
	if (file_listed(d, external_key(d, &f->st)))
		return 0;
	fail_text(ENOTSUP, FILE_FMT ": it is a terminal other than a pseudo terminal, which is not supported", FILE_ARG(f));
	fail_hint("name it with --external '%s' and give one back at restore with --inherit-fd 'fd[N]:%s'", external_key(d, &f->st),
		  external_key(d, &f->st));
	return -ENOTSUP;
}

static uint32_t free_id(const struct tty *all, const struct tty *t)
{
	uint32_t id = t->role == MASTER || (t->role == SLAVE && !t->hung) ? t->index * 2 + (t->role == MASTER) : OTHER_IDS;

	for (const struct tty *o = all; o; o = o->next)
		if (o->info->id == id) {
			id = id < OTHER_IDS ? OTHER_IDS : id + 1;
			o = all;
		}
	for (const struct tty *o = all; o; o = o->next)
		if (o->info->id == id)
			id++;
	return id;
}

static void close_all(void *arg)
{
	for (struct tty *t = *(struct tty **)arg; t; t = t->next)
		fd_close(&t->fd);
}

static int tty_new(struct dump *d, const struct file_info *f, struct tty *t)
{
	static const TtyType types[] = { [MASTER] = TTY_TYPE__PTY, [SLAVE] = TTY_TYPE__PTY, [CURRENT] = TTY_TYPE__CTTY, [EXTERNAL] = TTY_TYPE__EXT_TTY };
	struct tty **all = (struct tty **)file_state(d, STATE_TTY);
	TtyInfoEntry *info = t->info = ARENA_MESSAGE(d->arena, TtyInfoEntry, TTY_INFO_ENTRY__INIT);
	int r = t->role == EXTERNAL ? 0 : ask_settings(d, f, t);

	if (r >= 0 && t->role != EXTERNAL)
		r = ask_modes(f, t);
	if (r < 0)
		return r;
	info->type = types[t->role];
	info->id = free_id(*all, t);
	info->rdev = (uint32_t)f->st.st_rdev;
	info->has_dev = info->has_uid = info->has_gid = true;
	info->dev = (uint32_t)f->st.st_dev;
	info->uid = f->st.st_uid;
	info->gid = f->st.st_gid;
	if (t->role != EXTERNAL) {
		info->pty = ARENA_MESSAGE(d->arena, TtyPtyEntry, TTY_PTY_ENTRY__INIT);
		info->pty->index = t->index;
	}
	t->fd = fcntl(f->local, F_DUPFD_CLOEXEC, 0);
	if (t->fd < 0)
		return fail(errno, FILE_FMT ": duplicate it", FILE_ARG(f));
	if (!*all)
		file_at_end(d, close_all, all);
	t->next = *all;
	*all = t;
	return 0;
}

static struct tty *tty_known(struct dump *d, const struct tty *t)
{
	for (struct tty *o = *file_state(d, STATE_TTY); o; o = o->next)
		if (o->role == t->role && o->index == t->index && o->devpts == t->devpts && !o->hung && o->role != EXTERNAL)
			return o;
	return NULL;
}

/* A name that is gone is kept without the kernel's suffix. */
static int dump_path(struct dump *d, const struct file_info *f, const struct tty *t, FileEntry *e)
{
	struct file_info plain = *f;

	if (!t->hung && t->role != EXTERNAL)
		return reg_dump_path(d, f, e);
	RegFileEntry *reg = e->reg = ARENA_MESSAGE(d->arena, RegFileEntry, REG_FILE_ENTRY__INIT);
	char *name = arena_str(d->arena, f->link);
	if (str_ends(name, " (deleted)"))
		name[strlen(name) - strlen(" (deleted)")] = 0;
	reg->id = e->id;
	reg->flags = f->flags;
	reg->name = name;
	reg->has_mode = true;
	reg->mode = f->st.st_mode;
	return file_fown(d, &plain, &reg->fown);
}

int tty_dump(struct dump *d, const struct file_info *f, FileEntry *e)
{
	struct tty probe = { .fd = -1 }, *t;
	int r = identify(d, f, &probe);

	if (r < 0)
		return r;
	t = tty_known(d, &probe);
	if (!t) {
		t = arena_new(d->arena, struct tty);
		*t = probe;
		r = tty_new(d, f, t);
	}
	if (r < 0)
		return r;
	FileEntry *path = file_add_entry(d, FD_TYPES__REG);
	e->tty = ARENA_MESSAGE(d->arena, TtyFileEntry, TTY_FILE_ENTRY__INIT);
	e->tty->id = e->id;
	e->tty->tty_info_id = t->info->id;
	e->tty->flags = f->flags;
	e->tty->has_regf_id = true;
	e->tty->regf_id = path->id;
	r = file_fown(d, f, &e->tty->fown);
	return r < 0 ? r : dump_path(d, f, t, path);
}

/* --- when all are known --- */

/* As /proc/PID/stat has the terminal's device. */
static int stat_number(const struct tty *t)
{
	unsigned device_major = SLAVE_MAJOR + t->index / 256, device_minor = t->index % 256;

	return (int)(device_major << 8 | device_minor);
}

static uint32_t virtual_group(const struct dump *d, pid_t group)
{
	for (size_t i = 0; i < d->tree->tasks.n; i++) {
		const struct task *t = d->tree->tasks.data[i];
		if (t->stat && t->stat->pgrp == group)
			return (uint32_t)t->pgid;
	}
	return 0;
}

/* 1: the leader of its session is in the tree, 0: it has no session here, 2: the leader is outside. */
static int find_session(const struct dump *d, struct tty *t)
{
	for (size_t i = 0; i < d->tree->tasks.n; i++) {
		const struct task *k = d->tree->tasks.data[i];
		if (k->state == TASK_DEAD || !k->stat || k->stat->tty_nr != stat_number(t))
			continue;
		t->info->sid = (uint32_t)k->sid;
		t->info->pgrp = virtual_group(d, k->stat->tpgid);
		return tree_find(d->tree, k->sid) ? 1 : 2;
	}
	return 0;
}

static const struct tty *other_end(struct dump *d, const struct tty *t)
{
	for (const struct tty *o = *file_state(d, STATE_TTY); o; o = o->next)
		if (o->index == t->index && o->role == (t->role == MASTER ? SLAVE : MASTER) && !o->hung &&
		    (o->devpts == t->devpts || !o->devpts || !t->devpts))
			return o;
	return NULL;
}

static int from_outside(struct dump *d, const struct tty *t, int session)
{
	const struct file_info f = { .task = t->task, .fd = t->number, .link = t->link };
	struct stat st = { .st_rdev = t->info->rdev, .st_dev = t->info->dev };

	if (session == 1 || d->o->shell_job || (d->own_mnt_ns && session == 0))
		return 0;
	if (session == 2)
		fail_text(ENOTSUP, FILE_FMT ": the terminal belongs to session %u, whose leader is outside the tree", FILE_ARG(&f), t->info->sid);
	else
		fail_text(ENOTSUP, FILE_FMT ": the other end of the terminal is outside the tree", FILE_ARG(&f));
	fail_hint("a job of a shell can be saved with --shell-job; or name the terminal with --external '%s'", external_key(d, &st));
	return -ENOTSUP;
}

static int slave_outside(const struct tty *t)
{
	const struct file_info f = { .task = t->task, .fd = t->number, .link = t->link };
	pid_t sid = 0;

	if (ioctl(t->fd, TIOCGSID, &sid) < 0 || sid <= 0)
		return 0;
	return fail_text(ENOTSUP, FILE_FMT ": the other end of the terminal belongs to session %d, which is not in the tree", FILE_ARG(&f), sid);
}

static int dump_data(struct dump *d, struct tty *t)
{
	TtyDataEntry e = TTY_DATA_ENTRY__INIT;
	struct image *i;
	void *data;
	int r = t->role == MASTER ? tty_output_peek(d->arena, t->fd, &data, &e.data.len) : tty_input_peek(d->arena, t->fd, &data, &e.data.len);

	if (r < 0 || !e.data.len)
		return r;
	e.tty_id = t->info->id;
	e.data.data = data;
	r = dump_image(d, IMG_TTY_DATA, &i);
	return r < 0 ? r : image_write(i, &e);
}

static int end_one(struct dump *d, struct tty *t)
{
	int session = find_session(d, t), r = 0;
	const struct tty *other = other_end(d, t);

	if (t->role == MASTER && !other && !session)
		r = slave_outside(t);
	else if (t->role == SLAVE && !other)
		r = from_outside(d, t, session);
	else if (t->role == CURRENT && session == 2 && !d->o->shell_job)
		r = from_outside(d, t, session);
	/* what is typed into the terminal of a shell is the shell's as well */
	return r < 0 || t->role == CURRENT || session == 2 || (t->role == SLAVE && !other && !session) ? r : dump_data(d, t);
}

static bool open_here(struct dump *d, int tty_nr)
{
	for (const struct tty *t = *file_state(d, STATE_TTY); t; t = t->next)
		if (t->role != EXTERNAL && !t->hung && stat_number(t) == tty_nr)
			return true;
	return false;
}

static void warn_invisible(struct dump *d)
{
	for (size_t i = 0; i < d->tree->tasks.n; i++) {
		const struct task *t = d->tree->tasks.data[i];
		if (t->state != TASK_DEAD && t->stat && t->stat->tty_nr && t->pid == t->sid && !open_here(d, t->stat->tty_nr))
			log_warn("the controlling terminal of session %d is open nowhere in the tree: it will have none after a restore", t->sid);
	}
}

int tty_dump_end(struct dump *d)
{
	struct image *i;
	int r = 0;

	for (struct tty *t = *file_state(d, STATE_TTY); t && r >= 0; t = t->next) {
		if (t->role != EXTERNAL && !t->hung)
			r = end_one(d, t);
		if (r >= 0)
			r = dump_image(d, IMG_TTY_INFO, &i);
		if (r >= 0)
			r = image_write(i, t->info);
	}
	warn_invisible(d);
	return r;
}

const struct file_kind tty_kind = {
	.name = "terminal",
	.type = FD_TYPES__TTY,
	.match = tty_match,
	.dump = tty_dump,
	.dump_end = tty_dump_end,
	.open = tty_open,
	.finish = tty_finish,
};
