/* SPDX-License-Identifier: Apache-2.0 */
/* What one property demands of another. Each rule is a function that explains its own failure with the property's path; the list at
 * the end is the order in which they are asked, so that of several mistakes always the same one is named.
 *
 * The sysctl rule is a matter of security: a key is let through only if its value belongs to a namespace that the container has for
 * itself, since a write to any other would change the host. Hence also the look at whether a network namespace to be joined is
 * the runtime's own. */
#include <errno.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "spec/internal.h"

static int check_version(const char *name, const struct spec *s)
{
	int major, minor, patch, end = 0;

	if (sscanf(s->oci_version, "%9d.%9d.%9d%n", &major, &minor, &patch, &end) != 3 || !end || !strchr("-+", s->oci_version[end]))
		return fail_text(EINVAL, "%s: ociVersion: \"%s\" is not a version (MAJOR.MINOR.PATCH)", name, s->oci_version);
	if (major != 1)
		return fail_text(EINVAL, "%s: ociVersion: %s is not supported, only 1.x is", name, s->oci_version);
	return 0;
}

static int check_root(const char *name, const struct spec *s)
{
	return *s->root_path ? 0 : fail_text(EINVAL, "%s: root.path: empty", name);
}

static int check_process(const char *name, const struct spec *s)
{
	return spec_check_process(name, "process.", &s->process);
}

static int check_hostname(const char *name, const struct spec *s)
{
	if (s->namespaces[NS_UTS].wanted)
		return 0;
	if (s->hostname && *s->hostname)
		return fail_text(EINVAL, "%s: hostname: needs a uts namespace in linux.namespaces", name);
	if (s->domainname && *s->domainname)
		return fail_text(EINVAL, "%s: domainname: needs a uts namespace in linux.namespaces", name);
	return 0;
}

static int check_mounts(const char *name, const struct spec *s)
{
	for (size_t i = 0; i < s->n_mounts; i++)
		if (!*s->mounts[i].destination)
			return fail_text(EINVAL, "%s: mounts[%zu].destination: empty", name, i);
	if (!s->namespaces[NS_MOUNT].wanted && s->n_mounts)
		return fail_text(EINVAL, "%s: mounts: need a mount namespace in linux.namespaces", name);
	return 0;
}

static int check_paths(const char *name, const char *what, const struct strings *list)
{
	for (size_t i = 0; i < list->n; i++)
		if (list->data[i][0] != '/')
			return fail_text(EINVAL, "%s: linux.%s[%zu]: \"%s\" is not an absolute path", name, what, i, list->data[i]);
	return 0;
}

static int check_masks(const char *name, const struct spec *s)
{
	int r = check_paths(name, "maskedPaths", &s->masked_paths);

	if (r == 0)
		r = check_paths(name, "readonlyPaths", &s->readonly_paths);
	if (r == 0 && !s->namespaces[NS_MOUNT].wanted && s->masked_paths.n + s->readonly_paths.n)
		r = fail_text(EINVAL, "%s: linux.maskedPaths and readonlyPaths: need a mount namespace in linux.namespaces", name);
	return r;
}

static int check_devices(const char *name, const struct spec *s)
{
	for (size_t i = 0; i < s->n_devices; i++) {
		const struct spec_device *d = &s->devices[i];
		if (*d->path != '/')
			return fail_text(EINVAL, "%s: linux.devices[%zu].path: \"%s\" is not an absolute path", name, i, d->path);
		if (d->type != 'p' && (d->major < 0 || d->minor < 0))
			return fail_text(EINVAL, "%s: linux.devices[%zu]: a device needs major and minor, both from 0", name, i);
	}
	return 0;
}

static int check_resources(const char *name, const struct spec *s)
{
	return spec_check_resources(name, "linux.resources.", &s->resources);
}

static int check_cgroups_path(const char *name, const struct spec *s)
{
	return s->cgroups_path && path_goes_up(s->cgroups_path) ?
		       fail_text(EINVAL, "%s: linux.cgroupsPath: \"%s\" contains \"..\"", name, s->cgroups_path) : 0;
}

static int check_hooks(const char *name, const struct spec *s)
{
	for (int point = 0; point < HOOK_POINTS; point++)
		for (size_t i = 0; i < s->hooks[point].n; i++)
			if (*s->hooks[point].data[i].path != '/')
				return fail_text(EINVAL, "%s: hooks.%s[%zu].path: \"%s\" is not an absolute path", name, spec_hook_points[point], i,
					s->hooks[point].data[i].path);
	return 0;
}

static int check_annotations(const char *name, const struct spec *s)
{
	for (size_t i = 0; i < s->annotations.n; i++)
		if (!*s->annotations.data[i].key)
			return fail_text(EINVAL, "%s: annotations: a key is empty", name);
	return 0;
}

/* True if the namespace is the container's: wanted, and not the one that the runtime itself is in. */
static bool is_own(const struct spec *s, enum spec_namespace kind)
{
	char self[64];
	struct stat theirs, ours;

	if (!s->namespaces[kind].wanted || !s->namespaces[kind].path)
		return s->namespaces[kind].wanted;
	snprintf(self, sizeof self, "/proc/self/ns/%s", spec_namespaces[kind].proc);
	if (stat(s->namespaces[kind].path, &theirs) < 0 || stat(self, &ours) < 0)
		return true;   /* what cannot be opened now cannot be joined: create says so */
	return theirs.st_dev != ours.st_dev || theirs.st_ino != ours.st_ino;
}

/* Keys that live in a namespace. A prefix ends in '/', an exact name does not. */
static const struct {
	const char *path;
	enum spec_namespace kind;
} namespaced[] = {
	{ "net/", NS_NETWORK },          { "fs/mqueue/", NS_IPC },        { "kernel/msgmax", NS_IPC },   { "kernel/msgmnb", NS_IPC },
	{ "kernel/msgmni", NS_IPC },     { "kernel/sem", NS_IPC },        { "kernel/shmall", NS_IPC },   { "kernel/shmmax", NS_IPC },
	{ "kernel/shmmni", NS_IPC },     { "kernel/shm_rmid_forced", NS_IPC }, { "kernel/hostname", NS_UTS }, { "kernel/domainname", NS_UTS },
};

static int check_sysctl_key(const char *name, const struct spec *s, const char *key)
{
	char path[256];

	if (spec_sysctl_path(key, path, sizeof path) < 0)
		return fail_text(EINVAL, "%s: linux.sysctl: \"%s\" is not a sysctl key", name, key);
	if ((!strcmp(path, "kernel/hostname") && s->hostname) || (!strcmp(path, "kernel/domainname") && s->domainname))
		return fail_text(EINVAL, "%s: linux.sysctl: %s contradicts %s", name, key, path + strlen("kernel/"));
	for (size_t i = 0; i < sizeof namespaced / sizeof *namespaced; i++) {
		const char *known = namespaced[i].path;
		if (str_ends(known, "/") ? !str_starts(path, known) : strcmp(path, known) != 0)
			continue;
		if (is_own(s, namespaced[i].kind))
			return 0;
		return fail_text(EINVAL, "%s: linux.sysctl: %s needs the container's own %s namespace", name, key,
			spec_namespaces[namespaced[i].kind].spec);
	}
	return fail_text(EINVAL, "%s: linux.sysctl: %s is not in any namespace, it would change the host", name, key);
}

static int check_sysctls(const char *name, const struct spec *s)
{
	int r = 0;

	for (size_t i = 0; i < s->sysctl.n && r == 0; i++)
		r = check_sysctl_key(name, s, s->sysctl.data[i].key);
	return r;
}

static int check_id_maps(const char *name, const char *what, const struct spec *s, const struct spec_id_maps *maps)
{
	const struct spec_namespace_entry *user = &s->namespaces[NS_USER];

	if (!user->wanted && maps->n)
		return fail_text(EINVAL, "%s: linux.%s: need a user namespace in linux.namespaces", name, what);
	if (user->wanted && !user->path && !maps->n)
		return fail_text(EINVAL, "%s: linux.%s: a new user namespace needs some", name, what);
	for (size_t i = 0; i < maps->n; i++) {
		const struct spec_id_map *m = &maps->data[i];
		if (!m->size || (uint64_t)m->container + m->size > UINT32_MAX || (uint64_t)m->host + m->size > UINT32_MAX)
			return fail_text(EINVAL, "%s: linux.%s[%zu]: the range is empty or too long", name, what, i);
	}
	return 0;
}

static int check_user_namespace(const char *name, const struct spec *s)
{
	int r = check_id_maps(name, "uidMappings", s, &s->uids);

	return r < 0 ? r : check_id_maps(name, "gidMappings", s, &s->gids);
}

static int check_clocks(const char *name, const struct spec *s)
{
	if ((!s->has_monotonic && !s->has_boottime) || (s->namespaces[NS_TIME].wanted && !s->namespaces[NS_TIME].path))
		return 0;
	return fail_text(EINVAL, "%s: linux.timeOffsets: needs a new time namespace in linux.namespaces", name);
}

static int check_memory_policy(const char *name, const struct spec *s)
{
	const struct spec_memory_policy *p = &s->memory_policy;
	unsigned long bits[SPEC_CPU_WORDS];
	bool nodes = p->nodes && *p->nodes;

	if (!p->present)
		return nodes || p->flags ? fail_text(EINVAL, "%s: linux.memoryPolicy.mode: required, but absent", name) : 0;
	if (nodes && spec_number_list(p->nodes, bits, SPEC_CPU_WORDS) < 0)
		return fail_text(EINVAL, "%s: linux.memoryPolicy.nodes: \"%s\" is not a list of nodes like \"0-3,7\"", name, p->nodes);
	if (nodes && (p->mode == MPOL_DEFAULT || p->mode == MPOL_LOCAL))
		return fail_text(EINVAL, "%s: linux.memoryPolicy.nodes: this mode has none", name);
	if (!nodes && p->mode != MPOL_DEFAULT && p->mode != MPOL_LOCAL && p->mode != MPOL_PREFERRED)
		return fail_text(EINVAL, "%s: linux.memoryPolicy.nodes: this mode needs some", name);
	return 0;
}

int spec_check(const char *name, const struct spec *s)
{
	static int (*const rules[])(const char *, const struct spec *) = {
		check_version, check_root, check_process, check_hostname, check_mounts, check_masks, check_devices,
		check_resources, spec_check_net_devices, spec_check_intel_rdt, check_cgroups_path, check_hooks, check_annotations, check_sysctls,
		check_user_namespace, check_clocks, check_memory_policy,
	};
	int r = 0;

	for (size_t i = 0; i < sizeof rules / sizeof *rules && r == 0; i++)
		r = rules[i](name, s);
	return r;
}
