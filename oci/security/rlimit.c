/* SPDX-License-Identifier: Apache-2.0 */
/* Resource limits. A process may lower its hard limits and move the soft ones below them; raising a hard limit needs
 * CAP_SYS_RESOURCE in the initial user namespace, which a runtime inside a restricted service may well lack. The limits of the
 * configuration are set by init itself, while it has all the capabilities that the runtime has. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>

#include "base/err.h"
#include "security/security.h"

static const char *const names[] = {
	[RLIMIT_CPU] = "RLIMIT_CPU", [RLIMIT_FSIZE] = "RLIMIT_FSIZE", [RLIMIT_DATA] = "RLIMIT_DATA", [RLIMIT_STACK] = "RLIMIT_STACK",
	[RLIMIT_CORE] = "RLIMIT_CORE", [RLIMIT_RSS] = "RLIMIT_RSS", [RLIMIT_NPROC] = "RLIMIT_NPROC", [RLIMIT_NOFILE] = "RLIMIT_NOFILE",
	[RLIMIT_MEMLOCK] = "RLIMIT_MEMLOCK", [RLIMIT_AS] = "RLIMIT_AS", [RLIMIT_LOCKS] = "RLIMIT_LOCKS",
	[RLIMIT_SIGPENDING] = "RLIMIT_SIGPENDING", [RLIMIT_MSGQUEUE] = "RLIMIT_MSGQUEUE", [RLIMIT_NICE] = "RLIMIT_NICE",
	[RLIMIT_RTPRIO] = "RLIMIT_RTPRIO", [RLIMIT_RTTIME] = "RLIMIT_RTTIME",
};

static const char *number(char out[24], rlim_t n)
{
	if (n == RLIM_INFINITY)
		return "unlimited";
	snprintf(out, 24, "%" PRIu64, (uint64_t)n);
	return out;
}

static int explain(int err, const struct spec_rlimit *l)
{
	struct rlimit have = { 0, 0 };
	char from[24], to[24];

	getrlimit((__rlimit_resource_t)l->resource, &have);
	if (err != EPERM || l->hard <= have.rlim_max)
		return fail(err, "process.rlimits: set %s to soft %" PRIu64 ", hard %" PRIu64, names[l->resource], l->soft, l->hard);
	int r = fail_text(EPERM, "process.rlimits: raising the hard limit of %s from %s to %s needs CAP_SYS_RESOURCE", names[l->resource],
		number(from, have.rlim_max), number(to, l->hard));
	fail_hint("give the runtime that capability, raise the limit of what calls it, or ask for at most %s", number(from, have.rlim_max));
	return r;
}

int rlimits_raise(pid_t pid, const struct spec_process *p)
{
	for (size_t i = 0; i < p->n_rlimits; i++) {
		const struct spec_rlimit *l = &p->rlimits[i];
		struct rlimit now;
		if (getrlimit((__rlimit_resource_t)l->resource, &now) < 0 || l->hard <= now.rlim_max)
			continue;
		now.rlim_max = l->hard;
		if (prlimit(pid, (__rlimit_resource_t)l->resource, &now, NULL) < 0)
			return explain(errno, l);
	}
	return 0;
}

int rlimits_apply(const struct spec_process *p)
{
	for (size_t i = 0; i < p->n_rlimits; i++) {
		const struct spec_rlimit *l = &p->rlimits[i];
		struct rlimit want = { l->soft, l->hard };
		if (setrlimit((__rlimit_resource_t)l->resource, &want) < 0)
			return explain(errno, l);
	}
	return 0;
}
