/* SPDX-License-Identifier: Apache-2.0 */
/* Where pages come from and go to: TCP by name or number, a unix socket (an address that begins with a slash), or a descriptor that the
 * caller has made (--ps-socket). The server listens on a number only, as CRIU's does; without an address on all of IPv4. */
#include "pages/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"

void page_peer_name(const struct ck_page_peer *p, char *text, size_t size)
{
	if (p->socket >= 0)
		snprintf(text, size, "descriptor %d", p->socket);
	else if (p->address && *p->address == '/')
		snprintf(text, size, "%s", p->address);
	else
		snprintf(text, size, "%s port %u", p->address ? p->address : "0.0.0.0", p->port);
}

/* A peer that vanishes without a word is noticed within two minutes. */
static void set_options(int fd)
{
	const int on = 1, idle = 30, interval = 10, count = 9;

	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

void page_patience(int sock)
{
	const unsigned milliseconds = 30000;

	set_options(sock);
	setsockopt(sock, IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds, sizeof milliseconds);
}

static int given(const struct ck_page_peer *p)
{
	int type;
	socklen_t size = sizeof type;

	if (getsockopt(p->socket, SOL_SOCKET, SO_TYPE, &type, &size) < 0)
		return fail(errno, "--ps-socket %d", p->socket);
	if (type != SOCK_STREAM)
		return fail_text(EINVAL, "--ps-socket %d: not a stream socket", p->socket);
	int fd = fcntl(p->socket, F_DUPFD_CLOEXEC, 3);
	return fd < 0 ? fail(errno, "--ps-socket %d", p->socket) : fd;
}

static int unix_address(const char *path, struct sockaddr_un *a)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof a->sun_path)
		return fail(ENAMETOOLONG, "socket %s", path);
	strcpy(a->sun_path, path);
	return 0;
}

static int connect_unix(const char *path)
{
	struct sockaddr_un a;
	int r = unix_address(path, &a);
	autoclose int fd = r < 0 ? -1 : socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (r < 0)
		return r;
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) < 0)
		return fail(errno, "connect to %s", path);
	return take_fd(&fd);
}

static int connect_tcp(const struct ck_page_peer *p)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV }, *list;
	char port[16];
	int error = ECONNREFUSED, fd = -1;

	if (!p->port || p->port > 65535)
		return fail_text(EINVAL, "the page server's port is missing (--port N)");
	snprintf(port, sizeof port, "%u", p->port);
	int r = getaddrinfo(p->address ? p->address : "127.0.0.1", port, &hints, &list);
	if (r != 0)
		return fail_text(EHOSTUNREACH, "page server %s: %s", p->address, gai_strerror(r));
	for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
		fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
			error = errno;
			fd_close(&fd);
			fd = -1;
		}
	}
	freeaddrinfo(list);
	if (fd < 0)
		return fail(error, "connect to the page server %s port %u", p->address ? p->address : "127.0.0.1", p->port);
	set_options(fd);
	return fd;
}

int page_connect(const struct ck_page_peer *p)
{
	if (p->socket >= 0)
		return given(p);
	return p->address && *p->address == '/' ? connect_unix(p->address) : connect_tcp(p);
}

/* A socket there is one of a server that has gone. */
static int make_way(const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return fail(EADDRINUSE, "listen on %s", path);
	unlink(path);
	return 0;
}

/* Who sees the socket may connect: it gets its name when it listens. */
static int listen_unix(const char *path, int backlog)
{
	autofree char *early = str_printf("%s~", path);
	struct sockaddr_un a;
	const char *name = strlen(early) < sizeof a.sun_path ? early : path;
	int r = unix_address(path, &a) ?: make_way(path) ?: make_way(name);

	if (r < 0)
		return r;
	strcpy(a.sun_path, name);
	autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || chmod(name, 0600) < 0 || listen(fd, backlog) < 0 || rename(name, path) < 0)
		return fail(errno, "listen on %s", path);
	return take_fd(&fd);
}

static int listen_tcp(const struct ck_page_peer *p, int backlog, unsigned *port)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} a = { .v4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)p->port) } };
	socklen_t size = sizeof a.v4;
	const int on = 1;

	if (p->port > 65535)
		return fail_text(EINVAL, "there is no port %u", p->port);
	if (p->address && inet_pton(AF_INET, p->address, &a.v4.sin_addr) != 1) {
		a.v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)p->port) };
		size = sizeof a.v6;
		if (inet_pton(AF_INET6, p->address, &a.v6.sin6_addr) != 1)
			return fail_text(EINVAL, "%s is neither an IPv4 nor an IPv6 address to listen on, nor the path of a socket", p->address);
	}
	autoclose int fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 || bind(fd, &a.any, size) < 0 || listen(fd, backlog) < 0)
		return fail(errno, "listen on %s port %u", p->address ? p->address : "0.0.0.0", p->port);
	set_options(fd);
	if (getsockname(fd, &a.any, &size) < 0)
		return fail(errno, "ask for the port that was chosen");
	*port = ntohs(a.any.sa_family == AF_INET ? a.v4.sin_port : a.v6.sin6_port);
	return take_fd(&fd);
}

int page_listen(const struct ck_page_peer *p, int backlog, unsigned *port, bool *connected)
{
	int listening = 0;
	socklen_t size = sizeof listening;

	*port = 0;
	*connected = false;
	if (p->socket < 0)
		return p->address && *p->address == '/' ? listen_unix(p->address, backlog) : listen_tcp(p, backlog, port);
	autoclose int fd = given(p);
	if (fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) < 0)
		return fail(errno, "--ps-socket %d", p->socket);
	*connected = !listening;
	return take_fd(&fd);
}

int page_send(int sock, const void *data, size_t size)
{
	const char *at = data;

	while (size) {
		ssize_t n = send(sock, at, size, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

int page_recv(int sock, void *data, size_t size)
{
	char *at = data;

	while (size) {
		ssize_t n = recv(sock, at, size, MSG_WAITALL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENODATA;
		at += n;
		size -= (size_t)n;
	}
	return 0;
}
