/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Event counters: a plain value, zero, the largest value, non-blocking, close-on-exec, one shared with a
 * child. With the argument `semaphore` a semaphore as well.
 */
#include "cr.h"

#include <sys/eventfd.h>

static int shared;

static int child(void *arg)
{
	eventfd_t value = 0;

	(void)arg;
	cr_child_ready();
	cr_wait_go();
	expect(eventfd_read(shared, &value) == 0 && value == 4, "child: value %ju", (uintmax_t)value);
	return 0;
}

static void expect_value(const char *what, int fd, eventfd_t wanted)
{
	eventfd_t value = 0;

	expect(eventfd_read(fd, &value) == 0 && value == wanted, "%s: %#jx instead of %#jx: %s", what, (uintmax_t)value,
	       (uintmax_t)wanted, strerror(errno));
}

int main(int argc, char **argv)
{
	eventfd_t value;

	cr_begin(argc, argv);
	int plain = eventfd(0x1234567, EFD_CLOEXEC), semaphore = eventfd(3, EFD_NONBLOCK | (argc > 2 ? EFD_SEMAPHORE : 0));
	int zero = eventfd(0, EFD_NONBLOCK), most = eventfd(0, EFD_NONBLOCK);
	shared = eventfd(0, 0);
	need(plain >= 0 && semaphore >= 0 && zero >= 0 && most >= 0 && shared >= 0);
	need(eventfd_write(most, 0xfffffffffffffffeULL) == 0);
	pid_t pid = cr_fork(child, NULL);
	cr_wait();
	expect(fcntl(plain, F_GETFD) == FD_CLOEXEC && fcntl(plain, F_GETFL) == O_RDWR, "plain: flags %#o",
	       fcntl(plain, F_GETFL));
	expect(fcntl(semaphore, F_GETFL) == (O_RDWR | O_NONBLOCK), "semaphore: flags %#o", fcntl(semaphore, F_GETFL));
	expect_value("plain", plain, 0x1234567);
	for (int i = 0; argc > 2 && i < 3; i++)
		expect_value("semaphore", semaphore, 1);
	if (argc == 2)
		expect_value("non-blocking", semaphore, 3);
	expect(eventfd_read(semaphore, &value) < 0 && errno == EAGAIN, "semaphore: more than 3");
	expect(eventfd_read(zero, &value) < 0 && errno == EAGAIN, "zero: not zero");
	expect(eventfd_write(most, 1) < 0 && errno == EAGAIN, "most: one more fits");
	expect_value("most", most, 0xfffffffffffffffeULL);
	expect(eventfd_write(shared, 4) == 0, "write: %s", strerror(errno));
	cr_join(pid);
	return cr_end();
}
