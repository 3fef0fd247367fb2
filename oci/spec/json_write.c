/* SPDX-License-Identifier: Apache-2.0 */
/* JSON text out: state files, `state`, `list`, `features`, `spec`. Either on one line or, pretty, as other runtimes print it: one
 * value a line, four blanks a level, empty arrays and objects on one line. Strings go through json_escape(), which makes any
 * bytes valid. */
#include "spec/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_escape.h"

static void room(struct json_out *o, size_t more)
{
	while (o->size + more + 1 > o->cap) {
		o->cap = o->cap ? o->cap * 2 : 1024;
		o->text = mem_realloc(o->text, o->cap);
	}
}

static void put(struct json_out *o, const char *s)
{
	size_t n = strlen(s);

	room(o, n);
	memcpy(o->text + o->size, s, n);
	o->size += n;
}

static void put_string(struct json_out *o, const char *s)
{
	size_t max = strlen(s) * 6;   /* the longest escape is \uXXXX for one byte */

	put(o, "\"");
	room(o, max);
	o->size += json_escape(o->text + o->size, max, s);
	put(o, "\"");
}

static void new_line(struct json_out *o)
{
	if (!o->pretty)
		return;
	put(o, "\n");
	for (size_t i = 0; i < o->depth; i++)
		put(o, "    ");
}

static void begin(struct json_out *o, const char *key)
{
	if (o->depth) {
		if (!o->first)
			put(o, ",");
		new_line(o);
	}
	o->first = false;
	if (key) {
		put_string(o, key);
		put(o, o->pretty ? ": " : ":");
	}
}

static void open_level(struct json_out *o, const char *key, const char *bracket)
{
	begin(o, key);
	put(o, bracket);
	o->depth++;
	o->first = true;
}

static void close_level(struct json_out *o, const char *bracket)
{
	bool empty = o->first;

	o->depth--;
	if (!empty)
		new_line(o);
	put(o, bracket);
	o->first = false;
}

void json_open_object(struct json_out *o, const char *key)
{
	open_level(o, key, "{");
}

void json_close_object(struct json_out *o)
{
	close_level(o, "}");
}

void json_open_array(struct json_out *o, const char *key)
{
	open_level(o, key, "[");
}

void json_close_array(struct json_out *o)
{
	close_level(o, "]");
}

void json_add_string(struct json_out *o, const char *key, const char *value)
{
	if (!value)
		return;
	begin(o, key);
	put_string(o, value);
}

void json_add_bool(struct json_out *o, const char *key, bool value)
{
	begin(o, key);
	put(o, value ? "true" : "false");
}

void json_add_i64(struct json_out *o, const char *key, int64_t value)
{
	char text[24];

	snprintf(text, sizeof text, "%" PRId64, value);
	begin(o, key);
	put(o, text);
}

void json_add_u64(struct json_out *o, const char *key, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof text, "%" PRIu64, value);
	begin(o, key);
	put(o, text);
}

void json_add_raw(struct json_out *o, const char *key, const char *value)
{
	begin(o, key);
	put(o, value);
}

void json_add_strings(struct json_out *o, const char *key, const char *const *values)
{
	json_open_array(o, key);
	for (; *values; values++)
		json_add_string(o, NULL, *values);
	json_close_array(o);
}

char *json_take(struct json_out *o)
{
	room(o, 0);
	o->text[o->size] = '\0';
	char *text = o->text;
	*o = (struct json_out){ .pretty = o->pretty };
	return text;
}
