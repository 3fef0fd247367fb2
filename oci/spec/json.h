/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_JSON_H
#define OCI_JSON_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* A JSON text as a tree. Strings are valid UTF-8 without NUL, numbers stay text so that 64-bit integers are exact. */
enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json {
	enum json_type type;
	bool boolean;
	const char *key;            /* of a member of an object, else NULL */
	const char *text;           /* of a string or number */
	struct json *first, *next;  /* children, in the text's order; the next child of the same parent */
	size_t n;                   /* number of children */
	size_t offset;              /* byte just after its first token in the text */
};

#define JSON_MAX_SIZE (16u << 20)
#define JSON_MAX_DEPTH 64

/* Reads one JSON value and nothing after it. Refused: more than JSON_MAX_SIZE bytes or JSON_MAX_DEPTH levels, a key twice in an
 * object, invalid UTF-8, lone surrogates and NUL in strings. The tree belongs to the arena. Failures are explained as
 * "NAME: line L, column C: why". */
int json_parse(struct arena *arena, const char *name, const char *text, size_t size, struct json **out);
/* The member of an object (NULL: absent, null, or not an object). */
const struct json *json_get(const struct json *object, const char *key);
const char *json_string(const struct json *object, const char *key);   /* NULL: absent or no string */
bool json_u64(const struct json *object, const char *key, uint64_t *value);
const char *json_type_name(enum json_type type);   /* with its article: "an object" */

/* Writing: a text that grows, commas and (when pretty) indentation put in by itself. Keys are NULL inside arrays and for the
 * outermost value. */
struct json_out {
	char *text;
	size_t size, cap, depth;
	bool pretty, first;
};
void json_open_object(struct json_out *o, const char *key);
void json_close_object(struct json_out *o);
void json_open_array(struct json_out *o, const char *key);
void json_close_array(struct json_out *o);
void json_add_string(struct json_out *o, const char *key, const char *value);   /* NULL: nothing is written */
void json_add_bool(struct json_out *o, const char *key, bool value);
void json_add_i64(struct json_out *o, const char *key, int64_t value);
void json_add_u64(struct json_out *o, const char *key, uint64_t value);
void json_add_raw(struct json_out *o, const char *key, const char *value);   /* a value that is JSON already: "null", "0.35" */
void json_add_strings(struct json_out *o, const char *key, const char *const *values);   /* up to a NULL */
char *json_take(struct json_out *o);   /* the text with a NUL, to be freed; the writer is empty again */

#endif
