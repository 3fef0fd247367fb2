/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resource limits: every one of the sixteen with a soft limit of its own, the hard ones lowered where that harms nothing;
 * a child with lower ones still. Also oom_score_adj and the nice value of the process.
 */
#include "cr.h"

#include <sys/resource.h>

#define LIMITS 16

static void expect_limits(const char *who, const struct rlimit *was)
{
	for (int i = 0; i < LIMITS; i++) {
		struct rlimit is;
		expect(getrlimit((__rlimit_resource_t)i, &is) == 0, "getrlimit %d", i);
		expect(is.rlim_cur == was[i].rlim_cur && is.rlim_max == was[i].rlim_max,
		       "%s: limit %d is %jd of %jd instead of %jd of %jd", who, i, (intmax_t)is.rlim_cur, (intmax_t)is.rlim_max,
		       (intmax_t)was[i].rlim_cur, (intmax_t)was[i].rlim_max);
	}
}

static void lower(rlim_t by, struct rlimit *now)
{
	for (int i = 0; i < LIMITS; i++) {
		struct rlimit l;
		need(getrlimit((__rlimit_resource_t)i, &l) == 0);
		if (l.rlim_max == RLIM_INFINITY && (i == RLIMIT_CORE || i == RLIMIT_FSIZE || i == RLIMIT_RSS || i == RLIMIT_CPU))
			l.rlim_max = 1UL << 40;
		if (l.rlim_cur == RLIM_INFINITY || l.rlim_cur > l.rlim_max)
			l.rlim_cur = l.rlim_max == RLIM_INFINITY ? (1UL << 45) : l.rlim_max;
		if (l.rlim_cur > 1000)
			l.rlim_cur -= by + i;
		need(setrlimit((__rlimit_resource_t)i, &l) == 0 && getrlimit((__rlimit_resource_t)i, &now[i]) == 0);
	}
}

static int child(void *arg)
{
	struct rlimit limits[LIMITS];

	(void)arg;
	lower(10, limits);
	cr_child_ready();
	cr_wait_go();
	expect_limits("child", limits);
	return 0;
}

static int oom_score(void)
{
	int score = -9999;
	FILE *f = fopen("/proc/self/oom_score_adj", "re");

	if (f && fscanf(f, "%d", &score) != 1)
		score = -9999;
	if (f)
		fclose(f);
	return score;
}

int main(int argc, char **argv)
{
	struct rlimit limits[LIMITS];

	cr_begin(argc, argv);
	lower(1, limits);
	FILE *f = fopen("/proc/self/oom_score_adj", "we");
	need(f && fprintf(f, "321") > 0 && fclose(f) == 0);
	need(setpriority(PRIO_PROCESS, 0, 3) == 0);
	pid_t pid = cr_fork(child, NULL);
	cr_wait();
	expect_limits("parent", limits);
	expect(oom_score() == 321, "oom_score_adj %d instead of 321", oom_score());
	expect(getpriority(PRIO_PROCESS, 0) == 3, "nice %d instead of 3", getpriority(PRIO_PROCESS, 0));
	cr_join(pid);
	return cr_end();
}
