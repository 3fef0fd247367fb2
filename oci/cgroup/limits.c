/* SPDX-License-Identifier: Apache-2.0 */
/* Writing limits: what both layouts share. A limit that is one number or text in one file is a row of a table (limits_v1.c,
 * limits_v2.c); the rest are functions. A file that is not there is said as what it means: the kernel was built without that limit, or
 * the group's parent does not pass the controller down. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "cgroup/internal.h"

static const char *directory(const struct spec_pairs *cgroups, const char *controller)
{
	return cgroup_path(cgroups, cgroup_ops_of(cgroups) == &cgroup_v2_ops ? "" : controller);
}

int cgroup_set(const struct cgroup_target *g, const char *controller, const char *file, const char *property, const char *fmt, ...)
{
	char path[PATH_MAX], value[256];
	const char *dir = directory(g->groups, controller);

	if (!dir)
		return fail_text(EOPNOTSUPP, "%s: this machine has no cgroup controller \"%s\"", property, controller);
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(value, sizeof value, fmt, ap);
	va_end(ap);
	if (n >= (int)sizeof value || snprintf(path, sizeof path, "%s/%s", dir, file) >= (int)sizeof path)
		return fail(ENAMETOOLONG, "%s: write %s/%s", property, dir, file);
	cgroup_journal_note(g->before, dir, file, value);
	int r = file_write(AT_FDCWD, path, value);
	if (r == -ENOENT || (r == -EACCES && access(path, F_OK) < 0))   /* EACCES: cgroupfs says so of a file to be created */
		return fail_text(EOPNOTSUPP, "%s: there is no %s: this kernel has no such limit, or its controller is not enabled there", property, path);
	return r < 0 ? fail(-r, "%s: write \"%s\" into %s", property, value, path) : 0;
}

bool cgroup_has_file(const struct cgroup_target *g, const char *controller, const char *file)
{
	char path[PATH_MAX];
	const char *dir = directory(g->groups, controller);

	return dir && snprintf(path, sizeof path, "%s/%s", dir, file) < (int)sizeof path && access(path, F_OK) == 0;
}

static int set_one(const struct cgroup_target *g, const struct cgroup_limit *l, const void *field)
{
	char property[64];

	snprintf(property, sizeof property, "linux.resources.%s", l->property);
	switch (l->kind) {
	case LIMIT_I64:
		return cgroup_set(g, l->controller, l->file, property, "%" PRId64, *(const int64_t *)field);
	case LIMIT_U64:
		return cgroup_set(g, l->controller, l->file, property, "%" PRIu64, *(const uint64_t *)field);
	case LIMIT_U32:
		return cgroup_set(g, l->controller, l->file, property, "%" PRIu32, *(const uint32_t *)field);
	case LIMIT_BOOL:
		return cgroup_set(g, l->controller, l->file, property, "%d", *(const bool *)field);
	case LIMIT_AMOUNT:
		if (*(const int64_t *)field < 0)
			return cgroup_set(g, l->controller, l->file, property, "max");
		return cgroup_set(g, l->controller, l->file, property, "%" PRId64, *(const int64_t *)field);
	case LIMIT_TEXT:
		return cgroup_set(g, l->controller, l->file, property, "%s", *(char *const *)field);
	case LIMIT_REFUSED:
		return fail_text(EOPNOTSUPP, "%s: %s", property, l->file);
	}
	return 0;
}

int cgroup_set_all(const struct cgroup_target *g, const struct spec_resources *r, const struct cgroup_limit *limits, size_t n)
{
	int done = 0;

	for (size_t i = 0; done >= 0 && i < n; i++) {
		const char *field = (const char *)r + limits[i].at;
		bool wanted = limits[i].has ? *((const bool *)r + limits[i].has - 1) : *(char *const *)(const void *)field != NULL;
		if (wanted)
			done = set_one(g, &limits[i], field);
	}
	return done;
}

int cgroup_set_hugepages(const struct cgroup_target *g, const struct spec_resources *r, const char *limit)
{
	char file[64], reserved[64], property[64];
	int done = 0;

	for (size_t i = 0; done >= 0 && i < r->n_hugepages; i++) {
		const struct spec_hugepage *h = &r->hugepages[i];
		snprintf(property, sizeof property, "linux.resources.hugepageLimits[%zu]", i);
		snprintf(file, sizeof file, "hugetlb.%s.%s", h->page_size, limit);
		snprintf(reserved, sizeof reserved, "hugetlb.%s.rsvd.%s", h->page_size, limit);
		done = cgroup_set(g, "hugetlb", file, property, "%" PRIu64, h->limit);
		/* Reservations too (5.7): else a mapping succeeds and its use is killed. */
		if (done >= 0 && cgroup_has_file(g, "hugetlb", reserved))
			done = cgroup_set(g, "hugetlb", reserved, property, "%" PRIu64, h->limit);
	}
	return done;
}

int cgroup_set_pids(const struct cgroup_target *g, const struct spec_resources *r)
{
	if (!r->has_pids_limit)
		return 0;
	if (r->pids_limit <= 0)
		return cgroup_set(g, "pids", "pids.max", "linux.resources.pids.limit", "max");
	return cgroup_set(g, "pids", "pids.max", "linux.resources.pids.limit", "%" PRId64, r->pids_limit);
}

/* Both numbers on one line; what is not limited says max. */
int cgroup_set_rdma(const struct cgroup_target *g, const struct spec_resources *r)
{
	char handles[24], objects[24];
	int done = 0;

	for (size_t i = 0; done >= 0 && i < r->n_rdma; i++) {
		const struct spec_rdma *d = &r->rdma[i];
		snprintf(handles, sizeof handles, d->has_handles ? "%u" : "max", d->handles);
		snprintf(objects, sizeof objects, d->has_objects ? "%u" : "max", d->objects);
		done = cgroup_set(g, "rdma", "rdma.max", "linux.resources.rdma", "%s hca_handle=%s hca_object=%s", d->device, handles, objects);
	}
	return done;
}
