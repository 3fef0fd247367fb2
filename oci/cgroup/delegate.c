/* SPDX-License-Identifier: Apache-2.0 */
/* Handing a cgroup2 group over to the container.
 *
 * A container that has a cgroup namespace of its own and mounts cgroup2 writable at /sys/fs/cgroup manages what is below its group itself
 * (systemd or a container engine inside). If its user is not the host's root, that user must own the directory and those files in it
 * that a delegate may write: the kernel lists them in /sys/kernel/cgroup/delegate (4.15). Not the limits: they are whoever's who made the
 * group. On v1 nothing is handed over: the kernel's documents call that unsafe. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "cgroup/internal.h"

static bool is_wanted(const struct spec *s)
{
	const struct spec_namespace_entry *own = &s->namespaces[NS_CGROUP];

	if (!own->wanted || own->path)
		return false;
	for (size_t i = 0; i < s->n_mounts; i++) {
		const struct spec_mount *m = &s->mounts[i];
		if (!m->type || (strcmp(m->type, "cgroup") != 0 && strcmp(m->type, "cgroup2") != 0) || strcmp(m->destination, "/sys/fs/cgroup") != 0)
			continue;
		bool read_only = false;
		for (size_t k = 0; k < m->options.n; k++)
			read_only |= !strcmp(m->options.data[k], "ro");
		if (!read_only)
			return true;
	}
	return false;
}

int cgroup_delegate(const struct spec_pairs *cgroups, const struct spec *s)
{
	const char *dir = cgroup_path(cgroups, "");
	autofree char *list = NULL;
	uint32_t uid = s->namespaces[NS_USER].wanted ? spec_host_id(&s->uids, s->process.uid) : s->process.uid;

	if (!dir || !uid || uid == UINT32_MAX || !is_wanted(s))
		return 0;
	autoclose int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fchown(fd, uid, (gid_t)-1) < 0)
		return fail(errno, "hand cgroup %s over to user %u", dir, uid);
	if (file_read(AT_FDCWD, "/sys/kernel/cgroup/delegate", &list, 1 << 16) < 0)
		list = str_dup("cgroup.procs\ncgroup.threads\ncgroup.subtree_control\n");
	for (char *save, *name = strtok_r(list, "\n", &save); name; name = strtok_r(NULL, "\n", &save))
		if (fchownat(fd, name, uid, (gid_t)-1, AT_SYMLINK_NOFOLLOW) < 0 && errno != ENOENT)
			return fail(errno, "hand cgroup %s/%s over to user %u", dir, name, uid);
	return 0;
}
