/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_CGROUP_RDT_H
#define OCI_CGROUP_RDT_H

#include <sys/types.h>

#include "base/str.h"
#include "spec/spec.h"

/* Intel RDT (linux.intelRdt): a container's share of caches and memory bandwidth, a group of the kernel's resctrl filesystem.
 *
 * rdt_plan() says in *made what will be made (paths, to be saved before): "group", and "monitor" for a monitoring group of its own. What
 * was there already is not in it and stays at the end. rdt_create() makes them and sets the shares, rdt_join() moves a process there,
 * rdt_remove() takes away what was made. A specification without intelRdt: all do nothing. root: the mount, RDT_ROOT. */
#define RDT_ROOT "/sys/fs/resctrl"

int rdt_plan(struct arena *arena, const char *root, const struct spec_intel_rdt *r, const char *id, struct spec_pairs *made);
int rdt_create(const char *root, const struct spec_intel_rdt *r, const char *id, const struct spec_pairs *made);
int rdt_join(const char *root, const struct spec_intel_rdt *r, const char *id, pid_t pid);
void rdt_remove(const struct spec_pairs *made);
/* update: other shares for the group that the container is in; those before are noted. */
struct cgroup_journal;
int rdt_update(const struct spec_pairs *made, const char *l3, const char *bandwidth, struct cgroup_journal *before);
bool rdt_is_there(const char *root);

#endif
