/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel features: every row has a name and an answer, and asking is cheap and leaves nothing. */
#include "base/kernel.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/proc.h"
#include "base/stage.h"
#include "base/str.h"
#include "harness.h"

static void names(void)
{
	for (int f = 0; f < KERNEL_FEATURES; f++) {
		CHECK(kernel_feature_name(f) && kernel_feature_help(f));
		CHECK_EQ(kernel_feature_find(kernel_feature_name(f)), f);
	}
	CHECK_EQ(kernel_feature_find("perpetual_motion"), KERNEL_FEATURES);
}

static void probes_leave_nothing(void)
{
	int *before = NULL, *after = NULL;
	ssize_t n = proc_numbers(getpid(), "fd", &before);

	for (int f = 0; f < KERNEL_FEATURES; f++) {
		uint64_t began = clock_us();
		bool has = kernel_has(f);
		printf("%-26s %s %llu us\n", kernel_feature_name(f), has ? "yes" : "no", (unsigned long long)(clock_us() - began));
		CHECK_EQ(kernel_has(f), has);
	}
	CHECK_EQ(proc_numbers(getpid(), "fd", &after), n);
	free_pointer(&before);
	free_pointer(&after);
}

static void what_every_kernel_has(void)
{
	CHECK(kernel_has(KERNEL_NS_PID) && kernel_has(KERNEL_MNT_ID) && kernel_has(KERNEL_OPENAT2));
	CHECK(kernel_has(KERNEL_PIDFD_GETFD) && kernel_has(KERNEL_CLONE3_SET_TID));
	if (kernel_has(KERNEL_PAGEMAP_SCAN_GUARD))
		CHECK(kernel_has(KERNEL_PAGEMAP_SCAN));
}

const struct test tests[] = { TEST(names), TEST(probes_leave_nothing), TEST(what_every_kernel_has), {} };
