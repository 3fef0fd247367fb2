/* SPDX-License-Identifier: Apache-2.0 */
/* Which device nodes a container may make, read and write.
 *
 * Rules apply in order, the last one that matches wins: everything is denied; the configuration's own rules; then what every
 * container may use, whatever the configuration says, because images and the runtime itself rely on it: making any node,
 * null, zero, full, random, urandom, tty, the terminals of devpts. (A list of rules usually begins with "deny all", so
 * the defaults stand behind it.)
 *
 * v1: devices.deny and devices.allow take one rule a write; a group can only be given what its parent has. cgroup2 has no
 * such files: an eBPF program (bpf.c) decides. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "cgroup/internal.h"

static char rwm[] = "rwm", make_only[] = "m";

static const struct spec_device_rule deny_all = { .allow = false, .type = 'a', .major = -1, .minor = -1, .access = rwm };
static const struct spec_device_rule always[] = {
	{ .allow = true, .type = 'c', .major = -1, .minor = -1, .access = make_only },
	{ .allow = true, .type = 'b', .major = -1, .minor = -1, .access = make_only },
	{ .allow = true, .type = 'c', .major = 1, .minor = 3, .access = rwm },    /* null */
	{ .allow = true, .type = 'c', .major = 1, .minor = 5, .access = rwm },    /* zero */
	{ .allow = true, .type = 'c', .major = 1, .minor = 7, .access = rwm },    /* full */
	{ .allow = true, .type = 'c', .major = 1, .minor = 8, .access = rwm },    /* random */
	{ .allow = true, .type = 'c', .major = 1, .minor = 9, .access = rwm },    /* urandom */
	{ .allow = true, .type = 'c', .major = 5, .minor = 0, .access = rwm },    /* tty */
	{ .allow = true, .type = 'c', .major = 5, .minor = 2, .access = rwm },    /* ptmx */
	{ .allow = true, .type = 'c', .major = 136, .minor = -1, .access = rwm }, /* pts/… */
};

int cgroup_each_device_rule(const struct spec_resources *r, int (*each)(void *arg, const struct spec_device_rule *rule), void *arg)
{
	int done = each(arg, &deny_all);

	for (size_t i = 0; done >= 0 && i < r->n_devices; i++)
		done = each(arg, &r->devices[i]);
	for (size_t i = 0; done >= 0 && i < sizeof always / sizeof *always; i++)
		done = each(arg, &always[i]);
	return done;
}

static const char *number(char out[24], int64_t n)
{
	if (n < 0)
		return "*";
	snprintf(out, 24, "%" PRId64, n);
	return out;
}

/* "a" stands for everything and resets the group's list, whatever follows it: only a rule for all access of all devices may
 * be written so; one for all types with numbers or less access is written for both types. */
static int write_rule(void *arg, const struct spec_device_rule *rule)
{
	const char *file = rule->allow ? "devices.allow" : "devices.deny", *access = rule->access ? rule->access : rwm;
	const char *types = rule->type == 'a' ? "bc" : rule->type == 'b' ? "b" : "c";
	char major[24], minor[24];
	int done = 0;

	if (rule->type == 'a' && rule->major < 0 && rule->minor < 0 && strlen(access) == 3)
		return cgroup_set(arg, "devices", file, "linux.resources.devices", "a");
	for (; done >= 0 && *types; types++)
		done = cgroup_set(arg, "devices", file, "linux.resources.devices", "%c %s:%s %s", *types, number(major, rule->major),
			number(minor, rule->minor), access);
	return done;
}

int cgroup_v1_devices(const struct spec_pairs *cgroups, const struct spec_resources *r)
{
	if (!cgroup_path(cgroups, "devices"))
		return fail_text(EOPNOTSUPP, "linux.resources.devices: the cgroup v1 controller \"devices\" is not mounted, so that access to "
					     "devices could not be limited");
	struct spec_pairs copy = *cgroups;
	return cgroup_each_device_rule(r, write_rule, &copy);
}

int cgroup_v2_devices(const struct spec_pairs *cgroups, const struct spec_resources *r)
{
	return cgroup_bpf_devices(cgroup_path(cgroups, ""), r);
}
