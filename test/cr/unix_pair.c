/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pairs of unix sockets of each type: data queued in both directions, message boundaries, one direction shut down, the
 * peer closed, options (buffer sizes, SO_PASSCRED, timeouts), O_NONBLOCK, ends in two processes, two pairs that
 * cross. Afterwards everything arrives, in order, and the pairs are still pairs.
 */
#include "cr.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

static const struct {
	const char *name;
	int type;
} types[] = { { "stream", SOCK_STREAM }, { "dgram", SOCK_DGRAM }, { "seqpacket", SOCK_SEQPACKET } };

static int pairs[3][2], half[2], orphan[2], between[2], empty[2];

static void expect_text(const char *what, int fd, const char *wanted)
{
	char text[100] = "";
	ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

	expect(n == (ssize_t)strlen(wanted) && !strcmp(text, wanted), "%s: '%s' (%zd) instead of '%s'", what, text, n, wanted);
}

static void say(int fd, const char *text)
{
	expect(send(fd, text, strlen(text), MSG_DONTWAIT) == (ssize_t)strlen(text), "send '%s': %s", text, strerror(errno));
}

static void set_up(void)
{
	for (int i = 0; i < 3; i++) {
		need(socketpair(AF_UNIX, types[i].type | (i == 1 ? SOCK_NONBLOCK | SOCK_CLOEXEC : 0), 0, pairs[i]) == 0);
		say(pairs[i][0], "there");
		say(pairs[i][0], "and more");
		say(pairs[i][1], "back");
	}
	need(socketpair(AF_UNIX, SOCK_STREAM, 0, half) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, orphan) == 0);
	need(socketpair(AF_UNIX, SOCK_STREAM, 0, between) == 0 && socketpair(AF_UNIX, SOCK_DGRAM, 0, empty) == 0);
	say(half[0], "last");
	need(shutdown(half[0], SHUT_WR) == 0);
	say(orphan[1], "farewell");
	need(close(orphan[1]) == 0);
}

static void set_option(int fd, int option, int value)
{
	need(setsockopt(fd, SOL_SOCKET, option, &value, sizeof(value)) == 0);
}

static int get_option(int fd, int option)
{
	int value = -1;
	socklen_t size = sizeof(value);

	expect(getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0, "getsockopt %d: %s", option, strerror(errno));
	return value;
}

static int child(void *arg)
{
	char text[100] = "";

	(void)arg;
	close(between[0]);
	say(between[1], "from the child");
	cr_child_ready();
	cr_wait_go();
	ssize_t n = 0, r;
	while ((r = read(between[1], text + n, sizeof(text) - 1 - n)) > 0)
		n += r;
	expect(!strcmp(text, "before and after"), "child: '%s'", text);
	return 0;
}

static void check_ends(void)
{
	char byte;

	expect_text("half", half[1], "last");
	expect(recv(half[1], &byte, 1, MSG_DONTWAIT) == 0, "half: a direction shut down is open");
	expect(send(half[0], "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE, "half: sending on a direction shut down");
	say(half[1], "other way");
	expect_text("half, other direction", half[0], "other way");
	expect_text("peer closed", orphan[0], "farewell");
	expect(recv(orphan[0], &byte, 1, MSG_DONTWAIT) == 0, "peer closed: no end");
}

int main(int argc, char **argv)
{
	cr_begin(argc, argv);
	set_up();
	int sndbuf, passed;
	set_option(pairs[0][0], SO_SNDBUF, 50000);
	set_option(empty[1], SO_PASSCRED, 1);
	set_option(pairs[1][0], SO_RCVBUF, 60000);
	struct timeval timeout = { 12, 340000 }, now = { 0 };
	socklen_t size = sizeof(now);
	need(setsockopt(pairs[2][0], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) == 0);
	sndbuf = get_option(pairs[0][0], SO_SNDBUF);
	passed = get_option(pairs[1][0], SO_RCVBUF);
	say(between[0], "before");
	pid_t pid = cr_fork(child, NULL);
	close(between[1]);
	cr_wait();

	expect(get_option(pairs[0][0], SO_SNDBUF) == sndbuf, "SO_SNDBUF %d instead of %d", get_option(pairs[0][0], SO_SNDBUF), sndbuf);
	expect(get_option(pairs[1][0], SO_RCVBUF) == passed, "SO_RCVBUF %d instead of %d", get_option(pairs[1][0], SO_RCVBUF), passed);
	expect(get_option(empty[1], SO_PASSCRED) == 1, "SO_PASSCRED is lost");
	expect(getsockopt(pairs[2][0], SOL_SOCKET, SO_RCVTIMEO, &now, &size) == 0 && now.tv_sec == 12 && now.tv_usec == 340000,
	       "SO_RCVTIMEO %ld.%06ld", now.tv_sec, now.tv_usec);
	expect(fcntl(pairs[1][0], F_GETFL) & O_NONBLOCK && fcntl(pairs[1][0], F_GETFD) == FD_CLOEXEC, "flags");
	for (int i = 0; i < 3; i++) {
		expect(get_option(pairs[i][0], SO_TYPE) == types[i].type, "%s: type %d", types[i].name, get_option(pairs[i][0], SO_TYPE));
		if (types[i].type == SOCK_STREAM)
			expect_text(types[i].name, pairs[i][1], "thereand more");
		else {
			expect_text(types[i].name, pairs[i][1], "there");
			expect_text(types[i].name, pairs[i][1], "and more");
		}
		expect_text(types[i].name, pairs[i][0], "back");
		say(pairs[i][0], "new");
		expect_text(types[i].name, pairs[i][1], "new");
	}
	check_ends();
	say(between[0], " and after");
	shutdown(between[0], SHUT_WR);
	expect_text("between processes", between[0], "from the child");
	cr_join(pid);
	return cr_end();
}
