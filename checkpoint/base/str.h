/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Memory. Small allocations do not fail on Linux before the process is killed: mem_alloc() and friends abort if they do, so
 * that nobody writes a hundred untested branches. Sizes that come from outside (an image, a peer) are checked against a
 * limit by the caller first. */
void *mem_alloc(size_t size);          /* not cleared */
void *mem_zalloc(size_t size);         /* cleared */
void *mem_realloc(void *p, size_t size);
void *mem_dup(const void *p, size_t size);
char *str_dup(const char *s);

void free_pointer(void *pointer_to_pointer);
#define autofree __attribute__((cleanup(free_pointer)))
#define take_ptr(pp) ({ __auto_type take_ptr_value = *(pp); *(pp) = NULL; take_ptr_value; })

char *str_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A growing array: elements at `data`, `n` used of `cap`. ARRAY(type) declares one; array_push() returns the new element,
 * cleared. Elements move when the array grows. */
#define ARRAY(type) struct { type *data; size_t n, cap; }
void *array_grow(void *data, size_t n, size_t *cap, size_t element);
#define array_push(a)                                                                                     \
	(*({                                                                                              \
		__auto_type array_a = (a);                                                                \
		array_a->data = array_grow(array_a->data, array_a->n, &array_a->cap, sizeof *array_a->data); \
		&array_a->data[array_a->n++];                                                             \
	}))
#define array_free(a) (free_pointer(&(a)->data), (a)->n = (a)->cap = 0)

/* Strict numbers: the whole text, base 0/10/16 as given, no blanks, no sign for unsigned. 0 or -EINVAL/-ERANGE. */
int parse_u64(const char *text, int base, uint64_t *value);
int parse_i64(const char *text, int base, int64_t *value);

bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);
/* A path with a component "..". */
bool path_goes_up(const char *path);

/* A pool of memory that is freed as a whole (the messages of a dump, a parsed configuration). Pieces are cleared and
 * 16-byte aligned. */
struct arena {
	struct arena_block *blocks;
};
void *arena_alloc(struct arena *a, size_t size);
void *arena_dup(struct arena *a, const void *p, size_t size);
char *arena_str(struct arena *a, const char *s);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void arena_done(struct arena *a);
#define arena_new(a, type) ((type *)arena_alloc(a, sizeof(type)))
#define arena_array(a, type, n) ((type *)arena_alloc(a, sizeof(type) * (n)))

#endif
