/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening and bound unix sockets: stream by path and by abstract name, seqpacket, a datagram socket bound to a path with
 * a datagram queued, one whose path is unlinked, one only created. Afterwards clients find
 * them, with the same names and permissions. With the argument `pending` a connection waits to be accepted, with data.
 */
#include "cr.h"

#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

static socklen_t address(struct sockaddr_un *a, const char *name)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (name[0] == '@') {
		snprintf(a->sun_path + 1, sizeof(a->sun_path) - 1, "%.30s%.60s", name + 1, strrchr(cr_dir, '/'));
		return offsetof(struct sockaddr_un, sun_path) + 1 + strlen(a->sun_path + 1);
	}
	need(strlen(name) < sizeof(a->sun_path));
	strcpy(a->sun_path, name);
	return sizeof(*a);
}

static int serve(int type, const char *name, int backlog)
{
	struct sockaddr_un a;
	socklen_t size = address(&a, name);
	int fd = socket(AF_UNIX, type, 0);

	need(fd >= 0 && bind(fd, (struct sockaddr *)&a, size) == 0);
	need(type == SOCK_DGRAM || listen(fd, backlog) == 0);
	return fd;
}

static int reach(int type, const char *name)
{
	struct sockaddr_un a;
	socklen_t size = address(&a, name);
	int fd = socket(AF_UNIX, type | SOCK_NONBLOCK, 0);

	return connect(fd, (struct sockaddr *)&a, size) < 0 ? -1 : fd;
}

/* A new client gets through to a listening socket, and it is the same name on both sides. */
static void expect_serves(const char *what, int server, int type, const char *name)
{
	int client = reach(type, name), accepting = 0;
	socklen_t size = sizeof(accepting);
	struct sockaddr_un a, b = { 0 };
	char text[8] = "";

	expect(getsockopt(server, SOL_SOCKET, SO_ACCEPTCONN, &accepting, &size) == 0 && accepting, "%s: does not listen", what);
	expect(client >= 0, "%s: connect: %s", what, strerror(errno));
	int conn = client < 0 ? -1 : accept4(server, NULL, NULL, SOCK_NONBLOCK);
	expect(conn >= 0 && write(client, "hello", 5) == 5 && read(conn, text, 8) == 5, "%s: no way through: %s", what,
	       strerror(errno));
	address(&a, name);
	size = sizeof(b);
	expect(getsockname(server, (struct sockaddr *)&b, &size) == 0 && !memcmp(a.sun_path, b.sun_path, 90), "%s: name '%s%s'", what,
	       b.sun_path[0] ? "" : "@", b.sun_path + !b.sun_path[0]);
	close(client);
	close(conn);
}

int main(int argc, char **argv)
{
	struct stat was, is = { 0 };
	char path[5][108], text[100] = "";
	int waiting = -1, conn;

	cr_begin(argc, argv);
	for (int i = 0; i < 5; i++)
		snprintf(path[i], sizeof(path[i]), "%.90s/socket%d", cr_dir, i);
	int by_path = serve(SOCK_STREAM, path[0], 7), abstract = serve(SOCK_STREAM, "@torpor-test", 5);
	int packets = serve(SOCK_SEQPACKET, path[1], 3), datagrams = serve(SOCK_DGRAM, path[2], 0);
	int unlinked = serve(SOCK_STREAM, path[3], 3), plain = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	need(chmod(path[0], 0640) == 0 && chown(path[0], 1000, 1001) == 0 && stat(path[0], &was) == 0);
	need(unlink(path[3]) == 0 && plain >= 0);
	int sender = reach(SOCK_DGRAM, path[2]);
	need(sender >= 0 && send(sender, "queued", 6, 0) == 6 && send(sender, "twice", 5, 0) == 5);
	if (argc > 2)
		need((waiting = reach(SOCK_STREAM, path[0])) >= 0 && write(waiting, "early", 5) == 5);
	cr_wait();

	if (argc > 2) {
		conn = accept4(by_path, NULL, NULL, SOCK_NONBLOCK);
		expect(conn >= 0 && read(conn, text, 100) == 5 && !memcmp(text, "early", 5), "pending connection: '%s': %s", text, strerror(errno));
		expect(conn >= 0 && write(conn, "late", 4) == 4 && read(waiting, text, 100) == 4, "pending connection: answer");
	}
	expect_serves("by path", by_path, SOCK_STREAM, path[0]);
	expect_serves("abstract", abstract, SOCK_STREAM, "@torpor-test");
	expect_serves("seqpacket", packets, SOCK_SEQPACKET, path[1]);
	expect(stat(path[0], &is) == 0 && is.st_mode == was.st_mode && is.st_uid == was.st_uid && is.st_gid == was.st_gid,
	       "by path: mode %o of %d:%d instead of %o of %d:%d", is.st_mode, is.st_uid, is.st_gid, was.st_mode, was.st_uid, was.st_gid);
	memset(text, 0, sizeof(text));
	expect(recv(datagrams, text, 100, MSG_DONTWAIT) == 6 && !strcmp(text, "queued"), "datagram '%s'", text);
	memset(text, 0, sizeof(text));
	expect(recv(datagrams, text, 100, MSG_DONTWAIT) == 5 && !strcmp(text, "twice"), "second datagram '%s'", text);
	expect(send(sender, "new", 3, 0) == 3 && recv(datagrams, text, 100, MSG_DONTWAIT) == 3, "datagram afterwards: %s", strerror(errno));
	int other = reach(SOCK_DGRAM, path[2]);
	expect(other >= 0 && send(other, "other", 5, 0) == 5 && recv(datagrams, text, 100, MSG_DONTWAIT) == 5, "another sender: %s", strerror(errno));
	expect(access(path[3], F_OK) < 0, "an unlinked socket has a path again");
	expect(fcntl(unlinked, F_GETFL) >= 0, "unlinked: %s", strerror(errno));
	expect(fcntl(plain, F_GETFD) == FD_CLOEXEC, "only created: flags");
	struct sockaddr_un a;
	address(&a, path[4]);
	expect(bind(plain, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(plain, 1) == 0, "only created: bind: %s", strerror(errno));
	return cr_end();
}
