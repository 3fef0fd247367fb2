/* SPDX-License-Identifier: Apache-2.0 */
/* update: limits of a container that is there.
 *
 * They are written as create writes them, one after the other; the kernel has no way to change several at once. After an error those
 * before it are put back (cgroup/journal.c): an update is done as a whole or not at all. Device rules are the last, as they change all or
 * nothing by themselves.
 *
 * On v1 a container is only in the hierarchies that it needed so far: a limit of another one makes its group and moves the processes there. That
 * stays, whatever comes then: a group without limits is none.
 *
 * Device rules are replaced as a whole. Engines send those of the configuration along with every other change, so what the old rules and the new
 * ones allow must stay allowed meanwhile: v2 exchanges its program at once, v1 is changed by the difference (cgroup/devices.c). */
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "cgroup/cgroup.h"
#include "cgroup/rdt.h"
#include "container/container.h"

static int update_locked(struct container *c, const struct oci_update *u)
{
	struct spec_resources changes = *u->resources;
	enum oci_status status = container_status(c);

	if (status == OCI_STOPPED || status == OCI_CREATING)
		return fail_text(ESRCH, "container not running: %s", c->id);
	int more = cgroup_plan_more(&c->arena, &c->cgroups, &changes);
	if (more > 0) {
		int done = container_save(c);
		more = done < 0 ? done : cgroup_make_more(&c->cgroups, (size_t)more);
	}
	if (more < 0)
		return more;
	struct cgroup_journal before = { 0 };
	int done = cgroup_apply(&c->cgroups, &changes, &before);
	if (done >= 0)
		done = rdt_update(&c->resctrl, u->l3_schema, u->bandwidth_schema, &before);
	if (done >= 0)
		done = cgroup_apply_devices(&c->cgroups, &changes);
	if (done < 0)
		cgroup_put_back(&before);
	cgroup_journal_free(&before);
	return done;
}

int container_update(struct container *c, const struct oci_update *u)
{
	int done = container_lock(c);

	if (done < 0)
		return done;
	done = update_locked(c, u);
	container_unlock(c);
	return done;
}
