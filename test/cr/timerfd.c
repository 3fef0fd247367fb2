/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timer descriptors: armed relative, periodic, absolute; expired with ticks unread; disarmed; three clocks; non-blocking;
 * a thread blocked in read.
 */
#include "cr.h"

#include <poll.h>
#include <pthread.h>
#include <sys/timerfd.h>

static int make(clockid_t clock, int fd_flags, int flags, double value, double interval)
{
	struct itimerspec t = { { (time_t)interval, (long)(interval * 1e9) % 1000000000 },
				{ (time_t)value, (long)((value - (time_t)value) * 1e9) } };
	int fd = timerfd_create(clock, fd_flags);

	need(fd >= 0 && timerfd_settime(fd, flags, &t, NULL) == 0);
	return fd;
}

static void expect_left(const char *what, int fd, double least, double most, double interval)
{
	struct itimerspec t = { 0 };

	expect(timerfd_gettime(fd, &t) == 0, "%s: %s", what, strerror(errno));
	double left = t.it_value.tv_sec + t.it_value.tv_nsec / 1e9, every = t.it_interval.tv_sec + t.it_interval.tv_nsec / 1e9;
	expect(left >= least && left <= most, "%s: %.6f s left, not %.3f to %.3f", what, left, least, most);
	expect(every > interval - 1e-6 && every < interval + 1e-6, "%s: interval %.6f instead of %.6f", what, every, interval);
}

static void *blocked(void *arg)
{
	uint64_t ticks = 0;
	ssize_t n = read(*(int *)arg, &ticks, 8);

	expect(n == 8 && ticks >= 1, "blocked read: %zd, %ju ticks: %s", n, (uintmax_t)ticks, strerror(errno));
	return NULL;
}

int main(int argc, char **argv)
{
	uint64_t ticks = 0;
	pthread_t t;

	cr_begin(argc, argv);
	int relative = make(CLOCK_MONOTONIC, TFD_CLOEXEC, 0, 1000.5, 0);
	int periodic = make(CLOCK_BOOTTIME, TFD_NONBLOCK, 0, 1500.25, 7.75);
	int absolute = make(CLOCK_REALTIME, 0, TFD_TIMER_ABSTIME, cr_now(CLOCK_REALTIME) + 2000, 0);
	int expired = make(CLOCK_MONOTONIC, TFD_NONBLOCK, 0, 0.001, 1000);
	int disarmed = make(CLOCK_MONOTONIC, TFD_NONBLOCK, 0, 0, 0);
	int soon = make(CLOCK_MONOTONIC, 0, 0, 2, 0);
	need(pthread_create(&t, NULL, blocked, &soon) == 0);
	need(poll(&(struct pollfd){ expired, POLLIN, 0 }, 1, 20000) == 1);
	cr_wait_asleep();
	cr_wait();
	expect_left("relative", relative, 900, 1000.5, 0);
	expect_left("periodic", periodic, 1400, 1500.25, 7.75);
	expect_left("absolute", absolute, 1000, 2000, 0);
	expect_left("expired", expired, 900, 1000, 1000);
	expect_left("disarmed", disarmed, 0, 0, 0);
	expect(fcntl(relative, F_GETFD) == FD_CLOEXEC && fcntl(periodic, F_GETFL) == (O_RDWR | O_NONBLOCK), "flags");
	expect(read(expired, &ticks, 8) == 8 && ticks == 1, "expired: %ju ticks: %s", (uintmax_t)ticks, strerror(errno));
	expect(read(disarmed, &ticks, 8) < 0 && errno == EAGAIN, "disarmed: it ticks");
	pthread_join(t, NULL);
	return cr_end();
}
