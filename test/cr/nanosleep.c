/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads asleep for three seconds: nanosleep, clock_nanosleep relative and absolute on two clocks. None may end with
 * EINTR, none early. A relative sleep has as much left as when it was saved, or sleeps until its old end; an absolute
 * one ends at its time, or at once when that has passed.
 */
#include "cr.h"

#include <pthread.h>

#define SECONDS 3.0
static pthread_barrier_t ready;

static struct timespec spec(double t)
{
	return (struct timespec){ (time_t)t, (long)((t - (time_t)t) * 1e9) };
}

struct sleeper {
	const char *name;
	clockid_t clock;
	int flags; /* -1: nanosleep */
};
static const struct sleeper sleepers[] = {
	{ "nanosleep", CLOCK_MONOTONIC, -1 },
	{ "relative", CLOCK_MONOTONIC, 0 },
	{ "relative, real", CLOCK_REALTIME, 0 },
	{ "absolute", CLOCK_MONOTONIC, TIMER_ABSTIME },
	{ "absolute, real", CLOCK_REALTIME, TIMER_ABSTIME },
};
#define SLEEPERS (sizeof(sleepers) / sizeof(sleepers[0]))

static void *fall_asleep(void *arg)
{
	const struct sleeper *s = arg;
	struct timespec left = { 0, 0 };
	int r;

	pthread_barrier_wait(&ready);
	double start = cr_now(s->clock);
	struct timespec t = spec(s->flags == TIMER_ABSTIME ? start + SECONDS : SECONDS);
	if (s->flags < 0)
		r = nanosleep(&t, &left) < 0 ? errno : 0;
	else
		r = clock_nanosleep(s->clock, s->flags, &t, &left);
	double slept = cr_now(s->clock) - start;
	expect(r == 0, "%s: %s after %.3f s, %.3f left", s->name, strerror(r), slept, left.tv_sec + left.tv_nsec / 1e9);
	expect(slept >= SECONDS - 0.01, "%s: %.3f s instead of %.1f", s->name, slept, SECONDS);
	expect(slept < SECONDS + 100, "%s: %.3f s instead of %.1f", s->name, slept, SECONDS);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[SLEEPERS];

	cr_begin(argc, argv);
	pthread_barrier_init(&ready, NULL, SLEEPERS + 1);
	for (size_t i = 0; i < SLEEPERS; i++)
		need(pthread_create(&threads[i], NULL, fall_asleep, (void *)(uintptr_t)&sleepers[i]) == 0);
	pthread_barrier_wait(&ready);
	cr_wait_asleep();
	cr_wait();
	for (size_t i = 0; i < SLEEPERS; i++)
		pthread_join(threads[i], NULL);
	return cr_end();
}
