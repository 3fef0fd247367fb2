/* SPDX-License-Identifier: Apache-2.0 */
/* The page server's protocol: messages, a session from a client, and from peers that mean no good. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "harness.h"
#include "image/stream.h"
#include "mem/restoring.h"
#include "pages/client.h"
#include "pages/session.h"
#include "pages/socket.h"
#include "pages/wire.h"

static const uint64_t page = WIRE_PAGE;

static void header(unsigned char *bytes, uint32_t command, uint64_t pages, uint64_t address, uint64_t id)
{
	memset(bytes, 0, WIRE_SIZE);
	memcpy(bytes, &command, 4);
	memcpy(bytes + 8, &pages, 8);
	memcpy(bytes + 16, &address, 8);
	memcpy(bytes + 24, &id, 8);
}

static int decode(uint32_t command, uint64_t pages, uint64_t address, uint64_t id, struct wire_message *m)
{
	unsigned char bytes[WIRE_SIZE];

	err_clear();
	header(bytes, command, pages, address, id);
	return wire_decode(bytes, m);
}

static void messages(void)
{
	struct wire_message m;
	const unsigned types[] = { 1, 10, 11, 16, 17, 2, 27, 28, 29, 32, 33, 34 };

	CHECK_EQ(decode(WIRE_ADD_F | 4 << 16, 3, 0x1000, 7 << 8 | 1, &m), 0);
	CHECK(m.command == WIRE_ADD_F && m.flags == 4 && m.pages == 3 && m.address == 0x1000 && m.id == 7 && !m.segment);
	CHECK_EQ(wire_content(&m), 3 * page);
	CHECK_EQ(decode(WIRE_ADD, 3, 0x1000, 7 << 8 | 1, &m), 0);
	CHECK(m.command == WIRE_ADD_F && m.flags == 4);
	CHECK_EQ(decode(WIRE_HOLE, 3, 0x1000, 7 << 8 | 2, &m), 0);
	CHECK(m.command == WIRE_ADD_F && m.flags == 1 && m.segment && wire_content(&m) == 0);
	CHECK_EQ(decode(WIRE_GET, 1, 0x1000, 7, &m), 0);
	CHECK(m.id == 7);
	CHECK_EQ(decode(WIRE_CLOSE, 9, 9, 9, &m), 0);
	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		CHECK_EQ(decode(WIRE_OPEN2, 0, 0, 7 << 8 | types[i], &m), 0);
		CHECK_EQ(m.segment, i >= 5);
	}
}

static void messages_bad(void)
{
	const struct {
		uint32_t command;
		uint64_t pages, address, id;
	} bad[] = {
		{ 0, 1, 0, 0x701 }, { 8, 1, 0, 0x701 }, { 0xffff, 1, 0, 0x701 },                        /* commands */
		{ WIRE_ADD_F | 8 << 16, 1, 0, 0x701 }, { WIRE_ADD_F | 5 << 16, 1, 0, 0x701 },           /* flags */
		{ WIRE_ADD_F | 4 << 16, 0, 0, 0x701 }, { WIRE_ADD_F | 4 << 16, UINT64_MAX, 0, 0x701 },  /* pages */
		{ WIRE_ADD_F | 4 << 16, 1ull << 52, 0, 0x701 }, { WIRE_ADD_F | 4 << 16, 1ull << 35, 0x1000, 0x701 },
		{ WIRE_ADD_F | 4 << 16, 1, 1, 0x701 }, { WIRE_ADD_F | 4 << 16, 1, UINT64_MAX & ~4095ull, 0x701 },
		{ WIRE_ADD_F | 4 << 16, 1, 0, 0x700 }, { WIRE_ADD_F | 4 << 16, 1, 0, 0x703 }, { WIRE_OPEN2, 0, 0, 1 },
		{ WIRE_OPEN2, 0, 0, 1ull << 40 | 1 }, { WIRE_GET, 1, 0, 0 }, { WIRE_GET, 1, 0, 1ull << 40 }, { WIRE_GET, 0, 0, 1 },
	};
	struct wire_message m;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (decode(bad[i].command, bad[i].pages, bad[i].address, bad[i].id, &m) != -EPROTO)
			test_failed(__FILE__, __LINE__, "message %zu is accepted", i);
}

/* --- sessions --- */

/* A session in a child; ours is the other end of its socket. */
static pid_t start(const char *dir, int *sock)
{
	int pair[2];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	pid_t pid = fork();
	if (pid == 0) {
		close(pair[0]);
		const struct ck_page_server_options o = { .images_dir = dir, .where.socket = -1 };
		int r = session_run(pair[1], &o, 0, true);
		_exit(-r);
	}
	close(pair[1]);
	*sock = pair[0];
	return pid;
}

static int ended(pid_t pid)
{
	int status;

	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static char *below(const char *name)
{
	char *path = str_printf("%s/%s", test_dir(), name);

	CHECK(mkdir(path, 0700) == 0 || errno == EEXIST);
	return path;
}

static bool has_files(const char *dir)
{
	autofree char *command = str_printf("test -n \"$(ls -A %s)\"", dir);

	return system(command) == 0;
}

enum { BIG = 3000 };

static void whole_dump(void)
{
	autofree char *dir = below("whole");
	struct page_client *c;
	bool parent = true;
	char *data = mem_alloc(BIG * page), *got = mem_alloc(BIG * page);
	int sock;
	pid_t pid = start(dir, &sock);
	const struct ck_page_peer peer = { .socket = sock };

	for (size_t i = 0; i < BIG * page; i++)
		data[i] = (char)(i / page * 31 + i);
	CHECK_OK(page_client_connect(&peer, &c));
	CHECK_OK(page_client_open(c, false, 7, &parent));
	CHECK(!parent);
	const struct client_piece first[] = { { 0x1000, 1, 4, data }, { 0x2000, 2, 4, data + page }, { 0x9000, 5, 2, NULL } };
	const struct client_piece second[] = { { 0x100000, BIG - 3, 6, data + 3 * page } };
	CHECK_OK(page_client_add(c, first, 3));
	CHECK_OK(page_client_add(c, second, 1));
	CHECK_OK(page_client_open(c, true, 8, &parent));
	CHECK_OK(page_client_finish(c));
	page_client_free(&c);
	close(sock);
	CHECK_EQ(ended(pid), 0);
	autofree char *pages = str_printf("%s/pages-65537.img", dir);
	autoclose int fd = open(pages, O_RDONLY | O_CLOEXEC);
	CHECK_EQ(fd_pread_all(fd, got, BIG * page, 0), 0);
	CHECK(!memcmp(got, data, BIG * page));
	CHECK_EQ(lseek(fd, 0, SEEK_END), BIG * page);
	free(data);
	free(got);
}

/* A dump by a CRIU before 4, whose headers are shorter; its content is the file's. */
static void older_dumps(void)
{
	static const char content[65 * WIRE_PAGE] = { 1 };
	static const struct {
		uint32_t command, pages;
		uint64_t address, id;
	} said[] = { { WIRE_PARENT, 0, 0, 0x701 }, { WIRE_OPEN2, 0, 0, 0x701 }, { WIRE_ADD_F | 4 << 16, 1, 0x4000, 0x701 },
		     { WIRE_ADD_F | 4 << 16, 65, 0x6000, 0x701 }, { WIRE_CLOSE, 0, 0, 0 } };
	autofree char *dir = below("older"), *file = str_printf("%s/pages-65537.img", dir);
	unsigned char answer[9];
	struct stat st;
	int sock;
	pid_t pid = start(dir, &sock);

	for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
		CHECK(page_send(sock, &said[i], sizeof said[i]) == 0);
		if (said[i].pages)
			CHECK(page_send(sock, content, said[i].pages * WIRE_PAGE) == 0);
	}
	shutdown(sock, SHUT_WR);
	CHECK_EQ(recv(sock, answer, sizeof answer, MSG_WAITALL), sizeof answer);   /* i32, byte, i32 */
	CHECK_EQ(ended(pid), 0);
	CHECK(stat(file, &st) == 0 && st.st_size == 66 * WIRE_PAGE);
	close(sock);
}

static void older_messages(void)
{
	static const struct {
		uint32_t command, pages;
		uint64_t address, id;
	} get = { WIRE_GET, 3, 0x7f0000005000, 7 };
	unsigned char bytes[WIRE_SIZE], same[WIRE_SIZE];
	struct wire_message m;

	memcpy(bytes, &get, sizeof get);
	CHECK(wire_is_old(bytes));
	wire_widen(bytes);
	CHECK(!wire_is_old(bytes));
	CHECK_OK(wire_decode(bytes, &m));
	CHECK(m.command == WIRE_GET && m.pages == 3 && m.address == 0x7f0000005000 && m.id == 7);
	wire_encode(&m, same);
	CHECK(!memcmp(bytes, same, sizeof same));
	wire_narrow(bytes);
	CHECK(!memcmp(bytes, &get, sizeof get));
	header(bytes, WIRE_OPEN2, 0, 0, 0x701);
	CHECK(!wire_is_old(bytes));
	header(bytes, WIRE_GET, 3, 0x7f0000005000, 7);
	memset(bytes + 4, 0xa5, 4);   /* CRIU 4 sends whatever it has there */
	CHECK(!wire_is_old(bytes));
	header(bytes, WIRE_CLOSE, 0, 0, 0);
	CHECK(!wire_is_old(bytes));
}

/* Whatever ends a session before CLOSE: an error, and nothing in the directory. */
static void broken_dumps(void)
{
	autofree char *dir = below("broken");
	unsigned char open_7[WIRE_SIZE], add[WIRE_SIZE], other[WIRE_SIZE], low[WIRE_SIZE], none[WIRE_SIZE], inherit[WIRE_SIZE], get[WIRE_SIZE];
	char content[2 * WIRE_PAGE] = { 1 };

	header(open_7, WIRE_OPEN2, 0, 0, 0x701);
	header(add, WIRE_ADD_F | 4 << 16, 2, 0x4000, 0x701);
	header(other, WIRE_ADD_F | 4 << 16, 2, 0x4000, 0x801);
	header(low, WIRE_ADD_F | 2 << 16, 2, 0x5000, 0x701);
	header(none, WIRE_ADD_F, 2, 0x8000, 0x701);
	header(inherit, WIRE_ADD_F | 1 << 16, 2, 0x8000, 0x701);
	header(get, WIRE_GET, 2, 0x8000, 7);
	const struct {
		const void *data[4];
		size_t size[4];
		int error;
	} cases[] = {
		{ { NULL }, { 0 }, ECONNRESET },
		{ { open_7 }, { 20 }, ECONNRESET },
		{ { open_7 }, { 32 }, ECONNRESET },
		{ { open_7, add, content }, { 32, 32, 5000 }, ECONNRESET },
		{ { open_7, add, content }, { 32, 32, 8192 }, ECONNRESET },
		{ { add }, { 32 }, EPROTO },
		{ { open_7, open_7 }, { 32, 32 }, EPROTO },
		{ { open_7, other }, { 32, 32 }, EPROTO },
		{ { open_7, add, content, low }, { 32, 32, 8192, 32 }, EPROTO },
		{ { open_7, none }, { 32, 32 }, EPROTO },
		{ { open_7, inherit }, { 32, 32 }, EPROTO },
		{ { get }, { 32 }, EPROTO },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		int sock;
		pid_t pid = start(dir, &sock);
		for (size_t k = 0; k < 4; k++)
			if (cases[i].size[k])
				page_send(sock, cases[i].data[k], cases[i].size[k]);
		shutdown(sock, SHUT_WR);
		int got = ended(pid);
		if (got != cases[i].error)
			test_failed(__FILE__, __LINE__, "case %zu: %s", i, strerror(got));
		if (has_files(dir))
			test_failed(__FILE__, __LINE__, "case %zu leaves files", i);
		close(sock);
	}
}

/* A server that goes away: the client says so, and does not hang or die of a signal. */
static void server_gone(void)
{
	int pair[2];
	struct page_client *c;
	bool parent;
	static char content[64 * WIRE_PAGE];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	const struct ck_page_peer peer = { .socket = pair[0] };
	CHECK_OK(page_client_connect(&peer, &c));
	close(pair[1]);
	CHECK(page_client_open(c, false, 7, &parent) < 0);
	const struct client_piece piece = { 0x1000, 64, 4, content };
	CHECK(page_client_add(c, &piece, 1) < 0);
	CHECK(page_client_finish(c) < 0);
	page_client_free(&c);
	close(pair[0]);
}

const struct test tests[] = { TEST(messages),	TEST(messages_bad), TEST(whole_dump),  TEST(older_messages),
			      TEST(older_dumps), TEST(broken_dumps), TEST(server_gone), {} };
