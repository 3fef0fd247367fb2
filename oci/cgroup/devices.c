/* SPDX-License-Identifier: Apache-2.0 */
/* Which device nodes a container may make, read and write.
 *
 * Rules apply in order, the last one that matches wins: everything is denied; the configuration's own rules; then what every
 * container may use, whatever the configuration says, because images and the runtime itself rely on it: making any node,
 * null, zero, full, random, urandom, tty, the terminals of devpts. (A list of rules usually begins with "deny all", so
 * the defaults stand behind it.)
 *
 * v1: devices.deny and devices.allow take one rule a write; a group can only be given what its parent has. A group that denies all but
 * a list (devices.list) is changed by the difference, what is new first: nothing that the old rules and the new ones allow is ever denied, and it
 * is the only way for one that has groups below it, which takes no "a". The kernel's list is of exact entries: to deny takes access from the
 * entry with the very same numbers. cgroup2 has no such files: an eBPF program (bpf.c) decides. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
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

/* --- v1: by the difference ------------------------------------------------------------------------------------------------------- */

struct entry {
	char type;
	int64_t major, minor;   /* -1: all */
	unsigned access;        /* ACCESS bits */
};
struct entries {
	ARRAY(struct entry) list;
	bool everything;        /* all is allowed but the list, or was for a while: not to be had by the difference */
};
static const char access_letters[] = "rwm";

static unsigned access_bits(const char *text)
{
	unsigned bits = 0;

	for (unsigned i = 0; access_letters[i]; i++)
		bits |= strchr(text, access_letters[i]) ? 1u << i : 0;
	return bits;
}

static struct entry *entry_find(const struct entries *all, const struct entry *e)
{
	for (size_t i = 0; i < all->list.n; i++) {
		struct entry *have = &all->list.data[i];
		if (have->type == e->type && have->major == e->major && have->minor == e->minor)
			return have;
	}
	return NULL;
}

static void entry_apply(struct entries *all, const struct entry *e, bool allow)
{
	struct entry *have = entry_find(all, e);

	if (have)
		have->access = allow ? have->access | e->access : have->access & ~e->access;
	else if (allow)
		array_push(&all->list) = *e;
}

static int want_rule(void *arg, const struct spec_device_rule *rule)
{
	struct entries *all = arg;
	struct entry e = { 0, rule->major, rule->minor, access_bits(rule->access ? rule->access : rwm) };

	if (rule->type == 'a' && rule->major < 0 && rule->minor < 0 && e.access == access_bits(rwm)) {
		all->everything |= rule->allow;
		all->list.n = 0;
		return 0;
	}
	for (const char *types = rule->type == 'a' ? "bc" : rule->type == 'b' ? "b" : "c"; *types; types++) {
		e.type = *types;
		entry_apply(all, &e, rule->allow);
	}
	return 0;
}

/* Lines "c 1:3 rwm"; "a *:* rwm" alone: everything. */
static int entries_read(const char *dir, struct entries *all)
{
	autofree char *path = str_printf("%s/devices.list", dir), *text = NULL;
	ssize_t n = file_read(AT_FDCWD, path, &text, 1 << 20);
	char *save, major[24], minor[24], access[8];
	struct entry e;

	if (n < 0)
		return fail((int)-n, "read %s", path);
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (sscanf(line, "%c %23[0-9*]:%23[0-9*] %7s", &e.type, major, minor, access) != 4)
			return fail_text(EIO, "read %s: unexpected line \"%s\"", path, line);
		all->everything |= e.type == 'a';
		e.major = *major == '*' ? -1 : strtoll(major, NULL, 10);
		e.minor = *minor == '*' ? -1 : strtoll(minor, NULL, 10);
		e.access = access_bits(access);
		array_push(&all->list) = e;
	}
	return 0;
}

/* What `of` has more than `than`. */
static int write_more(struct cgroup_target *g, const struct entries *of, const struct entries *than, bool allow)
{
	int done = 0;

	for (size_t i = 0; done >= 0 && i < of->list.n; i++) {
		const struct entry *e = &of->list.data[i], *other = entry_find(than, e);
		unsigned bits = e->access & ~(other ? other->access : 0);
		char access[4] = "";
		for (unsigned k = 0, n = 0; access_letters[k]; k++)
			if (bits & 1u << k)
				access[n++] = access_letters[k];
		const struct spec_device_rule rule = { .allow = allow, .type = e->type, .major = e->major, .minor = e->minor, .access = access };
		done = bits ? write_rule(g, &rule) : 0;
	}
	return done;
}

static int change(struct cgroup_target *g, const struct entries *from, const struct entries *to)
{
	int done = write_more(g, to, from, true);

	return done < 0 ? done : write_more(g, from, to, false);
}

/* After an error in the middle of it. */
static void change_back(struct cgroup_target *g, const char *dir, const struct entries *to)
{
	struct entries now = { 0 };

	if (entries_read(dir, &now) >= 0)
		change(g, &now, to);
	array_free(&now.list);
}

int cgroup_v1_devices(const struct spec_pairs *cgroups, const struct spec_resources *r)
{
	const char *dir = cgroup_path(cgroups, "devices");
	struct entries are = { 0 }, wanted = { 0 };
	struct cgroup_target g = { .groups = cgroups };

	if (!dir)
		return fail_text(EOPNOTSUPP, "linux.resources.devices: the cgroup v1 controller \"devices\" is not mounted, so that access to "
					     "devices could not be limited");
	int done = entries_read(dir, &are);
	if (done >= 0)
		done = cgroup_each_device_rule(r, want_rule, &wanted);
	if (done >= 0 && (are.everything || wanted.everything)) {
		done = cgroup_each_device_rule(r, write_rule, &g);
	} else if (done >= 0) {
		done = change(&g, &are, &wanted);
		if (done < 0)
			change_back(&g, dir, &are);
	}
	array_free(&are.list);
	array_free(&wanted.list);
	return done;
}

int cgroup_v2_devices(const struct spec_pairs *cgroups, const struct spec_resources *r)
{
	return cgroup_bpf_devices(cgroup_path(cgroups, ""), r);
}
