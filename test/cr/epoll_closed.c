/* SPDX-License-Identifier: Apache-2.0 */
/*
 * epoll entries whose descriptor number is closed, while the file lives on under another number; and one whose number is
 * another file by now. The entries go on reporting, and cannot be removed by the closed number: that is how the kernel
 * is, and a program may depend on it.
 */
#include "cr.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

static bool reports(int epoll, uint64_t data)
{
	struct epoll_event e[8];
	int n = epoll_wait(epoll, e, 8, 0);

	for (int i = 0; i < n; i++)
		if (e[i].data.u64 == data)
			return true;
	return false;
}

int main(int argc, char **argv)
{
	struct epoll_event e = { .events = EPOLLIN, .data.u64 = 1 };

	cr_begin(argc, argv);
	int ep = epoll_create1(0), a = eventfd(0, EFD_NONBLOCK), b = eventfd(0, EFD_NONBLOCK), p[2];
	need(ep >= 0 && a >= 0 && b >= 0 && pipe(p) == 0);
	need(epoll_ctl(ep, EPOLL_CTL_ADD, a, &e) == 0);
	int a2 = fcntl(a, F_DUPFD, 100);
	close(a);
	e.data.u64 = 2;
	need(epoll_ctl(ep, EPOLL_CTL_ADD, b, &e) == 0);
	int b2 = fcntl(b, F_DUPFD, 100);
	need(dup2(p[0], b) == b);
	e.data.u64 = 3;
	need(epoll_ctl(ep, EPOLL_CTL_ADD, b, &e) == 0); /* the same number again, for the pipe */
	cr_wait();
	expect(fcntl(a, F_GETFD) < 0, "a closed number is open");
	expect(!reports(ep, 1) && !reports(ep, 2) && !reports(ep, 3), "something is ready");
	eventfd_write(a2, 1);
	expect(reports(ep, 1), "closed number: its entry does not report any more");
	eventfd_write(b2, 1);
	expect(reports(ep, 2), "number in other use: its entry does not report any more");
	expect(write(p[1], "x", 1) == 1 && reports(ep, 3), "the entry of the number's present file does not report");
	return cr_end();
}
