/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that are deleted while they are open: one with data and holes, one open twice (by dup and through /proc), one that
 * is mapped, one whose name now is another file, one with two names (one of them deleted, with the argument `link`),
 * a deleted directory as current directory of a child. No name comes back.
 */
#include "cr.h"

#include <sys/mman.h>

#define SIZE (3UL << 20)

static int make(const char *name, uint64_t seed)
{
	static char data[1 << 16];
	int fd = open(cr_path(name), O_RDWR | O_CREAT | O_TRUNC, 0640);

	cr_fill(data, sizeof(data), seed);
	need(fd >= 0 && write(fd, data, sizeof(data)) == sizeof(data));
	return fd;
}

static void expect_data(const char *what, int fd, off_t at, uint64_t seed)
{
	static char data[1 << 16];

	expect(pread(fd, data, sizeof(data), at) == sizeof(data), "%s: read: %s", what, strerror(errno));
	cr_check_fill(what, data, sizeof(data), seed);
}

static int in_deleted(void *arg)
{
	char path[PATH_MAX];

	(void)arg;
	strcpy(path, cr_path("doomed dir"));
	need(mkdir(path, 0750) == 0 && chdir(path) == 0 && rmdir(path) == 0);
	cr_child_ready();
	cr_wait_go();
	expect(readlink("/proc/self/cwd", path, sizeof(path) - 1) > 0 && strstr(path, "doomed dir"), "deleted directory: cwd is '%s'", path);
	expect(open("file", O_WRONLY | O_CREAT, 0600) < 0 && errno == ENOENT, "a file can be made in a deleted directory");
	return 0;
}

int main(int argc, char **argv)
{
	char text[64] = "";
	struct stat st = { 0 };

	cr_begin(argc, argv);
	int holes = make("holes", 41), twice = make("twice", 42), mapped = make("mapped", 43), replaced = make("replaced", 44);
	int linked = make("linked", 45);
	need(ftruncate(holes, SIZE) == 0 && pwrite(holes, "end", 3, SIZE - 3) == 3 && lseek(holes, 12345, SEEK_SET) == 12345);
	need(fchown(holes, 1000, 1001) == 0 && fchmod(holes, 0604) == 0);
	int copy = dup(twice), reopened = open(cr_path("twice"), O_RDONLY | O_CLOEXEC);
	char *map = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_SHARED, mapped, 0);
	need(map != MAP_FAILED && reopened >= 0 && lseek(reopened, 99, SEEK_SET) == 99);
	need(link(cr_path("linked"), cr_path("other name")) == 0);
	need(unlink(cr_path("holes")) == 0 && unlink(cr_path("twice")) == 0 && unlink(cr_path("mapped")) == 0);
	need(unlink(cr_path("replaced")) == 0);
	if (argc > 2) /* --link-remap: torpor and CRIU need a name for a moment */
		need(unlink(cr_path("linked")) == 0);
	cr_write("replaced", 0, "a new file");
	pid_t pid = cr_fork(in_deleted, NULL);
	cr_wait();

	expect(fstat(holes, &st) == 0 && st.st_size == (off_t)SIZE && st.st_nlink == 0, "holes: size %jd, %ju links", (intmax_t)st.st_size,
	       (uintmax_t)st.st_nlink);
	expect(st.st_mode == (S_IFREG | 0604) && st.st_uid == 1000 && st.st_gid == 1001, "holes: mode %o of %d:%d", st.st_mode, st.st_uid, st.st_gid);
	expect(st.st_blocks < 2048, "holes: %jd blocks: no holes any more", (intmax_t)st.st_blocks);
	expect(lseek(holes, 0, SEEK_CUR) == 12345, "holes: offset");
	expect_data("holes", holes, 0, 41);
	expect(pread(holes, text, 3, SIZE - 3) == 3 && !memcmp(text, "end", 3), "holes: its end is '%.3s'", text);
	expect_data("twice", twice, 0, 42);
	expect_data("reopened", reopened, 0, 42);
	expect(lseek(reopened, 0, SEEK_CUR) == 99 && (fcntl(reopened, F_GETFL) & O_ACCMODE) == O_RDONLY, "reopened: offset or flags");
	lseek(copy, 7, SEEK_SET);
	expect(lseek(twice, 0, SEEK_CUR) == 7, "dup: the offset is not shared");
	expect(pwrite(twice, "!", 1, 0) == 1 && pread(reopened, text, 1, 0) == 1 && text[0] == '!', "reopened: it is another file now");
	cr_check_fill("mapped", map, 1 << 16, 43);
	map[0] = '?';
	expect(pread(mapped, text, 1, 0) == 1 && text[0] == '?', "mapped: the mapping is of another file");
	expect_data("replaced", replaced, 0, 44);
	expect(fstat(replaced, &st) == 0 && st.st_nlink == 0, "replaced: it has a name");
	expect_data("linked", linked, 0, 45);
	expect(fstat(linked, &st) == 0 && st.st_nlink == (argc > 2 ? 1 : 2), "linked: %ju links", (uintmax_t)st.st_nlink);
	expect(access(cr_path("holes"), F_OK) < 0 && access(cr_path("twice"), F_OK) < 0 && access(cr_path("mapped"), F_OK) < 0, "a name came back");
	cr_join(pid);
	expect(access(cr_path("doomed dir"), F_OK) < 0, "the directory came back");
	return cr_end();
}
