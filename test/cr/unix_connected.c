/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server and a client on a unix socket, two processes of the tree, connected, with data queued in both directions; a
 * client connected to an abstract name in the same process; a datagram client connected to a bound server. The
 * listening sockets are still open. Arguments: `closed`, they are closed; `passing`, a descriptor is in flight; `names`, both
 * ends must have their names afterwards (an accepted socket has the name of the listening one).
 */
#include "cr.h"

#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct sockaddr_un by_path = { .sun_family = AF_UNIX }, abstract = { .sun_family = AF_UNIX }, datagram = { .sun_family = AF_UNIX };
static socklen_t abstract_size;
static bool passing;

static void expect_text(const char *what, int fd, const char *wanted)
{
	char text[100] = "";
	ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

	expect(n == (ssize_t)strlen(wanted) && !strcmp(text, wanted), "%s: '%s' (%zd) instead of '%s'", what, text, n, wanted);
}

static void pass(int over, int fd)
{
	char byte = '!', space[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = { 0 };
	struct iovec v = { &byte, 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	*c = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	need(sendmsg(over, &m, 0) == 1);
}

static int take(int from)
{
	char byte, space[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = { 0 };
	struct iovec v = { &byte, 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space) };
	int fd = -1;

	if (recvmsg(from, &m, MSG_DONTWAIT) == 1 && CMSG_FIRSTHDR(&m))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	return fd;
}

static int client(void *arg)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), dgram = socket(AF_UNIX, SOCK_DGRAM, 0), p[2];

	(void)arg;
	need(connect(fd, (struct sockaddr *)&by_path, sizeof(by_path)) == 0);
	need(connect(dgram, (struct sockaddr *)&datagram, sizeof(datagram)) == 0);
	need(write(fd, "request", 7) == 7 && write(dgram, "datagram", 8) == 8 && pipe(p) == 0);
	if (passing)
		pass(fd, p[1]);
	cr_child_ready();
	cr_wait_go();
	while (access(cr_path("answered"), F_OK) < 0)
		cr_sleep_ms(1);
	expect_text("client", fd, "answer");
	expect(write(fd, "thanks", 6) == 6 && write(dgram, "again", 5) == 5, "client: write: %s", strerror(errno));
	char byte = 0;
	if (passing)
		expect(read(p[0], &byte, 1) == 1 && byte == 'p', "the descriptor in flight is another pipe");
	return 0;
}

int main(int argc, char **argv)
{
	cr_begin(argc, argv);
	passing = argc > 2 && !strcmp(argv[2], "passing");
	snprintf(by_path.sun_path, sizeof(by_path.sun_path), "%.90s/server", cr_dir);
	snprintf(datagram.sun_path, sizeof(datagram.sun_path), "%.90s/datagrams", cr_dir);
	abstract_size = offsetof(struct sockaddr_un, sun_path) + 1 +
			snprintf(abstract.sun_path + 1, sizeof(abstract.sun_path) - 1, "torpor-test%.60s", strrchr(cr_dir, '/'));
	int server = socket(AF_UNIX, SOCK_STREAM, 0), hidden = socket(AF_UNIX, SOCK_STREAM, 0), dgram = socket(AF_UNIX, SOCK_DGRAM, 0);
	need(bind(server, (struct sockaddr *)&by_path, sizeof(by_path)) == 0 && listen(server, 5) == 0);
	need(bind(hidden, (struct sockaddr *)&abstract, abstract_size) == 0 && listen(hidden, 5) == 0);
	need(bind(dgram, (struct sockaddr *)&datagram, sizeof(datagram)) == 0);
	int self = socket(AF_UNIX, SOCK_STREAM, 0);
	need(connect(self, (struct sockaddr *)&abstract, abstract_size) == 0);
	int from_self = accept(hidden, NULL, NULL);
	need(from_self >= 0 && write(self, "to myself", 9) == 9);
	pid_t pid = cr_fork(client, NULL);
	int conn = accept(server, NULL, NULL);
	need(conn >= 0 && write(conn, "answer", 6) == 6);
	if (argc > 2 && !strcmp(argv[2], "closed"))
		need(close(server) == 0 && close(hidden) == 0);
	cr_wait();

	struct sockaddr_un name = { 0 };
	socklen_t size = sizeof(name);
	expect_text("in one process", from_self, "to myself");
	expect(write(from_self, "back", 4) == 4, "in one process: %s", strerror(errno));
	expect_text("in one process, back", self, "back");
	bool names = argc > 2 && !strcmp(argv[2], "names");
	expect(!names || (getsockname(conn, (struct sockaddr *)&name, &size) == 0 && !strcmp(name.sun_path, by_path.sun_path)),
	       "the connection's name is '%s'", name.sun_path);
	size = sizeof(name);
	expect(!names || (getpeername(self, (struct sockaddr *)&name, &size) == 0 && size == abstract_size && !memcmp(&name, &abstract, size)),
	       "the client's peer has another name");
	expect_text("datagram", dgram, "datagram");
	char request[8] = "";
	expect(recv(conn, request, 7, MSG_DONTWAIT) == 7 && !strcmp(request, "request"), "server: '%s': %s", request, strerror(errno));
	int got = passing ? take(conn) : -1;
	expect(!passing || (got >= 0 && write(got, "p", 1) == 1), "no descriptor in flight");
	cr_write("answered", 0, "");
	cr_join(pid);
	expect_text("server, afterwards", conn, "thanks");
	expect_text("datagram, afterwards", dgram, "again");
	char byte;
	expect(recv(conn, &byte, 1, MSG_DONTWAIT) == 0, "no end of a closed connection: %s", strerror(errno));
	return cr_end();
}
