/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pseudo terminals of which both ends are in the tree: a session that has one as its controlling terminal, with a foreground job; a
 * pair with unusual settings; one with data on its way in both directions; one whose other end is closed; one in packet mode; one whose
 * master is closed.
 *
 * With `plain` without what CRIU does not keep: an open /dev/tty, data on its way, the closed ends.
 */
#include "cr.h"

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>

static int open_master(void)
{
	int fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC), unlock = 0;

	need(fd >= 0 && ioctl(fd, TIOCSPTLCK, &unlock) == 0);
	return fd;
}

static int open_slave(int master)
{
	char path[32];
	unsigned index;

	need(ioctl(master, TIOCGPTN, &index) == 0);
	snprintf(path, sizeof(path), "/dev/pts/%u", index);
	int fd = open(path, O_RDWR | O_NOCTTY);
	need(fd >= 0);
	return fd;
}

static unsigned number(int master)
{
	unsigned index = ~0u;

	ioctl(master, TIOCGPTN, &index);
	return index;
}

/* All of it: what was written in pieces may come in pieces. */
static ssize_t read_all(int fd, char *to, size_t size)
{
	size_t n = 0;

	for (ssize_t r; n < size && (r = read(fd, to + n, size - n)) > 0; n += (size_t)r)
		;
	return (ssize_t)n;
}

/* --- a session: its leader, a job in the foreground, one in the background --- */

struct session {
	int master, slave, report[2], turn[2];
	bool held;   /* /dev/tty is open all the time */
};

static volatile sig_atomic_t interrupted;

static void interrupt(int sig)
{
	(void)sig;
	interrupted++;
}

static void say(struct session *s, char c)
{
	need(write(s->report[1], &c, 1) == 1);
}

/* A member of a group: 'i' for each SIGINT it gets, until the leader ends it. */
static void job(struct session *s, char name)
{
	sigset_t none, interrupts;

	sigemptyset(&none);
	sigemptyset(&interrupts);
	sigaddset(&interrupts, SIGINT);
	sigprocmask(SIG_BLOCK, &interrupts, NULL);
	signal(SIGINT, interrupt);
	say(s, name);
	for (;;) {
		sigsuspend(&none);
		if (interrupted) {
			interrupted = 0;
			say(s, (char)(name - 'A' + 'a'));
		}
	}
}

static pid_t start_job(struct session *s, char name)
{
	pid_t pid = fork();

	need(pid >= 0);
	if (!pid) {
		setpgid(0, 0);
		job(s, name);
	}
	setpgid(pid, pid);
	return pid;
}

static void check_tty(struct session *s, int tty, pid_t front)
{
	char text[8] = "";

	expect(tcgetpgrp(tty) == front, "/dev/tty: the foreground group is %d, not %d", tcgetpgrp(tty), front);
	expect(tcgetsid(s->slave) == getpid(), "the terminal's session is %d", tcgetsid(s->slave));
	expect(write(tty, "hello\n", 6) == 6, "/dev/tty: write: %s", strerror(errno));
	expect(open("/dev/tty", O_RDWR) >= 0, "open /dev/tty: %s", strerror(errno));
	expect(read_all(s->master, text, 7) == 7 && !strcmp(text, "hello\r\n"), "/dev/tty: '%s' came out", text);
}

static int leader(void *arg)
{
	struct session *s = arg;

	need(setsid() == getpid());
	signal(SIGTTOU, SIG_IGN);
	need(ioctl(s->slave, TIOCSCTTY, 0) == 0);
	int tty = s->held ? open("/dev/tty", O_RDWR | O_CLOEXEC) : s->slave;
	need(tty >= 0);
	char turn;
	pid_t front = start_job(s, 'F'), back = start_job(s, 'B');
	need(tcsetpgrp(s->slave, front) == 0);
	say(s, 'L');
	cr_child_ready();
	need(read(s->turn[0], &turn, 1) == 1);
	check_tty(s, tty, front);
	kill(front, SIGKILL);
	kill(back, SIGKILL);
	return 0;
}

static void await_report(struct session *s, const char *letters)
{
	for (size_t left = strlen(letters); left; left--) {
		char c;
		need(read(s->report[0], &c, 1) == 1 && strchr(letters, c));
	}
}

static void check_interrupt(struct session *s)
{
	char c = 0;
	struct pollfd p = { .fd = s->report[0], .events = POLLIN };

	expect(write(s->master, "\003", 1) == 1, "type ^C: %s", strerror(errno));
	expect(poll(&p, 1, 40000) == 1 && read(s->report[0], &c, 1) == 1 && c == 'f', "^C did not reach the foreground job: %#x", c);
	expect(poll(&p, 1, 100) == 0, "^C reached somebody else");
	char echo[8] = "";
	expect(read_all(s->master, echo, 2) == 2 && !strcmp(echo, "^C"), "^C was echoed as '%s'", echo);
}

/* --- settings --- */

static struct termios strange;

static void set_strange(int master, int slave)
{
	struct winsize size = { 33, 77, 5, 6 };

	need(tcgetattr(slave, &strange) == 0);
	strange.c_iflag ^= IXON | ISTRIP;
	strange.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	strange.c_oflag &= ~(tcflag_t)ONLCR;
	strange.c_cc[VINTR] = 'q';
	strange.c_cc[VMIN] = 3;
	cfsetspeed(&strange, B9600);
	need(tcsetattr(slave, TCSANOW, &strange) == 0);
	need(ioctl(master, TIOCSWINSZ, &size) == 0);
	need(fchmod(slave, 0640) == 0);
}

static void check_strange(int master, int slave, unsigned index)
{
	struct winsize size = { 0 };
	struct termios now = { 0 };
	struct stat st;
	char path[32], name[64] = "";

	tcgetattr(slave, &now);
	expect(now.c_iflag == strange.c_iflag && now.c_lflag == strange.c_lflag && now.c_oflag == strange.c_oflag && now.c_cflag == strange.c_cflag,
	       "flags %o %o %o %o", now.c_iflag, now.c_lflag, now.c_oflag, now.c_cflag);
	expect(!memcmp(now.c_cc, strange.c_cc, 19), "control characters differ");
	ioctl(slave, TIOCGWINSZ, &size);
	expect(size.ws_row == 33 && size.ws_col == 77 && size.ws_xpixel == 5, "window of %d x %d", size.ws_row, size.ws_col);
	expect(number(master) == index, "number %u instead of %u", number(master), index);
	snprintf(path, sizeof(path), "/dev/pts/%u", index);
	expect(!ttyname_r(slave, name, sizeof(name)) && !strcmp(name, path), "named %s", name);
	expect(!fstat(slave, &st) && (st.st_mode & 07777) == 0640, "mode %o", st.st_mode & 07777);
	expect(fcntl(master, F_GETFD) == FD_CLOEXEC && !fcntl(slave, F_GETFD), "close-on-exec");
	expect(fcntl(slave, F_GETFL) & O_NONBLOCK, "O_NONBLOCK is lost");
}

/* --- data on its way --- */

static void fill(int master, int slave)
{
	char line[1000];
	int echoed = 0;

	need(write(master, "first\nsecond\nhalf", 17) == 17);
	while (echoed < 7 + 8 + 4) {   /* a kernel thread's work */
		need(ioctl(master, FIONREAD, &echoed) == 0);
		cr_sleep_ms(1);
	}
	memset(line, 'x', sizeof(line) - 1);
	line[999] = '\n';
	for (int i = 0; i < 3; i++)
		need(write(slave, line, sizeof(line)) == sizeof(line));
}

static void check_data(int master, int slave)
{
	char text[4096] = "";
	ssize_t n = 0, r;

	expect(read(slave, text, sizeof(text)) == 6 && !memcmp(text, "first\n", 6), "first line: '%.20s'", text);
	expect(read(slave, text, sizeof(text)) == 7 && !memcmp(text, "second\n", 7), "second line: '%.20s'", text);
	expect(write(master, " done\n", 6) == 6, "write: %s", strerror(errno));
	expect(read(slave, text, sizeof(text)) == 10 && !memcmp(text, "half done\n", 10), "third line: '%.20s'", text);
	/* the echo of the first three lines, what was written (a carriage return each), the echo of the rest */
	for (size_t want = 7 + 8 + 4 + 3 * 1001 + 7; n < (ssize_t)want && (r = read(master, text + n, sizeof(text) - (size_t)n)) > 0; n += r)
		;
	expect(n == 7 + 8 + 4 + 3 * 1001 + 7, "%zd bytes came out", n);
	expect(!memcmp(text, "first\r\nsecond\r\nhalfxxx", 22) && !memcmp(text + n - 9, "\r\n done\r\n", 9),
	       "other bytes came out: %.24s ... %.20s", text, text + n - 20);
}

int main(int argc, char **argv)
{
	struct session s;

	cr_begin(argc, argv);
	s.master = open_master();
	s.slave = open_slave(s.master);
	need(pipe(s.report) == 0 && pipe(s.turn) == 0);
	s.held = argc < 3;
	int m2 = open_master(), s2 = open_slave(m2), m3 = open_master(), s3 = open_slave(m3);
	int m4 = open_master(), s4 = open_slave(m4), m6 = open_master(), s6 = open_slave(m6), m5 = open_master(), on = 1;
	unsigned index = number(m2), closed = number(m4);
	set_strange(m2, s2);
	fcntl(s2, F_SETFL, fcntl(s2, F_GETFL) | O_NONBLOCK);
	if (s.held) {
		fill(m3, s3);
		close(s4);
		close(m6);
	}
	need(ioctl(m5, TIOCPKT, &on) == 0);
	int s5 = open_slave(m5);
	pid_t pid = cr_fork(leader, &s);
	await_report(&s, "LFB");
	cr_wait();

	check_interrupt(&s);
	check_strange(m2, s2, index);
	if (s.held)
		check_data(m3, s3);
	char c, text[8] = "";
	expect(!s.held || read(s6, text, 8) == 0, "the end whose master is closed is not hung up");
	expect(!s.held || (number(m4) == closed && read(m4, &c, 1) < 0 && errno == EIO), "the end without another: %s", strerror(errno));
	expect(write(s5, "p", 1) == 1 && read(m5, text, 8) == 2 && !text[0] && text[1] == 'p', "packet mode is lost");
	expect(write(s.turn[1], "", 1) == 1, "the leader's turn");
	cr_join(pid);
	return cr_end();
}
