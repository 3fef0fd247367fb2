/* SPDX-License-Identifier: Apache-2.0 */
/* The terminal of a container's process.
 *
 * The pty is made inside the container: by the process itself, in the container's own devpts. So its name means something there (ttyname),
 * the container sees no terminal of the host's, and a restart of the runtime's caller does not take it away. The other end goes to
 * the runtime over the channel, and from there to who asked for the container: a --console-socket (one SCM_RIGHTS message whose bytes are
 * a name, as runc sends it) or, in the foreground, the command itself.
 *
 *   1. /dev/ptmx is opened by two steps, since an image, or for exec a process of the container, decides what is at this path: as a
 *      mere path first, and for use only when it is the character device 5:2 or a ptmx of a devpts.
 *   2. The process's end comes from TIOCGPTPEER (4.13), not by name, and must be on a devpts: another file at /dev/pts/N cannot
 *      get between (CVE-2025-52565 and its like).
 *   3. For init the same file is bound over /dev/console, by descriptor; before the container's root becomes read-only.
 *   4. The process leads a session of its own (setsid() was the first it did), and the pty becomes its controlling terminal.
 *
 *   5. For a restored container all of this but 4, with the number it had: the engine gives it to the tasks.
 *
 * Not handled: a container whose /dev has no ptmx and no devpts (an error says so). */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "init/internal.h"
#include "rootfs/rootfs.h"

static int open_multiplexer(const struct init *i, int root)
{
	struct stat st;
	autoclose int path = rootfs_open(root, "/dev/ptmx", O_PATH);

	if (path < 0) {
		int r = fail(-path, "process.terminal: open /dev/ptmx in the container");
		fail_hint("a terminal needs a mount of type devpts at /dev/pts");
		return r;
	}
	if (fstat(path, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(5, 2))
		return fail_text(EPERM, "process.terminal: /dev/ptmx in the container is not the pty multiplexer");
	autofree char *name = str_printf("self/fd/%d", path);
	int fd = openat(i->proc, name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	return fd < 0 ? fail(errno, "process.terminal: open /dev/ptmx in the container") : fd;
}

/* A restored program knows its terminal by the number; the lowest free one comes first. */
static int open_numbered(const struct init *i, int root)
{
	ARRAY(int) others = { 0 };
	int fd, number = -1;

	for (;;) {
		fd = open_multiplexer(i, root);
		if (fd < 0 || !i->restore || i->terminal < 0)
			break;
		if (ioctl(fd, TIOCGPTN, &number) < 0 || number >= i->terminal)
			break;
		array_push(&others) = fd;
	}
	for (size_t k = 0; k < others.n; k++)
		close(others.data[k]);
	array_free(&others);
	if (fd >= 0 && i->restore && i->terminal >= 0 && number != i->terminal) {
		close(fd);
		return fail_text(EBUSY, "process.terminal: /dev/pts/%d, which the container had, is in use", i->terminal);
	}
	return fd;
}

static int open_pty(int master)
{
	struct statfs fs;
	int unlock = 0;

	if (ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return fail(errno, "process.terminal: unlock the pty");
	autoclose int fd = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return fail(errno, "process.terminal: open the pty");
	if (fstatfs(fd, &fs) < 0 || fs.f_type != DEVPTS_SUPER_MAGIC)
		return fail_text(EPERM, "process.terminal: the pty is not on a devpts");
	return take_fd(&fd);
}

static int set_size(const struct spec_process *p, int fd)
{
	const struct winsize size = { .ws_row = (unsigned short)p->console_height, .ws_col = (unsigned short)p->console_width };

	return p->has_console_size && ioctl(fd, TIOCSWINSZ, &size) < 0 ? fail(errno, "process.consoleSize: set it") : 0;
}

static int take_on(int pty)
{
	for (int fd = 0; fd < 3; fd++)
		if (dup2(pty, fd) < 0)
			return fail(errno, "process.terminal: make it descriptor %d", fd);
	return ioctl(0, TIOCSCTTY, 0) < 0 ? fail(errno, "process.terminal: make it the controlling terminal") : 0;
}

int console_open(const struct init *i, int root)
{
	autoclose int master = open_numbered(i, root);
	if (master < 0)
		return master;
	autoclose int pty = open_pty(master);
	if (pty < 0)
		return pty;
	int r = set_size(i->process, pty);
	if (r >= 0 && i->target < 0)
		r = rootfs_bind(root, "/dev/console", pty);
	if (r >= 0)
		r = channel_send_console(i->sock, master);
	return r < 0 || i->restore ? r : take_on(pty);
}

/* --- the runtime's side */

int console_check(bool terminal, const char *socket, const int *here)
{
	if (!socket)
		return terminal && !here ? fail_text(EINVAL, "cannot allocate tty if torpor will detach without setting console socket") : 0;
	return terminal && !here ? 0 : fail_text(EINVAL, "cannot use console socket if torpor will not detach or allocate tty");
}

void console_size(struct spec_process *p, unsigned short rows, unsigned short columns)
{
	if (!rows || !columns)
		return;
	p->has_console_size = true;
	p->console_height = rows;
	p->console_width = columns;
}

int console_connect(const char *socket)
{
	int fd = connect_to(socket, "--console-socket");

	return fd < 0 ? fail(-fd, "--console-socket: connect to %s", socket) : fd;
}

/* The receiver takes the bytes for the pty's name. */
int console_hand_over(int sock, int master)
{
	char name[] = "/dev/ptmx";
	int r = channel_send_fd(sock, name, sizeof name - 1, master);

	return r < 0 ? fail(-r, "--console-socket: send the console") : 0;
}
