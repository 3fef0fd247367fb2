/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File locks: flock (shared and exclusive), POSIX (two ranges, read and write), open file description locks; held by a
 * parent and a child; somebody else cannot take them afterwards, and their holders can let them go.
 */
#include "cr.h"

#include <sys/file.h>

static int open_file(const char *name)
{
	int fd = open(cr_path(name), O_RDWR | O_CREAT, 0600);

	need(fd >= 0);
	return fd;
}

static struct flock range(short type, off_t from, off_t length)
{
	return (struct flock){ .l_type = type, .l_whence = SEEK_SET, .l_start = from, .l_len = length };
}

/* What keeps another process from write-locking a range: F_RDLCK, F_WRLCK, F_UNLCK, and whose it is. */
static void expect_lock(const char *what, int fd, off_t from, short type, pid_t pid)
{
	struct flock l = range(F_WRLCK, from, 1);

	expect(fcntl(fd, F_GETLK, &l) == 0, "%s: F_GETLK: %s", what, strerror(errno));
	expect(l.l_type == type, "%s: lock at %jd is %d instead of %d", what, (intmax_t)from, l.l_type, type);
	expect(type == F_UNLCK || l.l_pid == pid, "%s: lock at %jd of %d instead of %d", what, (intmax_t)from, l.l_pid, pid);
}

static int child(void *arg)
{
	int posix = open_file("child"), other = open_file("posix"), shared = open_file("shared");
	struct flock l = range(F_WRLCK, 5, 10);

	(void)arg;
	need(fcntl(posix, F_SETLK, &l) == 0 && flock(shared, LOCK_SH) == 0);
	cr_child_ready();
	cr_wait_go();
	expect_lock("parent's", other, 0, F_WRLCK, getppid());
	expect_lock("parent's", other, 9, F_WRLCK, getppid());
	expect_lock("parent's", other, 10, F_UNLCK, 0);
	expect_lock("parent's", other, 100, F_RDLCK, getppid());
	expect_lock("parent's", other, 1 << 20, F_RDLCK, getppid());
	cr_write("looked", 0, "");
	while (access(cr_path("leave"), F_OK) < 0)
		cr_sleep_ms(1);
	return 0;
}

int main(int argc, char **argv)
{
	cr_begin(argc, argv);
	int exclusive = open_file("exclusive"), shared = open_file("shared"), posix = open_file("posix"), ofd = open_file("ofd");
	struct flock a = range(F_WRLCK, 0, 10), b = range(F_RDLCK, 100, 0), c = range(F_WRLCK, 3, 4);
	need(flock(exclusive, LOCK_EX) == 0 && flock(shared, LOCK_SH) == 0);
	need(fcntl(posix, F_SETLK, &a) == 0 && fcntl(posix, F_SETLK, &b) == 0 && fcntl(ofd, F_OFD_SETLK, &c) == 0);
	pid_t pid = cr_fork(child, NULL);
	cr_wait();

	int again = open_file("exclusive");
	expect(flock(again, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK, "flock: somebody else can lock");
	again = open_file("shared");
	expect(flock(again, LOCK_SH | LOCK_NB) == 0 && flock(again, LOCK_EX | LOCK_NB) < 0, "flock: a shared lock is another one");
	expect_lock("child's", open_file("child"), 6, F_WRLCK, pid);
	expect_lock("child's", open_file("child"), 15, F_UNLCK, 0);
	struct flock l = range(F_WRLCK, 3, 1);
	again = open_file("ofd");
	expect(fcntl(again, F_OFD_GETLK, &l) == 0 && l.l_type == F_WRLCK && l.l_start == 3 && l.l_len == 4 && l.l_pid == -1,
	       "open file description lock: type %d, %jd+%jd", l.l_type, (intmax_t)l.l_start, (intmax_t)l.l_len);
	while (access(cr_path("looked"), F_OK) < 0)
		cr_sleep_ms(1);
	expect(flock(exclusive, LOCK_UN) == 0 && flock(open_file("exclusive"), LOCK_EX | LOCK_NB) == 0, "flock: unlocking: %s", strerror(errno));
	cr_write("leave", 0, "");
	cr_join(pid);
	return cr_end();
}
