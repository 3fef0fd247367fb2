/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regular files: open flags, offsets (one beyond 4 GiB), close-on-exec, one description under several numbers (dup, fork,
 * and a second table of a child), two descriptions of one file, high descriptor numbers, O_PATH, names with odd
 * characters, a file in /proc of the process itself, signal-driven I/O owner.
 */
#include "cr.h"

#include <signal.h>

static struct {
	const char *name;
	int flags;
	int fd, seen;
} files[] = {
	{ "read-only", O_RDONLY },
	{ "write-only", O_WRONLY },
	{ "read-write", O_RDWR },
	{ "append", O_RDWR | O_APPEND },
	{ "nonblock", O_RDWR | O_NONBLOCK },
	{ "sync", O_RDWR | O_SYNC },
	{ "dsync", O_RDWR | O_DSYNC },
	{ "noatime", O_RDONLY | O_NOATIME },
	{ "largefile", O_RDWR | O_LARGEFILE },
	{ "path", O_PATH },
	{ "odd\n\\040 name", O_RDWR },
};
#define FILES (int)(sizeof(files) / sizeof(files[0]))

static off_t offset(int fd)
{
	return lseek(fd, 0, SEEK_CUR);
}

static void open_all(void)
{
	for (int i = 0; i < FILES; i++) {
		cr_write(files[i].name, O_TRUNC, "0123456789abcdef");
		files[i].fd = open(cr_path(files[i].name), files[i].flags);
		need(files[i].fd >= 0);
		files[i].seen = fcntl(files[i].fd, F_GETFL);
		if (!(files[i].flags & O_PATH))
			need(lseek(files[i].fd, 3 + i % 10, SEEK_SET) == 3 + i % 10);
		if (i % 2)
			need(fcntl(files[i].fd, F_SETFD, FD_CLOEXEC) == 0);
	}
}

static void check_all(void)
{
	for (int i = 0; i < FILES; i++) {
		int fd = files[i].fd, flags = fcntl(fd, F_GETFL);
		struct stat a = { 0 }, b = { 0 };
		expect(flags == files[i].seen, "%s: flags %#o instead of %#o", files[i].name, flags, files[i].seen);
		expect(fcntl(fd, F_GETFD) == (i % 2 ? FD_CLOEXEC : 0), "%s: descriptor flags %d", files[i].name,
		       fcntl(fd, F_GETFD));
		expect((files[i].flags & O_PATH) || offset(fd) == 3 + i % 10, "%s: offset %jd instead of %d", files[i].name,
		       (intmax_t)offset(fd), 3 + i % 10);
		expect(fstat(fd, &a) == 0 && stat(cr_path(files[i].name), &b) == 0 && a.st_ino == b.st_ino, "%s: another file",
		       files[i].name);
	}
}

static int shared_fd, own_fd;

static int child(void *arg)
{
	(void)arg;
	need((own_fd = open(cr_path("read-write"), O_RDONLY)) >= 0 && lseek(own_fd, 7, SEEK_SET) == 7);
	need(close(files[0].fd) == 0); /* the tables differ */
	cr_child_ready();
	cr_wait_go();
	expect(fcntl(files[0].fd, F_GETFD) < 0, "child: a closed descriptor is open");
	expect(offset(own_fd) == 7, "child: own offset %jd", (intmax_t)offset(own_fd));
	while (access(cr_path("moved"), F_OK) < 0) /* not before the parent has looked */
		cr_sleep_ms(1);
	expect(offset(shared_fd) == 4096, "child: the offset is not shared: %jd", (intmax_t)offset(shared_fd));
	expect(lseek(shared_fd, 8192, SEEK_SET) == 8192, "child: lseek: %s", strerror(errno));
	return 0;
}

int main(int argc, char **argv)
{
	struct f_owner_ex owner = { F_OWNER_PID, getpid() };
	char byte = 0;

	cr_begin(argc, argv);
	open_all();
	shared_fd = open(cr_path("large"), O_RDWR | O_CREAT | O_TRUNC, 0600);
	need(shared_fd >= 0 && lseek(shared_fd, 5LL << 30, SEEK_SET) == 5LL << 30);
	int twin = dup(shared_fd), high = fcntl(shared_fd, F_DUPFD_CLOEXEC, 900);
	int other = open(cr_path("large"), O_RDONLY), self = open("/proc/self/status", O_RDONLY);
	need(twin >= 0 && high >= 900 && other >= 0 && self >= 0);
	need(fcntl(other, F_SETOWN_EX, &owner) == 0 && fcntl(other, F_SETSIG, SIGRTMIN + 5) == 0);
	pid_t pid = cr_fork(child, NULL);
	cr_wait();

	check_all();
	expect(offset(shared_fd) == 5LL << 30, "large: offset %jd", (intmax_t)offset(shared_fd));
	expect(fcntl(high, F_GETFD) == FD_CLOEXEC && fcntl(twin, F_GETFD) == 0, "dup: close-on-exec");
	lseek(twin, 4096, SEEK_SET);
	expect(offset(shared_fd) == 4096 && offset(high) == 4096, "dup: the offset is not shared");
	expect(offset(other) == 0, "another description of the file has offset %jd", (intmax_t)offset(other));
	cr_write("moved", 0, "");
	cr_join(pid);
	expect(offset(shared_fd) == 8192, "fork: the offset is not shared: %jd", (intmax_t)offset(shared_fd));
	expect(pread(self, &byte, 1, 0) == 1 && byte == 'N', "/proc/self/status: byte %d: %s", byte, strerror(errno));
	expect(fcntl(other, F_GETOWN_EX, &owner) == 0 && owner.type == F_OWNER_PID && owner.pid == getpid(),
	       "signal owner: type %d, pid %d", owner.type, owner.pid);
	expect(fcntl(other, F_GETSIG) == SIGRTMIN + 5, "signal of the owner: %d", fcntl(other, F_GETSIG));
	expect(write(files[3].fd, "!", 1) == 1 && offset(files[3].fd) == 17, "append writes at offset %jd",
	       (intmax_t)offset(files[3].fd));
	return cr_end();
}
