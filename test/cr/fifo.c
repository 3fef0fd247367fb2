/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named pipes: unread data with both ends open in one process; a read-write end; a reader and a writer in two processes;
 * a reader without a writer.
 */
#include "cr.h"

static int make(const char *name, int flags)
{
	int fd;

	need(mkfifo(cr_path(name), 0600) == 0 || errno == EEXIST);
	fd = open(cr_path(name), flags);
	need(fd >= 0);
	return fd;
}

static void expect_text(const char *what, int fd, const char *wanted)
{
	char text[100] = "";
	ssize_t n = read(fd, text, sizeof(text) - 1);

	expect(n >= 0 && !strcmp(text, wanted), "%s: '%s' (%zd) instead of '%s'", what, text, n, wanted);
}

/* Without what the kernel adds by itself (O_LARGEFILE is 0 in this program's headers). */
static int flags(int fd)
{
	return fcntl(fd, F_GETFL) & ~0100000;
}

static int child(void *arg)
{
	close(*(int *)arg);
	int fd = make("shared", O_WRONLY);

	need(write(fd, "before", 6) == 6);
	cr_child_ready();
	cr_wait_go();
	expect(write(fd, " and after", 10) == 10, "child: write: %s", strerror(errno));
	return 0;
}

int main(int argc, char **argv)
{
	cr_begin(argc, argv);
	int reader = make("plain", O_RDONLY | O_NONBLOCK), writer = make("plain", O_WRONLY);
	int both = make("both", O_RDWR), lonely = make("lonely", O_RDONLY | O_NONBLOCK);
	int shared = make("shared", O_RDONLY | O_NONBLOCK);

	need(write(writer, "unread", 6) == 6 && write(both, "to myself", 9) == 9);
	pid_t pid = cr_fork(child, &shared);
	cr_wait();
	expect(flags(reader) == (O_RDONLY | O_NONBLOCK), "flags %#o", flags(reader));
	expect(flags(writer) == O_WRONLY && flags(both) == O_RDWR, "flags of writers");
	expect_text("plain", reader, "unread");
	expect_text("both", both, "to myself");
	expect_text("lonely", lonely, "");
	expect(write(writer, "more", 4) == 4, "write: %s", strerror(errno));
	expect_text("plain", reader, "more");
	cr_join(pid);
	expect_text("shared", shared, "before and after");
	expect_text("shared, at its end", shared, "");
	int again = open(cr_path("lonely"), O_WRONLY | O_NONBLOCK);
	expect(again >= 0 && write(again, "hello", 5) == 5, "a writer does not find the restored reader: %s", strerror(errno));
	expect_text("lonely", lonely, "hello");
	return cr_end();
}
