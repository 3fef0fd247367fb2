/* SPDX-License-Identifier: Apache-2.0 */
/* Which files of a control group are saved. The usual ones are CRIU's, and for cgroup2's controllers, of which it saves none, their limits.
 * --cgroup-props changes the list of a controller, by a text such as
 *
 *     "cpu":
 *       - "strategy": "replace"
 *       - "properties": ["cpu.shares", "cpu.cfs_period_us"]
 *
 * which is read by its quoted words alone: a word and a colon at the beginning of a line is a controller. */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "ns/cgroup.h"

#define LIST_MAX 64

static const struct {
	const char *controller;
	const char *const *names;
} usual[] = {
	{ "cpu", (const char *const[]){ "cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us", "cpu.rt_period_us", "cpu.rt_runtime_us", NULL } },
	{ "memory", (const char *const[]){ "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.swappiness", "memory.soft_limit_in_bytes",
		"memory.move_charge_at_immigrate", "memory.oom_control", "memory.use_hierarchy", "memory.kmem.limit_in_bytes",
		"memory.kmem.tcp.limit_in_bytes", NULL } },
	{ "cpuset", (const char *const[]){ "cpuset.cpus", "cpuset.mems", "cpuset.memory_migrate", "cpuset.cpu_exclusive", "cpuset.mem_exclusive",
		"cpuset.mem_hardwall", "cpuset.memory_spread_page", "cpuset.memory_spread_slab", "cpuset.sched_load_balance",
		"cpuset.sched_relax_domain_level", NULL } },
	{ "blkio", (const char *const[]){ "blkio.weight", NULL } },
	{ "freezer", (const char *const[]){ "freezer.state", NULL } },
	{ "net_cls", (const char *const[]){ "net_cls.classid", NULL } },
	{ "net_prio", (const char *const[]){ "net_prio.ifpriomap", NULL } },
	{ "pids", (const char *const[]){ "pids.max", NULL } },
	{ "devices", (const char *const[]){ "devices.list", NULL } },
	{ "", (const char *const[]){ "memory.min", "memory.low", "memory.high", "memory.max", "memory.swap.max", "memory.oom.group", "cpu.weight",
		"cpu.max", "cpuset.cpus", "cpuset.mems", "pids.max", "io.weight", NULL } },
};

const char *const cgroup_props_v1[] = { "cgroup.clone_children", "notify_on_release", "cgroup.procs", "tasks", NULL };
const char *const cgroup_props_v2[] = { "cgroup.type", "cgroup.max.descendants", "cgroup.max.depth", "cgroup.subtree_control", "cgroup.procs",
	"cgroup.threads", "cgroup.freeze", NULL };

struct cgroup_props {
	struct changed {
		const char *controller, *names[LIST_MAX + 1];
		size_t n;
		bool merge;
	} *changed;
	size_t n;
};

static const char *const *usual_of(const char *controller)
{
	static const char *const none[] = { NULL };

	for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
		if (!strcmp(usual[i].controller, controller))
			return usual[i].names;
	return none;
}

const char *const *cgroup_props_of(const struct cgroup_props *p, const char *controller)
{
	for (size_t i = 0; p && i < p->n; i++)
		if (!strcmp(p->changed[i].controller, controller))
			return p->changed[i].names;
	return usual_of(controller);
}

static int add_name(struct changed *c, const char *name)
{
	if (c->n == LIST_MAX)
		return fail_text(EINVAL, "--cgroup-props: more than %d properties of %s", LIST_MAX, c->controller);
	c->names[c->n++] = name;
	return 0;
}

static int finish(struct changed *c)
{
	int r = 0;

	for (const char *const *u = c->merge ? usual_of(c->controller) : NULL; u && *u && r >= 0; u++)
		r = add_name(c, *u);
	return r;
}

/* The quoted words of a line, which is cut up; the first may be at its beginning. */
static size_t quoted(char *line, char **words, size_t max)
{
	size_t n = 0;

	for (char *at = strchr(line, '"'); at && n < max; at = at ? strchr(at, '"') : NULL) {
		words[n++] = at + 1;
		at = strchr(at + 1, '"');
		if (at)
			*at++ = 0;
		else
			n--;
	}
	return n;
}

static int take_line(struct arena *arena, struct cgroup_props *p, char *line)
{
	char *words[LIST_MAX + 1];
	bool top = *line == '"';
	size_t n = quoted(line, words, LIST_MAX + 1);
	struct changed *c = p->n ? &p->changed[p->n - 1] : NULL;
	int r = 0;

	if (!n)
		return line[strspn(line, " \t\r")] ? fail_text(EINVAL, "--cgroup-props: \"%s\" is not understood", line) : 0;
	if (top) {
		p->changed[p->n] = (struct changed){ .controller = arena_str(arena, words[0]) };
		p->n++;
		return c ? finish(c) : 0;
	}
	if (!c)
		return fail_text(EINVAL, "--cgroup-props: \"%s\" before any controller", words[0]);
	if (!strcmp(words[0], "strategy") && n == 2 && (!strcmp(words[1], "merge") || !strcmp(words[1], "replace")))
		c->merge = !strcmp(words[1], "merge");
	else if (!strcmp(words[0], "properties"))
		for (size_t i = 1; i < n && r >= 0; i++)
			r = add_name(c, arena_str(arena, words[i]));
	else
		return fail_text(EINVAL, "--cgroup-props: \"%s\" is neither a strategy (merge, replace) nor properties", words[0]);
	return r;
}

int cgroup_props_parse(struct arena *arena, const char *spec, struct cgroup_props **out)
{
	size_t lines = 1;
	int r = 0;

	for (const char *c = spec; *c; c++)
		lines += *c == '\n';
	struct cgroup_props *p = arena_new(arena, struct cgroup_props);
	p->changed = arena_array(arena, struct changed, lines);
	char *save, *copy = arena_str(arena, spec), *line = strtok_r(copy, "\n", &save);
	for (; line && r >= 0; line = strtok_r(NULL, "\n", &save))
		r = take_line(arena, p, line);
	if (r >= 0 && p->n)
		r = finish(&p->changed[p->n - 1]);
	*out = p;
	return r;
}
