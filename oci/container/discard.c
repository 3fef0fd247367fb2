/* SPDX-License-Identifier: Apache-2.0 */
/* delete --force of a container whose state cannot be read: a file that was cut off, or damaged.
 *
 * What belongs to it is found again as far as that can be done without taking another's for it. 1. The text that is left names init; its start
 * time tells it from a later process of that number. 2. The configuration, which lies beside the state, names the cgroups: those are
 * where create made them (plan.c). When init is known to be dead and has had a pid namespace of its own nothing of the container lives, and
 * whoever is in groups of that name is another's. 3. The rest is what every delete does.
 *
 * Not found: groups for Intel RDT. Where neither can be read, the message says what may be left. */
#define LOG_PREFIX "container"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "cgroup/cgroup.h"
#include "container/internal.h"
#include "spec/json.h"

/* Behind "key": in a text that may end anywhere; NULL: it is not there. */
static const char *value_of(const char *text, const char *key)
{
	autofree char *quoted = str_printf("\"%s\":", key);
	const char *at = strstr(text, quoted);

	return at ? at + strlen(quoted) + strspn(at + strlen(quoted), " ") : NULL;
}

/* A whole number: something follows it. */
static uint64_t number_of(const char *text, const char *key)
{
	const char *at = value_of(text, key);
	char *end = NULL;
	uint64_t n = at ? strtoull(at, &end, 10) : 0;

	return end && *end ? n : 0;
}

static char *string_of(struct container *c, const char *text, const char *key)
{
	const char *at = value_of(text, key);
	size_t n = at && *at == '"' ? strcspn(at + 1, "\"\\") : 0;

	return n && at[1 + n] == '"' ? arena_printf(&c->arena, "%.*s", (int)n, at + 1) : NULL;
}

/* What is left of state.json, if it is this container's. */
static void salvage_state(struct container *c)
{
	autofree char *text = NULL;
	ssize_t n = file_read(c->dir_fd, "state.json", &text, JSON_MAX_SIZE);
	const char *id = n > 0 ? string_of(c, text, "id") : NULL;

	if (!id || strcmp(id, c->id) != 0)
		return;
	uint64_t pid = number_of(text, "pid");
	c->pid_start = number_of(text, "pidStart");
	c->pid = pid <= INT32_MAX && c->pid_start ? (pid_t)pid : 0;
	c->bundle = string_of(c, text, "bundle");
}

/* Returns whether the groups are known. */
static bool salvage_spec(struct container *c)
{
	struct spec *s;
	autofree pid_t *pids = NULL;
	size_t mark = err_mark();
	bool known = container_spec(c, &s) == 0 && cgroup_plan(&c->arena, s, c->id, &c->cgroups) == 0;

	if (known)
		container_note_spec(c, s);
	if (known && c->private_pid && c->pid && !container_init_pid(c) && cgroup_pids(&c->cgroups, &pids) > 0)
		c->cgroups.n = 0;
	spec_free(s);
	err_rewind(mark);
	return known;
}

static void salvage(struct container *c)
{
	salvage_state(c);
	bool known = salvage_spec(c);
	pid_t init = container_init_pid(c);

	if (known)
		log_warn("container %s: its state cannot be read; its processes are known by its cgroup", c->id);
	else if (init)
		log_warn("container %s: neither its state nor its configuration can be read; its first process (%d) is ended; of others, and its "
			 "cgroups, nothing is known", c->id, init);
	else
		log_warn("container %s: neither its state nor its configuration can be read: only its state directory is removed; what it may have left is in "
			 "cgroups that are named after it, as a rule: find /sys/fs/cgroup -name '*%s*'", c->id, c->id);
}

int container_discard(const struct oci_options *o, const char *id)
{
	struct container *c;
	size_t mark = err_mark();
	int r = container_make(o->root, id, &c);

	if (r < 0)
		return r;
	r = container_open_dir(c);
	if (r == 0)
		r = container_lock(c);
	else if (r != -ENOENT)
		r = fail(-r, "open the state directory %s", c->dir);
	if (r < 0 && c->locked) {
		err_rewind(mark);
		salvage(c);
		r = 0;
	}
	if (r == 0)
		r = container_delete(c, true);
	container_free(c);
	return r == -ENOENT ? 0 : r;
}
