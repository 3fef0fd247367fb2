/* SPDX-License-Identifier: Apache-2.0 */
/* update: limits of a container that is there.
 *
 * They are written as create writes them, one after the other; the kernel has no way to change several at once, so after an error those
 * before it are in force. On v1 a container is only in the hierarchies that it needed so far: a limit of another one makes its group and
 * moves the processes there.
 *
 * Device rules are replaced as a whole. Engines send those of the configuration along with every other change, so what the old rules and the new
 * ones allow must stay allowed meanwhile: v2 exchanges its program at once, v1 is changed by the difference (cgroup/devices.c). */
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "cgroup/cgroup.h"
#include "cgroup/rdt.h"
#include "container/container.h"

static int update_locked(struct container *c, const struct spec_resources *r)
{
	struct spec_resources changes = *r;
	enum oci_status status = container_status(c);

	if (status == OCI_STOPPED || status == OCI_CREATING)
		return fail_text(ESRCH, "container not running: %s", c->id);
	int more = cgroup_plan_more(&c->arena, &c->cgroups, &changes);
	if (more > 0) {
		int done = container_save(c);
		more = done < 0 ? done : cgroup_make_more(&c->cgroups, (size_t)more);
	}
	return more < 0 ? more : cgroup_apply(&c->cgroups, &changes);
}

int container_update(struct container *c, const struct spec_resources *r)
{
	int done = container_lock(c);

	if (done < 0)
		return done;
	done = update_locked(c, r);
	container_unlock(c);
	return done;
}

int container_update_rdt(struct container *c, const char *l3_schema, const char *bandwidth_schema)
{
	int done = container_lock(c);

	if (done < 0)
		return done;
	done = rdt_update(&c->resctrl, l3_schema, bandwidth_schema);
	container_unlock(c);
	return done;
}
