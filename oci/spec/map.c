/* SPDX-License-Identifier: Apache-2.0 */
/* The walk that turns a JSON tree into structs by a table (map.h). It knows types, ranges and names of values; what a property means
 * together with others is the business of check.c.
 *
 * The walk goes over what the document has, not over what the table has: an unknown property costs one lookup and is left alone,
 * a known one of the wrong type is an error wherever it is. Recursion is bounded by the depth limit of the JSON reader. */
#define LOG_PREFIX "spec"
#include "spec/map.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "spec/spec.h"

static size_t path_text(const struct map_path *p, char *out, size_t size)
{
	if (!p || !size)
		return 0;
	size_t at = path_text(p->up, out, size);
	int n = p->key ? snprintf(out + at, size - at, "%s%s", at ? "." : "", p->key) : snprintf(out + at, size - at, "[%zu]", p->index);
	at += n < 0 ? 0 : (size_t)n;
	return at < size ? at : size - 1;
}

int map_fail(struct map *m, const struct map_path *path, const char *fmt, ...)
{
	char where[256] = "", why[512];
	va_list ap;

	path_text(path, where, sizeof where);
	va_start(ap, fmt);
	vsnprintf(why, sizeof why, fmt, ap);
	va_end(ap);
	return fail_text(EINVAL, "%s: %s%s%s", m->name, where, *where ? ": " : "", why);
}

int map_want(struct map *m, const struct map_path *path, const struct json *node, enum json_type type)
{
	if (node->type == type)
		return 0;
	return map_fail(m, path, "expected %s, found %s", json_type_name(type), json_type_name(node->type));
}

/* A value in [min, max]; min may be negative, then the value is returned in two's complement. */
int map_integer(struct map *m, const struct map_path *path, const struct json *node, int64_t min, uint64_t max, uint64_t *value)
{
	if (node->type != JSON_NUMBER)
		return map_fail(m, path, "expected an integer, found %s", json_type_name(node->type));
	bool negative = node->text[0] == '-';
	int64_t below = 0;
	int r = negative ? parse_i64(node->text, 10, &below) : parse_u64(node->text, 10, value);
	if (r == -EINVAL)
		return map_fail(m, path, "expected an integer, found %s", node->text);
	if (r < 0 || (negative ? below < min : *value > max || (min > 0 && *value < (uint64_t)min)))
		return map_fail(m, path, "%s is out of range (%" PRId64 " to %" PRIu64 ")", node->text, min, max);
	if (negative)
		*value = (uint64_t)below;
	return 0;
}

int map_enum(struct map *m, const struct map_path *path, const struct json *node, const struct map_name *names, uint32_t *value)
{
	char known[400] = "";
	size_t at = 0;
	int r = map_want(m, path, node, JSON_STRING);

	if (r < 0)
		return r;
	for (const struct map_name *n = names; n->name; n++) {
		if (!strcmp(n->name, node->text)) {
			*value = n->value;
			return 0;
		}
		if (at < sizeof known && *n->name)
			at += (size_t)snprintf(known + at, sizeof known - at, "%s%s", at ? ", " : "", n->name);
	}
	return map_fail(m, path, "unknown value \"%s\" (known: %s)", node->text, known);
}

/* Room for all elements and one more; NULL when it is no array (explained). */
static void *map_array_start(struct map *m, const struct map_path *path, const struct json *node, size_t size)
{
	return map_want(m, path, node, JSON_ARRAY) < 0 ? NULL : arena_alloc(m->arena, (node->n + 1) * size);
}

static int map_strings(struct map *m, const struct map_path *path, const struct json *node, struct strings *out)
{
	struct map_path element = { path, NULL, 0 };
	int r = 0;

	out->data = map_array_start(m, path, node, sizeof(char *));
	if (!out->data)
		return -EINVAL;
	out->n = 0;
	for (const struct json *e = node->first; e && r == 0; e = e->next, element.index++) {
		r = map_want(m, &element, e, JSON_STRING);
		if (r == 0)
			out->data[out->n++] = arena_str(m->arena, e->text);
	}
	return r;
}

static int map_pairs(struct map *m, const struct map_path *path, const struct json *node, struct spec_pairs *out)
{
	int r = map_want(m, path, node, JSON_OBJECT);

	if (r < 0)
		return r;
	out->data = arena_array(m->arena, struct spec_pair, node->n + 1);
	out->n = 0;
	for (const struct json *e = node->first; e; e = e->next) {
		struct map_path member = { path, e->key, 0 };
		r = map_want(m, &member, e, JSON_STRING);
		if (r < 0)
			return r;
		out->data[out->n++] = (struct spec_pair){ arena_str(m->arena, e->key), arena_str(m->arena, e->text) };
	}
	return 0;
}

static int map_u32s(struct map *m, const struct map_path *path, const struct json *node, uint32_t **data, size_t *n)
{
	struct map_path element = { path, NULL, 0 };
	uint64_t value;
	int r;

	*data = map_array_start(m, path, node, sizeof(uint32_t));
	if (!*data)
		return -EINVAL;
	for (const struct json *e = node->first; e; e = e->next, element.index++) {
		r = map_integer(m, &element, e, 0, UINT32_MAX, &value);
		if (r < 0)
			return r;
		(*data)[element.index] = (uint32_t)value;
	}
	*n = node->n;
	return 0;
}

static int map_list(struct map *m, const struct map_row *row, const struct map_path *path, const struct json *node, char *base)
{
	struct map_path element = { path, NULL, 0 };
	char *list = map_array_start(m, path, node, row->of->size);

	if (!list)
		return -EINVAL;
	for (const struct json *e = node->first; e; e = e->next, element.index++) {
		char *at = list + element.index * row->of->size;
		if (row->of->initial)
			memcpy(at, row->of->initial, row->of->size);
		int r = map_object(m, row->of, &element, e, at);
		if (r < 0)
			return r;
	}
	memcpy(base + row->at, &list, sizeof list);
	memcpy(base + row->count, &node->n, sizeof node->n);
	return 0;
}

static int map_number(struct map *m, const struct map_row *row, const struct map_path *path, const struct json *node, void *field)
{
	bool is_signed = row->kind == MAP_I64 || row->kind == MAP_INT;
	static const uint64_t max[] = { [MAP_I64] = INT64_MAX, [MAP_U64] = UINT64_MAX, [MAP_U32] = UINT32_MAX, [MAP_INT] = INT32_MAX };
	int64_t least = !is_signed ? 0 : row->kind == MAP_I64 ? INT64_MIN : INT32_MIN;
	uint64_t value;
	int r = map_integer(m, path, node, row->max ? row->min : least, row->max ? row->max : max[row->kind], &value);

	if (r < 0)
		return r;
	if (row->kind == MAP_U32 || row->kind == MAP_INT)
		memcpy(field, &(uint32_t){ (uint32_t)value }, sizeof(uint32_t));
	else
		memcpy(field, &value, sizeof value);
	return 0;
}

/* False for values that ask for nothing: null, false, 0, "", and lists and objects of such. Engines write those for features
 * that they do not use. */
static bool asks(const struct json *node)
{
	switch (node->type) {
	case JSON_NULL:
		return false;
	case JSON_BOOL:
		return node->boolean;
	case JSON_NUMBER:
		return strcmp(node->text, "0") != 0;
	case JSON_STRING:
		return *node->text;
	default:
		for (const struct json *e = node->first; e; e = e->next)
			if (asks(e))
				return true;
		return false;
	}
}

static int map_string(struct map *m, const struct map_path *path, const struct json *node, char **field)
{
	int r = map_want(m, path, node, JSON_STRING);

	if (r == 0)
		*field = arena_str(m->arena, node->text);
	return r;
}

static int map_bool(struct map *m, const struct map_path *path, const struct json *node, bool *field)
{
	int r = map_want(m, path, node, JSON_BOOL);

	if (r == 0)
		*field = node->boolean;
	return r;
}

static int map_members(struct map *m, const struct map_table *table, const char *prefix, const struct map_path *path,
	const struct json *node, void *base);

static int map_value(struct map *m, const struct map_table *table, const struct map_row *row, const struct map_path *path,
	const struct json *node, char *base)
{
	void *field = base + row->at;

	switch (row->kind) {
	case MAP_OBJECT:
		return map_members(m, table, row->path, path, node, base);
	case MAP_STRING:
		return map_string(m, path, node, field);
	case MAP_BOOL:
		return map_bool(m, path, node, field);
	case MAP_I64:
	case MAP_U64:
	case MAP_U32:
	case MAP_INT:
		return map_number(m, row, path, node, field);
	case MAP_ENUM:
		return map_enum(m, path, node, row->names, field);
	case MAP_STRINGS:
		return map_strings(m, path, node, field);
	case MAP_PAIRS:
		return map_pairs(m, path, node, field);
	case MAP_U32S:
		return map_u32s(m, path, node, field, (size_t *)(void *)(base + row->count));
	case MAP_LIST:
		return map_list(m, row, path, node, base);
	case MAP_TABLE:
		return map_object(m, row->of, path, node, field);
	case MAP_CALL:
		return row->call(m, row, path, node, field);
	case MAP_REFUSE:
		return asks(node) ? map_fail(m, path, "%s: not supported by this version of torpor", row->reason) : 0;
	}
	return map_fail(m, path, "the table has no such kind of row");
}

/* The key of a row whose parent in the table is prefix, or NULL. */
static const char *key_below(const struct map_row *row, const char *prefix)
{
	size_t n = strlen(prefix);

	if (n && (strncmp(row->path, prefix, n) || row->path[n++] != '.'))
		return NULL;
	return strchr(row->path + n, '.') ? NULL : row->path + n;
}

static const struct map_row *find_row(const struct map_table *table, const char *prefix, const char *name)
{
	for (size_t i = 0; i < table->n; i++) {
		const char *key = key_below(&table->rows[i], prefix);
		if (key && !strcmp(key, name))
			return &table->rows[i];
	}
	return NULL;
}

static int check_required(struct map *m, const struct map_table *table, const char *prefix, const struct map_path *path,
	const struct json *node)
{
	for (size_t i = 0; i < table->n; i++) {
		const char *key = table->rows[i].required ? key_below(&table->rows[i], prefix) : NULL;
		struct map_path missing = { path, key, 0 };
		if (key && !json_get(node, key))
			return map_fail(m, &missing, "required, but absent");
	}
	return 0;
}

static int map_members(struct map *m, const struct map_table *table, const char *prefix, const struct map_path *path,
	const struct json *node, void *base)
{
	int r = map_want(m, path, node, JSON_OBJECT);

	for (const struct json *e = node->first; e && r >= 0; e = e->next) {
		struct map_path member = { path, e->key, 0 };
		const struct map_row *row = find_row(table, prefix, e->key);
		if (!row)
			log_debug("%s: unknown property \"%s\" is ignored", m->name, e->key);
		if (!row || e->type == JSON_NULL)
			continue;
		r = map_value(m, table, row, &member, e, base);
		if (row->has)
			*((bool *)base + row->has - 1) = true;
	}
	return r < 0 ? r : check_required(m, table, prefix, path, node);
}

int map_object(struct map *m, const struct map_table *table, const struct map_path *path, const struct json *node, void *base)
{
	return map_members(m, table, "", path, node, base);
}
