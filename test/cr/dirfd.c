/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories: one open for reading with half of it read, one by O_PATH, the root directory and /proc; openat through
 * them works, and getdents goes on where it was.
 */
#include "cr.h"

#include <dirent.h>
#include <stddef.h>
#include <sys/syscall.h>

#define ENTRIES 200

/* Reads names off a directory by small buffers; sets seen[i] for "f<i>". Returns how many it read. */
static int read_some(int fd, bool *seen, int most)
{
	char buffer[256];
	unsigned short reclen;
	int count = 0, i;

	while (count < most) {
		long n = syscall(SYS_getdents64, fd, buffer, sizeof(buffer));
		if (n <= 0)
			break;
		for (const char *at = buffer; at < buffer + n; at += reclen) {
			memcpy(&reclen, at + offsetof(struct dirent64, d_reclen), sizeof(reclen));
			if (sscanf(at + offsetof(struct dirent64, d_name), "f%d", &i) != 1 || i < 0 || i >= ENTRIES)
				continue;
			expect(!seen[i], "entry f%d comes twice", i);
			seen[i] = true;
			count++;
		}
	}
	return count;
}

int main(int argc, char **argv)
{
	bool seen[ENTRIES] = { 0 };
	char name[16], dir[PATH_MAX];

	cr_begin(argc, argv);
	strcpy(dir, cr_path("dir"));
	need(mkdir(dir, 0755) == 0);
	int fd = open(dir, O_RDONLY | O_DIRECTORY), path = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int root = open("/", O_RDONLY), proc = open("/proc", O_RDONLY | O_DIRECTORY);
	need(fd >= 0 && path >= 0 && root >= 0 && proc >= 0);
	for (int i = 0; i < ENTRIES; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		int f = openat(fd, name, O_WRONLY | O_CREAT, 0600);
		need(f >= 0 && close(f) == 0);
	}
	int first = read_some(fd, seen, ENTRIES / 2);
	need(first >= ENTRIES / 2 && first < ENTRIES);
	cr_wait();
	int second = read_some(fd, seen, ENTRIES);
	expect(first + second == ENTRIES, "%d and %d of %d entries read", first, second, ENTRIES);
	expect(faccessat(path, "f7", F_OK, 0) == 0, "openat through O_PATH: %s", strerror(errno));
	expect((fcntl(path, F_GETFL) & O_PATH) && fcntl(path, F_GETFD) == FD_CLOEXEC, "flags of the O_PATH descriptor");
	expect(faccessat(root, "proc", F_OK, 0) == 0, "the root directory: %s", strerror(errno));
	expect(faccessat(proc, "self/status", F_OK, 0) == 0, "/proc: %s", strerror(errno));
	return cr_end();
}
