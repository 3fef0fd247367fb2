/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pipes: data unread, empty, full, of changed capacity; non-blocking ends; the write end closed, the
 * read end closed; the two ends in two processes; one end duplicated. With the argument `odd` also packets (O_DIRECT), and
 * an end reopened through /proc for reading and writing.
 */
#include "cr.h"

#include <signal.h>
#include <sys/ioctl.h>

static int data[2], empty[2], full[2], big[2], packets[2], no_writer[2], no_reader[2], mixed[2], between[2], reopened;
static int odd_flag;
static ssize_t full_size;

static void expect_text(const char *what, int fd, const char *wanted)
{
	char text[100] = "";
	ssize_t n = read(fd, text, sizeof(text) - 1);

	expect(n == (ssize_t)strlen(wanted) && !strcmp(text, wanted), "%s: '%s' (%zd) instead of '%s'", what, text, n, wanted);
}

static int child(void *arg)
{
	(void)arg;
	close(between[0]);
	cr_child_ready();
	cr_wait_go();
	expect(write(between[1], " and after", 10) == 10, "child: write: %s", strerror(errno));
	return 0;
}

static void set_up(void)
{
	need(pipe(data) == 0 && pipe2(empty, O_NONBLOCK) == 0 && pipe2(full, O_NONBLOCK | O_CLOEXEC) == 0);
	need(pipe(big) == 0 && pipe2(packets, odd_flag) == 0 && pipe(no_writer) == 0 && pipe(no_reader) == 0);
	need(pipe(mixed) == 0 && pipe(between) == 0);
	need(write(data[1], "unread", 6) == 6);
	while (write(full[1], "full", 4) == 4)
		full_size += 4;
	need(fcntl(big[1], F_SETPIPE_SZ, 1 << 19) == 1 << 19);
	for (int i = 0; i < 1000; i++)
		need(write(big[1], &i, sizeof(i)) == sizeof(i));
	need(write(packets[1], "one", 3) == 3 && write(packets[1], "second", 6) == 6);
	need(write(no_writer[1], "last words", 10) == 10 && close(no_writer[1]) == 0);
	need(close(no_reader[0]) == 0);
	need(fcntl(mixed[0], F_SETFL, O_NONBLOCK) == 0);
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", mixed[0]);
	need((reopened = open(path, (odd_flag ? O_RDWR : O_WRONLY) | O_CLOEXEC)) >= 0);
	need(write(between[1], "before", 6) == 6);
}

static void check_contents(void)
{
	char text[100];
	ssize_t left = full_size;

	expect_text("data", data[0], "unread");
	expect(read(empty[0], text, 1) < 0 && errno == EAGAIN, "empty: readable");
	expect(write(full[1], "x", 1) < 0 && errno == EAGAIN, "full: writable");
	for (ssize_t n; left > 0 && (n = read(full[0], text, sizeof(text))) > 0; left -= n)
		expect(!memcmp(text, "full", 4), "full: other data");
	expect(left == 0, "full: %zd of %zd bytes are missing", left, full_size);
	expect(fcntl(big[0], F_GETPIPE_SZ) == 1 << 19, "capacity %d instead of %d", fcntl(big[0], F_GETPIPE_SZ), 1 << 19);
	for (int i = 0, k = -1; i < 1000; i++)
		if (read(big[0], &k, sizeof(k)) != sizeof(k) || k != i) {
			expect(0, "number %d is %d", i, k);
			break;
		}
	expect_text("first packet", packets[0], odd_flag ? "one" : "onesecond");
	if (odd_flag)
		expect_text("second packet", packets[0], "second");
	expect_text("no writer", no_writer[0], "last words");
	expect_text("no writer", no_writer[0], "");
	expect(write(no_reader[1], "x", 1) < 0 && errno == EPIPE, "no reader: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	char text[32] = "";

	cr_begin(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	odd_flag = argc > 2 ? O_DIRECT : 0;
	set_up();
	int twin = dup(data[0]);
	pid_t pid = cr_fork(child, NULL);
	close(between[1]);
	cr_wait();

	expect(fcntl(data[0], F_GETFL) == O_RDONLY && fcntl(data[1], F_GETFL) == O_WRONLY, "flags of the ends");
	expect(fcntl(packets[1], F_GETFL) == (O_WRONLY | odd_flag), "packets: flags %#o", fcntl(packets[1], F_GETFL));
	expect(fcntl(full[0], F_GETFD) == FD_CLOEXEC, "close-on-exec is lost");
	expect((fcntl(mixed[0], F_GETFL) & O_NONBLOCK) && !(fcntl(mixed[1], F_GETFL) & O_NONBLOCK), "one end's O_NONBLOCK");
	expect(!odd_flag || (fcntl(reopened, F_GETFL) & O_ACCMODE) == O_RDWR, "reopened: flags %#o", fcntl(reopened, F_GETFL));
	check_contents();
	expect(write(reopened, "round", 5) == 5, "reopened: write: %s", strerror(errno));
	expect_text("reopened", mixed[0], "round");
	expect(write(data[1], "dup", 3) == 3, "write: %s", strerror(errno));
	expect_text("dup", twin, "dup");
	cr_join(pid);
	ssize_t n = 0, r;
	while ((r = read(between[0], text + n, sizeof(text) - 1 - n)) > 0)
		n += r;
	expect(!strcmp(text, "before and after"), "between processes: '%s'", text);
	return cr_end();
}
