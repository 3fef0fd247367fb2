/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files in memory: position, flags, owner, mode; one that is mapped shared and privately, and shared with a child; a large one with
 * holes, whose last page is used in part; sealed ones (one mapped before it was sealed against new writing); an empty one; two
 * descriptions of one; one that nothing but a mapping keeps.
 */
#include "cr.h"

#include <sys/mman.h>

#define SIZE (256 << 10)

static char *shared;

static int child(void *arg)
{
	(void)arg;
	cr_child_ready();
	cr_wait_go();
	for (int i = 0; i < 20000 && __atomic_load_n(&shared[1], __ATOMIC_SEQ_CST) != 'x'; i++)
		cr_sleep_ms(1);
	expect(shared[1] == 'x', "child: %d in shared memory", shared[1]);
	__atomic_store_n(&shared[2], 'y', __ATOMIC_SEQ_CST);
	return 0;
}

static int make(const char *name, unsigned flags)
{
	int fd = memfd_create(name, flags);

	need(fd >= 0);
	return fd;
}

static const char *proc_fd(int fd)
{
	static char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return path;
}

static void check_link(int fd, const char *wanted)
{
	char text[300] = "";

	expect(readlink(proc_fd(fd), text, sizeof(text) - 1) > 0 && !strcmp(text, wanted), "descriptor %d is %s, not %s", fd, text, wanted);
}

int main(int argc, char **argv)
{
	struct stat st;
	char text[32] = "";

	cr_begin(argc, argv);
	int plain = make("plain file", MFD_CLOEXEC);
	need(write(plain, "hello world", 11) == 11 && lseek(plain, 6, SEEK_SET) == 6 && fchmod(plain, 0640) == 0 && fchown(plain, 12, 34) == 0);
	int again = open(proc_fd(plain), O_RDONLY | O_NONBLOCK), copy = dup(plain);
	need(again >= 0 && copy >= 0 && lseek(again, 2, SEEK_SET) == 2);

	int large = make("large", MFD_ALLOW_SEALING);
	need(ftruncate(large, SIZE + 100) == 0);
	shared = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, large, 0);
	char *private = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, large, 0);
	need(shared != MAP_FAILED && private != MAP_FAILED && pwrite(large, "tail", 4, SIZE + 50) == 4);
	cr_fill(shared + 8192, 8192, 1);
	cr_fill(private + 12288, 4096, 2);

	int sealed = make("sealed", MFD_ALLOW_SEALING), future = make("future", MFD_ALLOW_SEALING), empty = make("", 0), gone = make("gone", 0);
	need(write(sealed, "fixed", 5) == 5 && fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0);
	need(ftruncate(future, 4096) == 0 && ftruncate(gone, 8192) == 0);
	char *writable = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, future, 0);
	char *readable = mmap(NULL, 4096, PROT_READ, MAP_SHARED, sealed, 0);
	char *alone = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, gone, 0);
	need(writable != MAP_FAILED && alone != MAP_FAILED && fcntl(future, F_ADD_SEALS, F_SEAL_FUTURE_WRITE) == 0 && close(gone) == 0);
	strcpy(writable, "before");
	cr_fill(alone, 8192, 3);
	pid_t pid = cr_fork(child, NULL);
	cr_wait();

	check_link(plain, "/memfd:plain file (deleted)");
	expect(fstat(plain, &st) == 0 && (st.st_mode & 07777) == 0640 && st.st_uid == 12 && st.st_gid == 34 && st.st_size == 11,
	       "plain: mode %o, owner %u:%u, size %jd", st.st_mode, st.st_uid, st.st_gid, (intmax_t)st.st_size);
	expect(fcntl(plain, F_GETFD) == FD_CLOEXEC && (fcntl(plain, F_GET_SEALS) & F_SEAL_SEAL), "plain: can be sealed now");
	expect(read(plain, text, 3) == 3 && !memcmp(text, "wor", 3), "plain: read %.3s", text);
	expect(read(copy, text, 9) == 2 && !memcmp(text, "ld", 2), "the copy has a position of its own");
	expect(read(again, text, 9) == 9 && !memcmp(text, "llo world", 9), "read through another description: %.9s", text);
	expect((fcntl(again, F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == (O_RDONLY | O_NONBLOCK), "flags %#o", fcntl(again, F_GETFL));

	expect(fstat(large, &st) == 0 && st.st_size == SIZE + 100, "large: size %jd", (intmax_t)st.st_size);
	expect(pread(large, text, 5, SIZE + 50) == 5 && !memcmp(text, "tail", 5), "large: its last page has %.4s", text);
	cr_check_fill("shared", shared + 8192, 8192, 1);
	expect(cr_is_zero(shared, 8192) && cr_is_zero(shared + 16384, SIZE - 16384), "holes have content");
	cr_check_fill("private, not written", private + 8192, 4096, 1);
	cr_check_fill("private, written", private + 12288, 4096, 2);
	expect(pwrite(large, "x", 1, 1) == 1 && shared[1] == 'x' && private[1] == 'x', "mappings and file are not one any more");
	cr_join(pid);
	expect(shared[2] == 'y', "the child's mapping is not shared any more");
	expect(fcntl(large, F_GET_SEALS) == 0 && fcntl(large, F_ADD_SEALS, F_SEAL_GROW) == 0, "large: cannot be sealed any more");

	expect((fcntl(sealed, F_GET_SEALS) & 0x1f) == (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), "seals %#x", fcntl(sealed, F_GET_SEALS));
	expect(pread(sealed, text, 6, 0) == 5 && !memcmp(text, "fixed", 5), "sealed: %.5s", text);
	expect(readable == MAP_FAILED || !memcmp(readable, "fixed", 5), "sealed, mapped: %.5s", readable);
	expect(!strcmp(writable, "before") && strcpy(writable, "after") && pwrite(future, "no", 2, 0) < 0, "sealed against new writing: %s", writable);
	expect(fstat(empty, &st) == 0 && st.st_size == 0 && write(empty, "1", 1) == 1, "empty: %jd bytes", (intmax_t)st.st_size);
	check_link(empty, "/memfd: (deleted)");
	cr_check_fill("of the mapping alone", alone, 8192, 3);
	return cr_end();
}
