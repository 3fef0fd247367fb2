/* SPDX-License-Identifier: Apache-2.0 */
/* update: limits of a container that is there.
 *
 * They are written as create writes them, one after the other; the kernel has no way to change several at once, so after an error those
 * before it are in force. On v1 a container is only in the hierarchies that it needed so far: a limit of another one makes its group and
 * moves the processes there.
 *
 * Device rules are replaced as a whole. Engines send those of the configuration along with every other change: the same rules are left
 * alone, since on v1 replacing them means that for a moment every device is denied. */
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "cgroup/cgroup.h"
#include "cgroup/rdt.h"
#include "container/container.h"

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static bool same_rules(const struct spec_resources *a, const struct spec_resources *b)
{
	if (a->n_devices != b->n_devices)
		return false;
	for (size_t i = 0; i < a->n_devices; i++) {
		const struct spec_device_rule *x = &a->devices[i], *y = &b->devices[i];
		if (x->allow != y->allow || x->type != y->type || x->major != y->major || x->minor != y->minor || !same_text(x->access, y->access))
			return false;
	}
	return true;
}

static bool rules_as_configured(struct container *c, const struct spec_resources *r)
{
	struct spec *s;
	size_t mark = err_mark();
	bool same = container_spec(c, &s) == 0 && same_rules(r, &s->resources);

	err_rewind(mark);   /* a configuration that cannot be read again is another one */
	spec_free(s);
	return same;
}

static int update_locked(struct container *c, const struct spec_resources *r)
{
	struct spec_resources changes = *r;
	enum oci_status status = container_status(c);

	if (status == OCI_STOPPED || status == OCI_CREATING)
		return fail_text(ESRCH, "container not running: %s", c->id);
	if (r->n_devices && rules_as_configured(c, r))
		changes.n_devices = 0;
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
