/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NS_CGROUP_H
#define NS_CGROUP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"
#include "cgroup.pb-c.h"

/* The lines of /proc/PID/cgroup ("4:cpu,cpuacct:/path") as members of a set, by name; cgroup2 has an empty name. text is cut up. */
size_t cgroup_members(struct arena *arena, char *text, CgMemberEntry ***out);

/* The root directory of a hierarchy, as this process's cgroup namespace has it: mounted for the while and attached nowhere, or the
 * directory of its name in yard. name: as in a set. */
int cgroup_open(const char *yard, const char *name);
/* "cpu" is one of "cpu,cpuacct". */
bool cgroup_name_has(const char *name, const char *controller);

/* What is saved of the groups of a controller: a NULL-terminated list. spec: CRIU's text (--cgroup-props), or NULL. */
struct cgroup_props;
int cgroup_props_parse(struct arena *arena, const char *spec, struct cgroup_props **out);
const char *const *cgroup_props_of(const struct cgroup_props *p, const char *controller);
extern const char *const cgroup_props_v1[], *const cgroup_props_v2[];   /* of every group */

#endif
