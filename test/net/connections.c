/* SPDX-License-Identifier: Apache-2.0 */
/* Many TCP connections, for tests and benchmarks.
 *
 *   connections serve ADDRESS PORT N FILE    takes N connections, writes N into FILE, and gives back what it is sent until it is killed
 *   connections hold ADDRESS PORT N FILE     opens N, with keepalive, and writes 0 into FILE; at each SIGUSR1 it sends a number over each of
 *                                            them, and writes how many rounds came back whole; or, once something is wrong, what
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static const char *file;
static int *fds;
static int count;

static void say(const char *text)
{
	char name[4096];

	snprintf(name, sizeof name, "%s.new", file);
	FILE *f = fopen(name, "w");
	if (!f || fprintf(f, "%s\n", text) < 0 || fclose(f) || rename(name, file))
		_exit(3);
}

static void say_number(int n)
{
	char text[16];

	snprintf(text, sizeof text, "%d", n);
	say(text);
}

static _Noreturn void wrong(const char *what, int which)
{
	char text[256];

	snprintf(text, sizeof text, "connection %d: %s: %s", which, what, strerror(errno));
	say(text);
	exit(1);
}

static void raise_limit(void)
{
	struct rlimit l;

	getrlimit(RLIMIT_NOFILE, &l);
	l.rlim_cur = l.rlim_max;
	setrlimit(RLIMIT_NOFILE, &l);
	if (l.rlim_max < (rlim_t)count + 16) {
		errno = EMFILE;
		wrong("limit", count);
	}
}

static struct sockaddr_in address_of(char **argv)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])) };

	inet_pton(AF_INET, argv[0], &a.sin_addr);
	return a;
}

static void give_back(int fd)
{
	char data[4096];
	ssize_t n = recv(fd, data, sizeof data, MSG_DONTWAIT);

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		close(fd);
		return;
	}
	if (n > 0 && send(fd, data, (size_t)n, MSG_NOSIGNAL) != n)
		close(fd);
}

static void serve(const struct sockaddr_in *a)
{
	int s = socket(AF_INET, SOCK_STREAM, 0), ep = epoll_create1(0), one = 1;

	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(s, (const void *)a, sizeof *a) || listen(s, 1024))
		wrong("listen", -1);
	say_number(0);
	for (int i = 0; i < count; i++) {
		struct epoll_event e = { .events = EPOLLIN };
		e.data.fd = accept(s, NULL, NULL);
		if (e.data.fd < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, e.data.fd, &e))
			wrong("accept", i);
	}
	say_number(count);
	for (;;) {
		struct epoll_event e[64];
		int n = epoll_wait(ep, e, 64, -1);
		for (int i = 0; i < n; i++)
			give_back(e[i].data.fd);
	}
}

static void keep_alive(int fd)
{
	const int on = 1, seconds = 5;
	const struct timeval limit = { 60, 0 };

	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
}

static void ask_all(uint32_t round)
{
	for (int i = 0; i < count; i++) {
		uint32_t out[2] = { round, (uint32_t)i };
		if (send(fds[i], out, sizeof out, MSG_NOSIGNAL) != sizeof out)
			wrong("send", i);
	}
	for (int i = 0; i < count; i++) {
		uint32_t in[2];
		errno = 0;
		if (recv(fds[i], in, sizeof in, MSG_WAITALL) != sizeof in || in[0] != round || in[1] != (uint32_t)i)
			wrong("receive", i);
	}
}

static void hold(const struct sockaddr_in *a)
{
	sigset_t wanted;
	int signal;

	fds = calloc((size_t)count, sizeof *fds);
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGUSR1);
	sigprocmask(SIG_BLOCK, &wanted, NULL);
	for (int i = 0; i < count; i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM, 0);
		if (fds[i] < 0 || connect(fds[i], (const void *)a, sizeof *a))
			wrong("connect", i);
		keep_alive(fds[i]);
	}
	say_number(0);
	for (int round = 1; sigwait(&wanted, &signal) == 0; round++) {
		ask_all((uint32_t)round);
		say_number(round);
	}
}

int main(int argc, char **argv)
{
	if (argc != 6)
		return 2;
	struct sockaddr_in a = address_of(argv + 2);
	count = atoi(argv[4]);
	file = argv[5];
	close_range(3, ~0u, 0);   /* what whoever started it has left open would have to be saved */
	raise_limit();
	if (!strcmp(argv[1], "serve"))
		serve(&a);
	else
		hold(&a);
	return 2;
}
