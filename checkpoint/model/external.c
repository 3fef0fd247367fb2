/* SPDX-License-Identifier: Apache-2.0 */
/* Resources from outside the tree, as the caller names them: "mnt[/data]:label", "net[4026531840]:key". */
#include "model/external.h"

#include <string.h>

static const char *after_type(const char *item, const char *type)
{
	size_t len = strlen(type);

	return !strncmp(item, type, len) && item[len] == '[' ? item + len + 1 : NULL;
}

const char *external_find(const char *const *list, const char *type, const char *id)
{
	size_t len = strlen(id);

	for (; list && *list; list++) {
		const char *at = after_type(*list, type);
		if (at && !strncmp(at, id, len) && at[len] == ']')
			return at[len + 1] == ':' ? at + len + 2 : "";
	}
	return NULL;
}

size_t external_count(const char *const *list, const char *type)
{
	size_t n = 0;

	for (; list && *list; list++)
		n += after_type(*list, type) != NULL;
	return n;
}
