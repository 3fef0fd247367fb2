/* SPDX-License-Identifier: Apache-2.0 */
/* Archives of temporary file systems: what goes in comes out, other tools read it, hostile ones do no harm. */
#include "ns/tar.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "harness.h"
#include "ns/gzip.h"

static int fresh(const char *name)
{
	autofree char *path = str_printf("%s/%s", test_dir(), name);

	CHECK(mkdir(path, 0755) == 0);
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void put(int dir, const char *name, const void *data, size_t size, mode_t mode)
{
	autoclose int fd = openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	CHECK_OK(fd_write_all(fd, data, size));
	CHECK(fchmod(fd, mode) == 0);
}

static int archive(int dir)
{
	autofree char *path = str_printf("%s/archive", test_dir());
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	CHECK_OK(tar_write(dir, fd, false));
	CHECK(lseek(fd, 0, SEEK_SET) == 0);
	return fd;
}

static void round_trip(void)
{
	int from = fresh("from"), to = fresh("to");
	char name[240], *big = mem_zalloc(300000), text[64] = "";
	autofree char *got = NULL;
	struct stat st;

	memset(name, 'n', sizeof name - 1);
	name[sizeof name - 1] = 0;
	big[250000] = 'x';
	CHECK(tar_is_empty(from));
	put(from, "file", "hello\n", 6, 0640);
	put(from, name, "long", 4, 0600);
	put(from, "big", big, 300000, 0600);
	CHECK(mkdirat(from, "sub", 0711) == 0 && symlinkat("../file", from, "sub/link") == 0 && linkat(from, "file", from, "sub/hard", 0) == 0);
	CHECK(mkfifoat(from, "fifo", 0600) == 0);
	CHECK(!tar_is_empty(from));
	int a = archive(from);
	CHECK_OK(tar_read(a, to));
	CHECK_EQ(file_read(to, "file", &got, 100), 6);
	CHECK_STR(got, "hello\n");
	CHECK(fstatat(to, "file", &st, 0) == 0 && (st.st_mode & 07777) == 0640 && st.st_nlink == 2);
	CHECK(fstatat(to, name, &st, 0) == 0 && st.st_size == 4);
	CHECK(fstatat(to, "big", &st, 0) == 0 && st.st_size == 300000 && st.st_blocks * 512 < 300000);   /* its holes are holes */
	CHECK(fstatat(to, "sub", &st, 0) == 0 && (st.st_mode & 07777) == 0711);
	CHECK(fstatat(to, "fifo", &st, 0) == 0 && S_ISFIFO(st.st_mode));
	CHECK(readlinkat(to, "sub/link", text, sizeof text - 1) == 7);
	CHECK_STR(text, "../file");
	free(big);
}

static void set_attribute(int dir, const char *name, const char *value, size_t size)
{
	autoclose int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);

	if (fsetxattr(fd, "user.torpor", value, size, 0) < 0)
		test_skip("no extended attributes here");
}

static void extended_attributes(void)
{
	int from = fresh("from"), to = fresh("to");
	char *large = mem_zalloc(2000), got[2048];

	memset(large, 'l', 2000);
	put(from, "file", "hello\n", 6, 0640);
	put(from, "plain", "hello\n", 6, 0640);
	CHECK(mkdirat(from, "sub", 0711) == 0);
	set_attribute(from, "file", "a\0b\n=c", 6);
	set_attribute(from, "sub", large, 2000);
	set_attribute(from, ".", "", 0);
	CHECK_OK(tar_read(archive(from), to));
	autoclose int file = openat(to, "file", O_RDONLY), plain = openat(to, "plain", O_RDONLY), sub = openat(to, "sub", O_RDONLY);
	CHECK(fgetxattr(file, "user.torpor", got, sizeof got) == 6 && !memcmp(got, "a\0b\n=c", 6));
	CHECK(fgetxattr(plain, "user.torpor", got, sizeof got) < 0);
	CHECK(fgetxattr(sub, "user.torpor", got, sizeof got) == 2000 && !memcmp(got, large, 2000));
	CHECK(fgetxattr(to, "user.torpor", got, sizeof got) == 0);
	free(large);
}

static void what_is_there_is_replaced(void)
{
	int from = fresh("from"), to = fresh("to");
	autofree char *got = NULL;

	put(from, "file", "new", 3, 0600);
	put(to, "file", "older", 5, 0600);
	CHECK(mkdirat(from, "dir", 0700) == 0 && mkdirat(to, "dir", 0755) == 0);
	CHECK_OK(tar_read(archive(from), to));
	CHECK_EQ(file_read(to, "file", &got, 100), 3);
	CHECK_STR(got, "new");
}

static void tar_reads_it(void)
{
	int from = fresh("from");
	char command[512];

	if (system("command -v tar >/dev/null && command -v gzip >/dev/null") != 0)
		test_skip("tar and gzip are not installed");
	put(from, "file", "hello\n", 6, 0640);
	close(archive(from));
	snprintf(command, sizeof command, "cd %s && tar tzf archive | grep -qx ./file", test_dir());
	CHECK_EQ(system(command), 0);
}

/* An archive with one file entry of that name. */
static int hostile(const char *name, char type, const char *link)
{
	autofree char *path = str_printf("%s/hostile", test_dir());
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct gzip *z = mem_alloc(sizeof *z);
	char block[512] = "", end[1024] = "";

	snprintf(block, 100, "%s", name);
	memcpy(block + 100, "0000644", 8);
	memcpy(block + 124, "00000000000", 12);
	block[156] = type;
	snprintf(block + 157, 100, "%s", link);
	memcpy(block + 257, "ustar\00000", 8);
	CHECK_OK(gzip_begin(z, fd));
	CHECK_OK(gzip_write(z, block, sizeof block));
	CHECK_OK(gzip_write(z, end, sizeof end));
	CHECK_OK(gzip_end(z));
	free(z);
	CHECK(lseek(fd, 0, SEEK_SET) == 0);
	return fd;
}

static void names_cannot_lead_outside(void)
{
	int to = fresh("to");
	autofree char *outside = str_printf("%s/out", test_dir());

	CHECK(tar_read(hostile("../out", '0', ""), to) < 0);
	CHECK(tar_read(hostile("/tmp/out", '0', ""), to) < 0);
	CHECK(tar_read(hostile("a/../../out", '0', ""), to) < 0);
	CHECK(symlinkat("..", to, "up") == 0);
	CHECK(tar_read(hostile("up/out", '0', ""), to) < 0);
	CHECK(tar_read(hostile("x", '1', "../archive"), to) < 0);
	CHECK(access(outside, F_OK) < 0);
}

static void cut_off_archives_are_errors(void)
{
	int from = fresh("from"), to = fresh("to");

	put(from, "file", "hello\n", 6, 0640);
	int a = archive(from);
	off_t size = lseek(a, 0, SEEK_END);
	for (off_t n = size - 1; n >= 0; n -= 13) {
		CHECK(ftruncate(a, n) == 0 && lseek(a, 0, SEEK_SET) == 0);
		err_clear();
		CHECK(tar_read(a, to) < 0);
		CHECK(err_count() > 0);
	}
}

const struct test tests[] = {
	TEST(round_trip),
	TEST(extended_attributes),
	TEST(what_is_there_is_replaced),
	TEST(tar_reads_it),
	TEST(names_cannot_lead_outside),
	TEST(cut_off_archives_are_errors),
	{},
};
