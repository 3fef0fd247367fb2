/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_MAP_H
#define OCI_MAP_H

#include "spec/json.h"

/* From a JSON tree to C structs by tables: one row per property, its path within the table's object, its type and where it goes. */
enum map_kind {
	MAP_OBJECT,    /* its members have rows of their own ("a" and "a.b"); has: set when it is there */
	MAP_STRING,    /* char * */
	MAP_BOOL,      /* bool */
	MAP_I64,       /* int64_t */
	MAP_U64,       /* uint64_t */
	MAP_U32,       /* uint32_t */
	MAP_INT,       /* int */
	MAP_ENUM,      /* int or uint32_t, by names */
	MAP_STRINGS,   /* struct strings */
	MAP_PAIRS,     /* struct spec_pairs */
	MAP_U32S,      /* uint32_t * and, at count, its length */
	MAP_LIST,      /* elements of of->size each, and, at count, how many */
	MAP_TABLE,     /* a struct with rows of its own */
	MAP_CALL,      /* a function decides */
	MAP_REFUSE,    /* not done by this runtime: an error when it asks for anything */
};

struct map {
	struct arena *arena;
	const char *name;   /* of the document, for messages */
};

/* Where in the document: kept on the stack, put into words only for a message. */
struct map_path {
	const struct map_path *up;
	const char *key;   /* NULL: element number index */
	size_t index;
};

struct map_name {
	const char *name;
	uint32_t value;
};

struct map_row;
typedef int map_call(struct map *m, const struct map_row *row, const struct map_path *path, const struct json *node, void *field);

struct map_row {
	const char *path;
	enum map_kind kind;
	size_t at, count;
	size_t has;               /* 1 + offset of a bool to set when the property is there; 0: none */
	int64_t min;              /* integers: the range, when max is not 0 */
	uint64_t max;
	bool required;            /* in its parent object, when that is there */
	const struct map_name *names;   /* MAP_ENUM: up to a NULL name */
	const struct map_table *of;
	map_call *call;
	const char *reason;       /* MAP_REFUSE: what is not done */
};

struct map_table {
	const struct map_row *rows;
	size_t n, size;
	const void *initial;      /* what a new element starts from; NULL: zeroes */
};
#define MAP_TABLE_OF(rows_, type_, initial_) { rows_, sizeof(rows_) / sizeof *(rows_), sizeof(type_), initial_ }
#define MAP_HAS(type, field) (1 + offsetof(type, field))

/* Fills base from node by the table. Properties without a row are ignored, as the specification wants, null counts as absent. Stops
 * at the first error, explained as "NAME: a.b[3].c: why". */
int map_object(struct map *m, const struct map_table *table, const struct map_path *path, const struct json *node, void *base);
/* Pieces for map_call functions: type checks with the same messages. */
int map_want(struct map *m, const struct map_path *path, const struct json *node, enum json_type type);
int map_integer(struct map *m, const struct map_path *path, const struct json *node, int64_t min, uint64_t max, uint64_t *value);
int map_enum(struct map *m, const struct map_path *path, const struct json *node, const struct map_name *names, uint32_t *value);
int map_fail(struct map *m, const struct map_path *path, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
