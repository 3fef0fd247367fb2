/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MODEL_EXTERNAL_H
#define MODEL_EXTERNAL_H

#include <stdbool.h>
#include <stddef.h>

/* The value of "type[id]:value" in a NULL-terminated list (or NULL) of external resources; "" if it has none, NULL if it is not there. */
const char *external_find(const char *const *list, const char *type, const char *id);
/* How many are of a type. */
size_t external_count(const char *const *list, const char *type);

#endif
