/* SPDX-License-Identifier: Apache-2.0 */
/* What is on its way in a terminal: typed and not read, printed and not fetched by who holds the other end.
 *
 * Kernel facts relied on (ioctl_tty(2), drivers/tty/n_tty.c):
 * - A terminal cannot be peeked into: what is read is gone, so it is put back at once. Between the two lie some microseconds in which a
 *   killed engine would lose it. What waits in a line that is not complete yet can be read only when the terminal is not in canonical mode.
 * - TIOCSTI puts a byte into a terminal's input as if typed, at once, whoever holds the other end (CAP_SYS_ADMIN); with no special
 *   characters and flags it goes in as it is. Changes of the settings that leave ICANON alone leave the queue alone.
 * - Output waits in the other end's line discipline (4 KiB) and behind it in a buffer that a kernel thread moves on; poll(2) waits for
 *   that thread. Writing it back needs a descriptor of the slave without OPOST.
 *
 * Not handled: an end-of-file character that waits among lines becomes a NUL; output that is stopped (^S) is left out, with a word in
 * the log, and goes on after a restore. */
#define LOG_PREFIX "tty"
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "files/tty.h"

#define INPUT_MAX 4096
#define OUTPUT_MAX (256u << 10)

int tty_input_put(int slave, const void *data, size_t size)
{
	const char *at = data;
	struct termios2 was, plain;

	if (!size)
		return 0;
	if (ioctl(slave, TCGETS2, &was) < 0)
		return fail(errno, "ask for the settings of a terminal");
	plain = was;
	plain.c_iflag = 0;
	plain.c_lflag &= ICANON | EXTPROC | IEXTEN;
	memset(plain.c_cc, 0, sizeof plain.c_cc);
	plain.c_cc[VEOL] = was.c_cc[VEOL];
	plain.c_cc[VEOL2] = was.c_cc[VEOL2];
	if (ioctl(slave, TCSETS2, &plain) < 0)
		return fail(errno, "prepare a terminal for its input");
	int r = 0;
	for (size_t i = 0; i < size && r >= 0; i++)
		if (ioctl(slave, TIOCSTI, &at[i]) < 0)
			r = fail(errno, "put input into a terminal (TIOCSTI)");
	return ioctl(slave, TCSETS2, &was) < 0 && r >= 0 ? fail(errno, "put the settings of a terminal back") : r;
}

int tty_input_peek(struct arena *arena, int slave, void **data, size_t *size)
{
	struct termios2 was, raw;
	char *text = arena_array(arena, char, INPUT_MAX);
	ssize_t n;

	*size = 0;
	*data = text;
	if (ioctl(slave, TCGETS2, &was) < 0)
		return fail(errno, "ask for the settings of a terminal");
	raw = was;
	raw.c_lflag &= ~(tcflag_t)ICANON;
	raw.c_cc[VMIN] = raw.c_cc[VTIME] = 0;
	if (ioctl(slave, TCSETS2, &raw) < 0)
		return fail(errno, "prepare a terminal to look at its input");
	while (*size < INPUT_MAX && (n = read(slave, text + *size, INPUT_MAX - *size)) > 0)
		*size += (size_t)n;
	if (ioctl(slave, TCSETS2, &was) < 0)
		return fail(errno, "put the settings of a terminal back");
	return tty_input_put(slave, text, *size);
}

int tty_output_put(int slave, const void *data, size_t size)
{
	struct termios2 was, plain;

	if (!size)
		return 0;
	autoclose int fd = open(FD_PATH(slave), O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	int at = fd >= 0 ? fd : slave;
	if (ioctl(at, TCGETS2, &was) < 0)
		return fail(errno, "ask for the settings of a terminal");
	plain = was;
	plain.c_oflag &= ~(tcflag_t)OPOST;
	if (ioctl(at, TCSETS2, &plain) < 0)
		return fail(errno, "prepare a terminal for its output");
	int r = fd_write_all(at, data, size);
	if (ioctl(at, TCSETS2, &was) < 0 && r >= 0)
		r = -errno;
	return r < 0 ? fail(-r, "put %zu bytes of output into a terminal", size) : 0;
}

/* Whole as far as the terminal holds it. */
static int read_output(int master, char *text, size_t *size)
{
	for (;;) {
		struct pollfd p = { .fd = master, .events = POLLIN };
		int n = 0;
		if (poll(&p, 1, 0) < 0 || ioctl(master, FIONREAD, &n) < 0)
			return fail(errno, "ask how much a terminal has printed");
		if (n <= 0 || *size == OUTPUT_MAX)
			return 0;
		size_t most = OUTPUT_MAX - *size;
		ssize_t got = read(master, text + *size, (size_t)n < most ? (size_t)n : most);
		if (got <= 0)
			return 0;
		*size += (size_t)got;
	}
}

static int output_peek(struct arena *arena, int master, int peer, void **data, size_t *size)
{
	struct pollfd p = { .fd = peer, .events = POLLOUT };
	int packets = 0, off = 0;

	if (poll(&p, 1, 0) < 0 || !(p.revents & POLLOUT)) {
		log_warn("a terminal's output is stopped: what it has printed and nobody has fetched is not saved");
		return 0;
	}
	if (ioctl(master, TIOCGPKT, &packets) < 0 || (packets && ioctl(master, TIOCPKT, &off) < 0))
		return fail(errno, "prepare a terminal to look at its output");
	char *text = arena_array(arena, char, OUTPUT_MAX);
	*data = text;
	int r = read_output(master, text, size);
	if (packets && ioctl(master, TIOCPKT, &packets) < 0 && r >= 0)
		r = fail(errno, "put the packet mode of a terminal back");
	return r < 0 ? r : tty_output_put(peer, text, *size);
}

int tty_output_peek(struct arena *arena, int master, void **data, size_t *size)
{
	struct pollfd p = { .fd = master, .events = POLLIN };

	*size = 0;
	*data = NULL;
	if (poll(&p, 1, 0) < 0 || !(p.revents & POLLIN))
		return 0;
	autoclose int peer = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	return peer < 0 ? 0 : output_peek(arena, master, peer, data, size);
}
