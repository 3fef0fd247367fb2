/* SPDX-License-Identifier: Apache-2.0 */
/* linux.netDevices: an object whose keys are names of devices on the host. A name is what the kernel takes for one: up to 15 bytes without
 * blanks and slashes. Two devices cannot have one name, and without a network namespace of its own a container has nowhere to put any. */
#include <errno.h>
#include <net/if.h>
#include <string.h>

#include "base/err.h"
#include "spec/internal.h"

#define ROW_OF spec_net_device
static const struct map_row rows[] = {
	{ "name", MAP_STRING, .at = offsetof(struct spec_net_device, name) },
};
static const struct map_table table = MAP_TABLE_OF(rows, struct spec_net_device, NULL);

int spec_map_net_devices(struct map *m, const struct map_row *row, const struct map_path *path, const struct json *node, void *field)
{
	struct spec *s = field;
	int r = map_want(m, path, node, JSON_OBJECT);

	(void)row;
	if (r < 0)
		return r;
	s->net_devices = arena_array(m->arena, struct spec_net_device, node->n + 1);
	s->n_net_devices = 0;
	for (const struct json *e = node->first; e && r >= 0; e = e->next) {
		struct map_path member = { path, e->key, 0 };
		struct spec_net_device *d = &s->net_devices[s->n_net_devices++];
		d->host = arena_str(m->arena, e->key);
		r = map_object(m, &table, &member, e, d);
	}
	return r;
}

static bool is_name(const char *name)
{
	return *name && strlen(name) < IFNAMSIZ && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !strpbrk(name, "/: \t\n\v\f\r");
}

static const char *inside(const struct spec_net_device *d)
{
	return d->name && *d->name ? d->name : d->host;
}

int spec_check_net_devices(const char *name, const struct spec *s)
{
	if (s->n_net_devices && !s->namespaces[NS_NETWORK].wanted)
		return fail_text(EINVAL, "%s: linux.netDevices: needs a network namespace in linux.namespaces", name);
	for (size_t i = 0; i < s->n_net_devices; i++) {
		const struct spec_net_device *d = &s->net_devices[i];
		if (!is_name(d->host) || !is_name(inside(d)))
			return fail_text(EINVAL, "%s: linux.netDevices: \"%s\" is not the name of a network device", name,
				is_name(d->host) ? inside(d) : d->host);
		for (size_t k = 0; k < i; k++)
			if (!strcmp(inside(d), inside(&s->net_devices[k])))
				return fail_text(EINVAL, "%s: linux.netDevices: two devices are to be called %s", name, inside(d));
	}
	return 0;
}
