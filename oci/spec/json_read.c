/* SPDX-License-Identifier: Apache-2.0 */
/* JSON text to a tree, with yajl as the tokenizer: the only file that knows yajl.
 *
 * The text may come from anybody who can write a bundle, so everything has a limit: size, nesting, and the time to find a key that
 * occurs twice (sorting, not comparing all with all). yajl checks the grammar and that strings are UTF-8 in a loose sense; here is
 * added what it lets pass: overlong and surrogate encodings, a lone \ud800 escape (which it turns into '?'), NUL in a string (C
 * code behind would see a shorter one). The stack of open containers is an array: no recursion over the input. */
#include "spec/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_parse.h>

#include "base/err.h"

struct level {
	struct json *node, *last;
};

struct reader {
	struct arena *arena;
	yajl_handle yajl;
	struct json *top;
	struct level open[JSON_MAX_DEPTH];
	size_t depth;
	const char *key;       /* of the member whose value comes next */
	const char *problem;   /* why the parse was cancelled */
	char detail[96];
};

static int refuse(struct reader *r, const char *problem, const char *detail)
{
	r->problem = problem;
	snprintf(r->detail, sizeof r->detail, "%s", detail ? detail : "");
	return 0;
}

static struct json *add(struct reader *r, enum json_type type)
{
	struct json *node = arena_new(r->arena, struct json);

	node->type = type;
	node->offset = yajl_get_bytes_consumed(r->yajl);
	node->key = r->key;
	r->key = NULL;
	if (!r->depth) {
		r->top = node;
		return node;
	}
	struct level *level = &r->open[r->depth - 1];
	if (level->last)
		level->last->next = node;
	else
		level->node->first = node;
	level->last = node;
	level->node->n++;
	return node;
}

/* Length of the valid UTF-8 sequence at s, 0 if there is none (RFC 3629: shortest form, no surrogates, up to U+10FFFF). */
static size_t utf8_length(const unsigned char *s, size_t size)
{
	static const struct {
		unsigned char mask, lead, n;
		uint32_t min;
	} forms[] = { { 0x80, 0x00, 1, 0 }, { 0xe0, 0xc0, 2, 0x80 }, { 0xf0, 0xe0, 3, 0x800 }, { 0xf8, 0xf0, 4, 0x10000 } };

	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
		if ((s[0] & forms[i].mask) != forms[i].lead)
			continue;
		uint32_t c = s[0] & (unsigned char)~forms[i].mask;
		if (size < forms[i].n)
			return 0;
		for (size_t k = 1; k < forms[i].n; k++) {
			if ((s[k] & 0xc0) != 0x80)
				return 0;
			c = c << 6 | (s[k] & 0x3f);
		}
		bool surrogate = c >= 0xd800 && c < 0xe000;
		return c < forms[i].min || c > 0x10ffff || surrogate ? 0 : forms[i].n;
	}
	return 0;
}

static char *copy_text(struct reader *r, const unsigned char *s, size_t size)
{
	if (size && memchr(s, 0, size)) {
		refuse(r, "a string contains a NUL character", NULL);
		return NULL;
	}
	for (size_t i = 0, n; i < size; i += n) {
		n = utf8_length(s + i, size - i);
		if (!n) {
			refuse(r, "a string is not valid UTF-8", NULL);
			return NULL;
		}
	}
	char *text = arena_alloc(r->arena, size + 1);
	if (size)
		memcpy(text, s, size);
	return text;
}

static int on_null(void *ctx)
{
	add(ctx, JSON_NULL);
	return 1;
}

static int on_boolean(void *ctx, int value)
{
	add(ctx, JSON_BOOL)->boolean = value;
	return 1;
}

static int on_number(void *ctx, const char *s, size_t size)
{
	struct reader *r = ctx;
	char *text = arena_alloc(r->arena, size + 1);

	memcpy(text, s, size);
	add(r, JSON_NUMBER)->text = text;
	return 1;
}

static int on_string(void *ctx, const unsigned char *s, size_t size)
{
	char *text = copy_text(ctx, s, size);

	if (text)
		add(ctx, JSON_STRING)->text = text;
	return text != NULL;
}

static int on_key(void *ctx, const unsigned char *s, size_t size)
{
	struct reader *r = ctx;
	return (r->key = copy_text(r, s, size)) != NULL;
}

static int open_container(struct reader *r, enum json_type type)
{
	struct json *node = add(r, type);

	if (r->depth == JSON_MAX_DEPTH)
		return refuse(r, "values are nested too deeply", NULL);
	r->open[r->depth++] = (struct level){ .node = node };
	return 1;
}

static int on_open_map(void *ctx)
{
	return open_container(ctx, JSON_OBJECT);
}

static int on_open_array(void *ctx)
{
	return open_container(ctx, JSON_ARRAY);
}

static int on_close_array(void *ctx)
{
	struct reader *r = ctx;
	r->depth--;
	return 1;
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int on_close_map(void *ctx)
{
	struct reader *r = ctx;
	const struct json *object = r->open[--r->depth].node;
	autofree const char **keys = mem_alloc(object->n * sizeof *keys);
	size_t n = 0;

	for (const struct json *m = object->first; m; m = m->next)
		keys[n++] = m->key;
	qsort(keys, n, sizeof *keys, compare_keys);
	for (size_t i = 1; i < n; i++)
		if (!strcmp(keys[i - 1], keys[i]))
			return refuse(r, "a key occurs twice in one object: ", keys[i]);
	return 1;
}

static const yajl_callbacks callbacks = {
	.yajl_null = on_null,
	.yajl_boolean = on_boolean,
	.yajl_number = on_number,
	.yajl_string = on_string,
	.yajl_map_key = on_key,
	.yajl_start_map = on_open_map,
	.yajl_end_map = on_close_map,
	.yajl_start_array = on_open_array,
	.yajl_end_array = on_close_array,
};

static int fail_at(const char *name, const char *text, size_t offset, const char *why, const char *detail)
{
	size_t line = 1, column = 1;

	for (size_t i = 0; i < offset; i++) {
		column = text[i] == '\n' ? 1 : column + 1;
		line += text[i] == '\n';
	}
	return fail_text(EINVAL, "%s: line %zu, column %zu: %s%s", name, line, column, why, detail);
}

/* yajl says "parse error: why\n" or "lexical error: why\n". */
static int fail_syntax(struct reader *r, const char *name, const char *text, size_t size)
{
	size_t offset = yajl_get_bytes_consumed(r->yajl);
	unsigned char *error = yajl_get_error(r->yajl, 0, (const unsigned char *)text, size);
	autofree char *why = str_dup(error ? (const char *)error : "syntax error");

	if (error)
		yajl_free_error(r->yajl, error);
	why[strcspn(why, "\n")] = '\0';
	return fail_at(name, text, offset > size ? size : offset, why, "");
}

static bool is_hex4(const char *s, const char *end, uint32_t *value)
{
	char digits[5] = "";
	uint64_t v;

	if (end - s < 4)
		return false;
	memcpy(digits, s, 4);
	if (parse_u64(digits, 16, &v) < 0)
		return false;
	*value = (uint32_t)v;
	return true;
}

/* Offset of the first \u escape that is half a surrogate pair, or size. Backslashes occur in strings only. */
static size_t find_lone_surrogate(const char *text, size_t size)
{
	const char *end = text + size;

	for (const char *p = text; (p = memchr(p, '\\', (size_t)(end - p))); p += 2) {
		uint32_t high, low;
		if (end - p < 6)
			break;
		if (p[1] != 'u' || !is_hex4(p + 2, end, &high) || (high & 0xf800) != 0xd800)
			continue;
		if (high & 0x400 || end - p < 12 || p[6] != '\\' || p[7] != 'u' || !is_hex4(p + 8, end, &low) || (low & 0xfc00) != 0xdc00)
			return (size_t)(p - text);
		p += 6;
	}
	return size;
}

int json_parse(struct arena *arena, const char *name, const char *text, size_t size, struct json **out)
{
	struct reader r = { .arena = arena };

	if (size > JSON_MAX_SIZE)
		return fail_text(EFBIG, "%s: larger than %u MiB", name, JSON_MAX_SIZE >> 20);
	size_t lone = find_lone_surrogate(text, size);
	if (lone < size)
		return fail_at(name, text, lone, "a \\u escape is half a surrogate pair", "");
	r.yajl = yajl_alloc(&callbacks, NULL, &r);
	if (!r.yajl)
		return fail(ENOMEM, "%s: start the JSON parser", name);
	yajl_status status = yajl_parse(r.yajl, (const unsigned char *)text, size);
	if (status == yajl_status_ok)
		status = yajl_complete_parse(r.yajl);
	int result = 0;
	if (r.problem)
		result = fail_at(name, text, yajl_get_bytes_consumed(r.yajl), r.problem, r.detail);
	else if (status != yajl_status_ok)
		result = fail_syntax(&r, name, text, size);
	else if (!r.top)
		result = fail_text(EINVAL, "%s: empty, expected a JSON object", name);
	yajl_free(r.yajl);
	*out = r.top;
	return result;
}

const struct json *json_get(const struct json *object, const char *key)
{
	if (!object || object->type != JSON_OBJECT)
		return NULL;
	for (const struct json *m = object->first; m; m = m->next)
		if (!strcmp(m->key, key))
			return m->type == JSON_NULL ? NULL : m;
	return NULL;
}

const char *json_string(const struct json *object, const char *key)
{
	const struct json *m = json_get(object, key);
	return m && m->type == JSON_STRING ? m->text : NULL;
}

bool json_u64(const struct json *object, const char *key, uint64_t *value)
{
	const struct json *m = json_get(object, key);
	return m && m->type == JSON_NUMBER && parse_u64(m->text, 10, value) == 0;
}

const char *json_type_name(enum json_type type)
{
	static const char *const names[] = { "null", "a boolean", "a number", "a string", "an array", "an object" };
	return names[type];
}
