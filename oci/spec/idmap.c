/* SPDX-License-Identifier: Apache-2.0 */
/* Maps of ids (uidMappings, gidMappings), as they are looked up and as the kernel takes them. */
#include <stdlib.h>

#include "base/str.h"
#include "spec/spec.h"

uint32_t spec_host_id(const struct spec_id_maps *maps, uint32_t id)
{
	for (size_t i = 0; i < maps->n; i++)
		if (id >= maps->data[i].container && id - maps->data[i].container < maps->data[i].size)
			return id - maps->data[i].container + maps->data[i].host;
	return UINT32_MAX;
}

char *spec_id_map_text(const struct spec_id_maps *maps)
{
	char *text = str_dup("");

	for (size_t i = 0; i < maps->n; i++) {
		const struct spec_id_map *m = &maps->data[i];
		char *longer = str_printf("%s%u %u %u\n", text, m->container, m->host, m->size);
		free(text);
		text = longer;
	}
	return text;
}
