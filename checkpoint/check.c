/* SPDX-License-Identifier: Apache-2.0 */
/* `check`: does this kernel offer what the engine needs? Every feature is probed for real (base/kernel.c); the names are those of
 * CRIU's check --feature where it has one. */
#include "checkpoint.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/err.h"
#include "base/kernel.h"

/* Without these nothing works. */
static const enum kernel_feature needed[] = { KERNEL_CLONE3_SET_TID, KERNEL_PIDFD_GETFD, KERNEL_CHECKPOINT_RESTORE, KERNEL_KCMP,
					       KERNEL_NS_PID, KERNEL_MNT_ID, KERNEL_MAP_VDSO };
/* Without these some programs cannot be saved, or only more slowly. */
static const enum kernel_feature useful[] = { KERNEL_PAGEMAP_SCAN, KERNEL_UFFD, KERNEL_RSEQ_CONF, KERNEL_OPENAT2, KERNEL_SECCOMP_SUSPEND,
					       KERNEL_SECCOMP_FILTERS, KERNEL_TIMENS, KERNEL_TIMER_RESTORE_IDS, KERNEL_KCMP_EPOLL,
					       KERNEL_TIMERFD, KERNEL_FDINFO_LOCK };

static int check_feature(const struct ck_check_options *o)
{
	enum kernel_feature f = kernel_feature_find(o->feature);

	if (f == KERNEL_FEATURES)
		return fail_text(EINVAL, "unknown feature %s: see the manual for the names", o->feature);
	if (!kernel_has(f))
		return fail_text(ENOTSUP, "%s is not supported", o->feature);
	dprintf(o->out, "%s is supported\n", o->feature);
	return 0;
}

static size_t report(const struct ck_check_options *o, const enum kernel_feature *list, size_t n, const char *word)
{
	size_t missing = 0;

	for (size_t i = 0; i < n; i++)
		if (!kernel_has(list[i])) {
			dprintf(o->out, "%s: %s (%s)\n", word, kernel_feature_name(list[i]), kernel_feature_help(list[i]));
			missing++;
		}
	return missing;
}

int ck_check(const struct ck_check_options *o)
{
	if (o->feature)
		return check_feature(o);
	if (geteuid() != 0 && !o->unprivileged)
		return fail_text(EPERM, "the check needs root: it tries what a dump and a restore do");
	if (report(o, needed, sizeof needed / sizeof *needed, "missing")) {
		dprintf(o->out, "Does not look good.\n");
		return fail_text(ENOTSUP, "this kernel lacks what dump and restore need");
	}
	if ((o->extra || o->experimental) && report(o, useful, sizeof useful / sizeof *useful, "not there")) {
		dprintf(o->out, "Looks good but some features that programs may need are missing.\n");
		return -ENOTSUP;
	}
	dprintf(o->out, "Looks good.\n");
	return 0;
}
