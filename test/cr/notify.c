/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inotify: watches of a directory, a file, and one whose number is not the next one; an instance without any; nothing is noticed but
 * what happens afterwards. With the argument `fanotify` a group with a mark on a directory, an ignored file in it, and a mark
 * on a mount.
 */
#include "cr.h"

#include <sys/fanotify.h>
#include <sys/inotify.h>

static int watch(int fd, const char *path, uint32_t mask)
{
	int wd = inotify_add_watch(fd, path, mask);

	need(wd >= 0);
	return wd;
}

/* The next event that is of this watch and has this bit and name; nothing else comes before. */
static void expect_event(int fd, int wd, uint32_t mask, const char *name)
{
	char buffer[4096] __attribute__((aligned(8)));
	const struct inotify_event *e = (void *)buffer;
	ssize_t n = read(fd, buffer, sizeof(struct inotify_event) + NAME_MAX + 1);

	expect(n > 0 && e->wd == wd && (e->mask & mask) && !strcmp(e->len ? e->name : "", name), "watch %d: %s, event of %d, mask %#x, '%s'", wd,
	       n < 0 ? strerror(errno) : "", n > 0 ? e->wd : 0, n > 0 ? e->mask : 0, n > 0 && e->len ? e->name : "");
}

static bool nothing(int fd)
{
	char buffer[4096];

	return read(fd, buffer, sizeof(buffer)) < 0 && errno == EAGAIN;
}

static int with_inotify(void)
{
	char directory[PATH_MAX], file[PATH_MAX];

	strcpy(directory, cr_path("watched"));
	need(mkdir(directory, 0755) == 0);
	strcpy(file, cr_path("watched/file"));
	cr_write("watched/file", 0, "one");
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC), none = inotify_init1(IN_NONBLOCK), wds[6];
	need(fd >= 0 && none >= 0);
	for (int i = 0; i < 6; i++)
		need((wds[i] = watch(fd, i % 2 ? file : directory, IN_DELETE)) >= 0 && (i > 3 || inotify_rm_watch(fd, wds[i]) == 0));
	for (char events[1024]; read(fd, events, sizeof(events)) > 0;)
		; /* that they were removed */
	watch(fd, directory, IN_CREATE | IN_DELETE);
	watch(fd, file, IN_MODIFY);
	need(wds[5] > 5);
	cr_wait();

	expect(nothing(fd) && nothing(none), "there are events before anything has happened");
	expect(fcntl(fd, F_GETFD) == FD_CLOEXEC, "close-on-exec is lost");
	cr_write("watched/new", 0, "");
	expect_event(fd, wds[4], IN_CREATE, "new");
	cr_write("watched/file", O_APPEND, "two");
	expect_event(fd, wds[5], IN_MODIFY, "");
	expect(unlink(cr_path("watched/new")) == 0, "unlink: %s", strerror(errno));
	expect_event(fd, wds[4], IN_DELETE, "new");
	expect(nothing(fd) && nothing(none), "there are more events");
	expect(inotify_add_watch(none, directory, IN_CREATE) == 1, "the numbers of the other instance do not begin with 1");
	return cr_end();
}

static ssize_t fan_read(int fd, uint64_t *mask)
{
	struct fanotify_event_metadata e;
	ssize_t n = read(fd, &e, sizeof(e));

	*mask = n > 0 ? e.mask : 0;
	if (n > 0 && e.fd >= 0)
		close(e.fd);
	return n;
}

static int with_fanotify(void)
{
	char directory[PATH_MAX];
	uint64_t mask;

	strcpy(directory, cr_path("watched"));
	need(mkdir(directory, 0755) == 0);
	cr_write("watched/file", 0, "one");
	cr_write("watched/ignored", 0, "one");
	int fd = fanotify_init(FAN_CLASS_NOTIF | FAN_NONBLOCK | FAN_CLOEXEC, O_RDONLY | O_LARGEFILE);
	int whole = fanotify_init(FAN_CLASS_NOTIF | FAN_NONBLOCK, O_RDONLY);
	if (fd < 0 || whole < 0)
		cr_skip(": fanotify: %s", strerror(errno));
	need(fanotify_mark(fd, FAN_MARK_ADD, FAN_MODIFY | FAN_EVENT_ON_CHILD, AT_FDCWD, directory) == 0);
	need(fanotify_mark(fd, FAN_MARK_ADD | FAN_MARK_IGNORED_MASK | FAN_MARK_IGNORED_SURV_MODIFY, FAN_MODIFY, AT_FDCWD, cr_path("watched/ignored")) == 0);
	need(fanotify_mark(whole, FAN_MARK_ADD | FAN_MARK_MOUNT, FAN_CLOSE_WRITE, AT_FDCWD, directory) == 0);
	cr_wait();

	expect(fan_read(fd, &mask) < 0 && errno == EAGAIN, "an event before anything has happened: %#jx", (uintmax_t)mask);
	cr_write("watched/ignored", O_APPEND, "two");
	expect(fan_read(fd, &mask) < 0 && errno == EAGAIN, "an ignored file is not ignored: %#jx", (uintmax_t)mask);
	cr_write("watched/file", O_APPEND, "two");
	expect(fan_read(fd, &mask) > 0 && (mask & FAN_MODIFY), "a change is not noticed: %s, %#jx", strerror(errno), (uintmax_t)mask);
	expect(fan_read(whole, &mask) > 0 && (mask & FAN_CLOSE_WRITE), "the mount is not watched: %s, %#jx", strerror(errno), (uintmax_t)mask);
	return cr_end();
}

int main(int argc, char **argv)
{
	cr_begin(argc, argv);
	return argc > 2 ? with_fanotify() : with_inotify();
}
