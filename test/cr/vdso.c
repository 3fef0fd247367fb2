/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vdso: clock_gettime, gettimeofday, getcpu and time work afterwards through it and agree with the system calls; a
 * second thread reads the monotonic clock all the time, which must never go backward; it has stood still while the program did not
 * exist (DIR/away says for how many seconds at least); getauxval still names a mapping.
 */
#include "cr.h"

#include <pthread.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/time.h>

static int stop;

static void *read_clocks(void *arg)
{
	double monotonic = 0, boot = 0;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		double m = cr_now(CLOCK_MONOTONIC), b = cr_now(CLOCK_BOOTTIME);
		if (m < monotonic || b < boot) {
			cr_fault(__FILE__, __LINE__, "a clock went backward: monotonic %.9f to %.9f, boot %.9f to %.9f", monotonic,
				 m, boot, b);
			break;
		}
		monotonic = m;
		boot = b;
	}
	return arg;
}

static double by_syscall(clockid_t clock)
{
	struct timespec t;

	syscall(SYS_clock_gettime, clock, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* What a clock and the real one (looked at around it) went on by since `was`: the clock by what the program was away less. */
static void expect_away(const char *what, clockid_t clock, const double was[2])
{
	double now = cr_now(clock), real = cr_now(CLOCK_REALTIME), away = 0;
	FILE *f = fopen(cr_path("away"), "re");

	if (f && fscanf(f, "%lf", &away) != 1)
		away = 0;
	if (f)
		fclose(f);
	expect(now - was[1] >= 0 && now - was[1] <= real - was[0] - away + 1, "%s went on by %.3f s in %.3f s, of which %.0f do not count", what,
	       now - was[1], real - was[0], away);
}

int main(int argc, char **argv)
{
	static const clockid_t clocks[] = { CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_MONOTONIC_COARSE };
	struct timeval tv;
	unsigned cpu;
	pthread_t thread;

	cr_begin(argc, argv);
	const unsigned char *vdso = (void *)(uintptr_t)getauxval(AT_SYSINFO_EHDR);
	need(vdso && !memcmp(vdso, "\177ELF", 4));
	const double monotonic[] = { cr_now(CLOCK_REALTIME), cr_now(CLOCK_MONOTONIC) };
	const double boot[] = { cr_now(CLOCK_REALTIME), cr_now(CLOCK_BOOTTIME) };
	need(pthread_create(&thread, NULL, read_clocks, NULL) == 0);
	cr_wait();

	expect(!memcmp(vdso, "\177ELF", 4), "no vdso where the auxiliary vector says");
	for (size_t i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++) {
		double a = cr_now(clocks[i]), b = by_syscall(clocks[i]);
		expect(b - a > -0.05 && b - a < 10, "clock %d: %.9f by the vdso, %.9f by the system call", clocks[i], a, b);
	}
	expect(gettimeofday(&tv, NULL) == 0 && labs(tv.tv_sec - time(NULL)) <= 10, "gettimeofday and time differ");
	expect(getcpu(&cpu, NULL) == 0 && cpu < 4096, "getcpu: %u", cpu);
	expect_away("monotonic time", CLOCK_MONOTONIC, monotonic);
	expect_away("boot time", CLOCK_BOOTTIME, boot);
	stop = 1;
	pthread_join(thread, NULL);
	return cr_end();
}
