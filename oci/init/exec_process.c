/* SPDX-License-Identifier: Apache-2.0 */
/* What exec runs, and where. Without --process it is the container's own process with another program; the options change it. With
 * --process it is that document, and the options that are given as well still count. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "cgroup/cgroup.h"
#include "init/exec.h"

static struct strings concatenate(struct arena *arena, const struct strings *first, const char *const *second)
{
	size_t n = 0;
	struct strings all;

	while (second && second[n])
		n++;
	all.data = arena_array(arena, char *, first->n + n + 1);
	all.n = first->n + n;
	for (size_t i = 0; i < first->n; i++)
		all.data[i] = first->data[i];
	for (size_t i = 0; i < n; i++)
		all.data[first->n + i] = arena_str(arena, second[i]);
	return all;
}

static int parse_id(const char *text, size_t n, uint32_t *id)
{
	char number[16];
	uint64_t value;

	if (n >= sizeof number)
		return -EINVAL;
	memcpy(number, text, n);
	number[n] = 0;
	if (parse_u64(number, 10, &value) < 0 || value > UINT32_MAX - 1)
		return -EINVAL;
	*id = (uint32_t)value;
	return 0;
}

/* UID or UID:GID. */
static int set_user(struct exec *x, const char *user)
{
	size_t n = strcspn(user, ":");
	int r = parse_id(user, n, &x->process.uid);

	if (r >= 0 && user[n])
		r = parse_id(user + n + 1, strlen(user + n + 1), &x->process.gid);
	return r < 0 ? fail_text(EINVAL, "--user %s: expected UID or UID:GID, in numbers", user) : 0;
}

static int set_groups(struct exec *x, const char *const *gids)
{
	struct spec_process *p = &x->process;
	size_t n = p->n_additional_gids;
	uint32_t *all;

	while (gids[n - p->n_additional_gids])
		n++;
	all = arena_array(&x->arena, uint32_t, n);
	if (p->n_additional_gids)
		memcpy(all, p->additional_gids, p->n_additional_gids * sizeof *all);
	for (size_t i = 0; gids[i]; i++)
		if (parse_id(gids[i], strlen(gids[i]), &all[p->n_additional_gids + i]) < 0)
			return fail_text(EINVAL, "--additional-gids %s: expected a number", gids[i]);
	p->additional_gids = all;
	p->n_additional_gids = n;
	return 0;
}

/* An ambient capability only has an effect, and is only allowed, where it is inheritable as well. */
static int add_capabilities(struct exec *x, const char *const *caps)
{
	struct spec_capabilities *c = &x->process.capabilities;

	for (size_t i = 0; caps[i]; i++) {
		int number = spec_capability(caps[i]);
		if (number < 0)
			return fail_text(EINVAL, "--cap %s: no such capability", caps[i]);
		uint64_t bit = 1ull << number;
		c->present = true;
		c->bounding |= bit;
		c->permitted |= bit;
		c->effective |= bit;
		if (x->process.uid) {
			c->inheritable |= bit;
			c->ambient |= bit;
		}
	}
	return 0;
}

static int process_from_options(struct exec *x)
{
	const struct oci_exec_options *e = x->e;
	struct spec_process *p = &x->process;
	int r = 0;

	*p = x->spec->process;
	p->terminal = false;
	if (!e->args || !e->args[0])
		return fail_text(EINVAL, "exec: no program is named");
	p->args = concatenate(&x->arena, &(const struct strings){ 0 }, e->args);
	p->env = concatenate(&x->arena, &p->env, e->env);
	if (e->cwd)
		p->cwd = arena_str(&x->arena, e->cwd);
	if (e->user)
		r = set_user(x, e->user);
	if (r >= 0 && e->additional_gids)
		r = set_groups(x, e->additional_gids);
	return r;
}

static int process_from_file(struct exec *x)
{
	autofree char *text = NULL;
	ssize_t n = file_read(AT_FDCWD, x->e->process_file, &text, 16 << 20);

	if (n < 0)
		return fail((int)-n, "read %s", x->e->process_file);
	return spec_process_parse(&x->arena, x->e->process_file, text, (size_t)n, &x->process);
}

/* Whether one of the controllers before the colon is in hierarchy number k; without any, all are meant. */
static bool is_meant(const struct spec_pairs *all, size_t k, const char *option, const char *colon)
{
	for (const char *at = option, *end; colon && at < colon; at = end + 1) {
		end = at + strcspn(at, ",:");
		autofree char *name = str_printf("%.*s", (int)(end - at), at);
		if (*name && cgroup_path(all, name) == all->data[k].value)
			return true;
	}
	return !colon;
}

/* --cgroup [CONTROLLER[,CONTROLLER…]:]PATH, a group that exists below the container's. In a hybrid layout a path without controllers is the
 * v1 hierarchies'; the cgroup2 one follows if it has such a group. */
static int choose_group(struct exec *x, const char *option)
{
	const char *colon = strchr(option, ':'), *path = colon ? colon + 1 : option;
	size_t meant = 0;

	if (!*path || *path == '/' || path_goes_up(path) || colon == option)
		return fail_text(EINVAL, "--cgroup %s: expected a path below the container's group, or CONTROLLER:PATH", option);
	for (size_t i = 0; i < x->groups.n; i++) {
		struct spec_pair *group = &x->groups.data[i];
		if (!is_meant(&x->c->cgroups, i, option, colon))
			continue;
		char *below = arena_printf(&x->arena, "%s/%s", x->c->cgroups.data[i].value, path);
		bool there = access(below, F_OK) == 0;
		if (!there && (*group->key || x->groups.n == 1))
			return fail(ENOENT, "--cgroup %s: %s", option, below);
		if (there)
			group->value = below;
		meant++;
	}
	return meant ? 0 : fail_text(EINVAL, "--cgroup %s: the container has no group of this controller", option);
}

static int choose_groups(struct exec *x)
{
	const struct spec_pairs *all = &x->c->cgroups;
	int r = 0;

	x->groups = *all;
	x->groups.data = arena_array(&x->arena, struct spec_pair, all->n + 1);
	if (all->n)
		memcpy(x->groups.data, all->data, all->n * sizeof *all->data);
	for (size_t i = 0; r >= 0 && x->e->cgroups && x->e->cgroups[i]; i++)
		r = choose_group(x, x->e->cgroups[i]);
	return r;
}

int exec_read_process(struct exec *x)
{
	const struct oci_exec_options *e = x->e;
	int r = container_spec(x->c, &x->spec);

	if (r >= 0)
		r = e->process_file ? process_from_file(x) : process_from_options(x);
	if (r >= 0 && e->caps)
		r = add_capabilities(x, e->caps);
	if (r < 0)
		return r;
	if (e->apparmor)
		x->process.apparmor_profile = arena_str(&x->arena, e->apparmor);
	if (e->selinux_label)
		x->process.selinux_label = arena_str(&x->arena, e->selinux_label);
	x->process.no_new_privileges |= e->no_new_privs;
	x->process.terminal |= e->tty;
	console_size(&x->process, e->rows, e->columns);
	r = console_check(x->process.terminal, e->console_socket, e->console);
	if (r < 0)
		return r;
	caps_limit(&x->process.capabilities, x->spec->namespaces[NS_USER].wanted);
	return choose_groups(x);
}
