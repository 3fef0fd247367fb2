/* SPDX-License-Identifier: Apache-2.0 */
/* linux.intelRdt. closID becomes the name of a directory: one component, or "/" for the root group. A line of shares is one line. */
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "spec/internal.h"

#define ROW_OF spec_intel_rdt
#define AT(field) .at = offsetof(struct ROW_OF, field)
static const struct map_row rows[] = {
	{ "closID", MAP_STRING, AT(clos_id) },
	{ "schemata", MAP_STRINGS, AT(schemata) },
	{ "l3CacheSchema", MAP_STRING, AT(l3) },
	{ "memBwSchema", MAP_STRING, AT(bandwidth) },
	{ "enableMonitoring", MAP_BOOL, AT(monitoring) },
};
const struct map_table spec_intel_rdt_table = MAP_TABLE_OF(rows, struct spec_intel_rdt, NULL);

int spec_check_intel_rdt(const char *name, const struct spec *s)
{
	const struct spec_intel_rdt *r = &s->intel_rdt;

	if (r->clos_id && strcmp(r->clos_id, "/") != 0 && (strchr(r->clos_id, '/') || !strcmp(r->clos_id, ".") || !strcmp(r->clos_id, "..")))
		return fail_text(EINVAL, "%s: linux.intelRdt.closID: \"%s\" is not the name of a directory", name, r->clos_id);
	for (size_t i = 0; i < r->schemata.n; i++)
		if (strchr(r->schemata.data[i], '\n'))
			return fail_text(EINVAL, "%s: linux.intelRdt.schemata[%zu]: more than one line", name, i);
	if (r->bandwidth && *r->bandwidth && (!str_starts(r->bandwidth, "MB:") || strchr(r->bandwidth, '\n')))
		return fail_text(EINVAL, "%s: linux.intelRdt.memBwSchema: \"%s\" is not one line that begins with MB:", name, r->bandwidth);
	return 0;
}
