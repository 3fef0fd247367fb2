/* SPDX-License-Identifier: Apache-2.0 */
/*
 * epoll: events and data of each entry, edge-triggered, one-shot (fired and not), exclusive; nested; two numbers of one
 * file; one epoll shared with a child.
 */
#include "cr.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

static int ep, outer, plain, edge, oneshot, fired, twin, exclusive;

static int ready_event(void)
{
	int fd = eventfd(1, EFD_NONBLOCK);

	need(fd >= 0);
	return fd;
}

static void add(int epoll, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event e = { .events = events, .data.u64 = data };

	need(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) == 0);
}

/* The entries of an epoll as its fdinfo shows them, sorted; without positions and inodes, which may change. */
static void entries(int epoll, char *text, size_t size)
{
	char path[64], line[256], found[32][64];
	int n = 0, tfd;
	unsigned events;
	unsigned long long data;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", epoll);
	FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "tfd: %d events: %x data: %llx", &tfd, &events, &data) == 3 && n < 32)
			snprintf(found[n++], sizeof(found[0]), "%d:%x:%llx ", tfd, events, data);
	if (f)
		fclose(f);
	qsort(found, n, sizeof(found[0]), (int (*)(const void *, const void *))(void (*)(void))strcmp);
	text[0] = 0;
	for (int i = 0; i < n; i++)
		strncat(text, found[i], size - strlen(text) - 1);
}

/* What is ready now, as the sum of 1 << data for small data. */
static unsigned ready(int epoll)
{
	struct epoll_event e[16];
	unsigned set = 0;
	int n = epoll_wait(epoll, e, 16, 0);

	for (int i = 0; i < n; i++)
		set |= e[i].data.u64 < 32 ? 1U << e[i].data.u64 : 1U << 31;
	return set;
}

static int child(void *arg)
{
	(void)arg;
	cr_child_ready();
	cr_wait_go();
	while (access(cr_path("child"), F_OK) < 0)
		cr_sleep_ms(1);
	expect(ready(ep) & 1 << 1, "child: the shared epoll does not show what is ready");
	return 0;
}

int main(int argc, char **argv)
{
	struct epoll_event e;
	char before[1024], after[1024];

	cr_begin(argc, argv);
	ep = epoll_create1(EPOLL_CLOEXEC);
	outer = epoll_create1(0);
	plain = ready_event(), edge = ready_event(), oneshot = ready_event(), fired = ready_event();
	exclusive = ready_event();
	add(ep, plain, EPOLLIN, 1);
	add(ep, edge, EPOLLIN | EPOLLET, 2);
	add(ep, oneshot, EPOLLIN | EPOLLONESHOT, 3);
	twin = dup(plain);
	add(ep, twin, EPOLLIN | EPOLLPRI | EPOLLRDHUP, 0xfeedbeefcafe0005);
	add(ep, exclusive, EPOLLIN | EPOLLEXCLUSIVE | EPOLLWAKEUP, 6);
	add(outer, ep, EPOLLIN, 8);
	int once = epoll_create1(0); /* a one-shot entry that has fired has no events left */
	add(once, fired, EPOLLIN | EPOLLONESHOT, 4);
	need(epoll_wait(once, &e, 1, 0) == 1 && epoll_wait(once, &e, 1, 0) == 0);
	pid_t pid = cr_fork(child, NULL);
	entries(ep, before, sizeof(before));
	cr_wait();

	entries(ep, after, sizeof(after));
	expect(!strcmp(before, after), "entries '%s' instead of '%s'", after, before);
	expect(fcntl(ep, F_GETFD) == FD_CLOEXEC && fcntl(outer, F_GETFD) == 0, "close-on-exec");
	expect(ready(outer) == 1 << 8, "nested: %#x is ready", ready(outer));
	unsigned set = ready(ep);
	expect((set & 1 << 1) && (set & 1 << 3) && (set & 1 << 6) && (set & 1U << 31), "%#x is ready", set);
	set = ready(ep);
	expect(!(set & 1 << 2), "edge-triggered: ready twice");
	expect(!(set & 1 << 3), "one-shot: ready twice");
	eventfd_write(edge, 1);
	expect(ready(ep) & 1 << 2, "edge-triggered: a new edge does not show");
	expect(ready(once) == 0, "one-shot that had fired: ready again");
	e = (struct epoll_event){ .events = EPOLLIN, .data.u64 = 9 };
	expect(epoll_ctl(once, EPOLL_CTL_MOD, fired, &e) == 0 && ready(once) == 1 << 9, "one-shot that had fired: rearming");
	cr_write("child", 0, "");
	cr_join(pid);
	return cr_end();
}
