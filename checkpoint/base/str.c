/* SPDX-License-Identifier: Apache-2.0 */
/* Strings, memory, growing arrays and pools. */
#include "base/str.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *checked(void *p)
{
	if (!p) {
		static const char text[] = "out of memory\n";
		fputs(text, stderr);
		abort();
	}
	return p;
}

void *mem_alloc(size_t size)
{
	return checked(malloc(size ? size : 1));
}

void *mem_zalloc(size_t size)
{
	return checked(calloc(1, size ? size : 1));
}

void *mem_realloc(void *p, size_t size)
{
	return checked(realloc(p, size ? size : 1));
}

void *mem_dup(const void *p, size_t size)
{
	void *copy = mem_alloc(size);
	if (size)
		memcpy(copy, p, size);
	return copy;
}

char *str_dup(const char *s)
{
	return mem_dup(s, strlen(s) + 1);
}

void free_pointer(void *pointer_to_pointer)
{
	void **p = pointer_to_pointer;
	free(*p);
	*p = NULL;
}

static char *__attribute__((format(printf, 1, 0))) format(const char *fmt, va_list ap)
{
	char *text;
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	return checked(text);
}

char *str_printf(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	char *text = format(fmt, ap);
	va_end(ap);
	return text;
}

void *array_grow(void *data, size_t n, size_t *cap, size_t element)
{
	if (n == *cap) {
		*cap = n ? n * 2 : 8;
		data = mem_realloc(data, *cap * element);
	}
	memset((char *)data + n * element, 0, element);
	return data;
}

int parse_u64(const char *text, int base, uint64_t *value)
{
	char *end;

	if (!((text[0] >= '0' && text[0] <= '9') || (base == 16 && text[0] && strchr("abcdefABCDEF", text[0]))))
		return -EINVAL;
	errno = 0;
	unsigned long long v = strtoull(text, &end, base);
	if (errno)
		return -errno;
	if (*end)
		return -EINVAL;
	*value = v;
	return 0;
}

int parse_i64(const char *text, int base, int64_t *value)
{
	uint64_t u;
	bool negative = text[0] == '-';
	int r = parse_u64(text + negative, base, &u);

	if (r < 0)
		return r;
	if (u > (uint64_t)INT64_MAX + negative)
		return -ERANGE;
	*value = negative ? (int64_t)-u : (int64_t)u;
	return 0;
}

bool str_starts(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *s, const char *suffix)
{
	size_t n = strlen(s), m = strlen(suffix);
	return n >= m && strcmp(s + n - m, suffix) == 0;
}

bool path_goes_up(const char *path)
{
	for (; *path; path += strcspn(path, "/"), path += strspn(path, "/"))
		if (!strncmp(path, "..", 2) && (path[2] == '/' || !path[2]))
			return true;
	return false;
}

struct arena_block {
	struct arena_block *next;
	size_t used, size;
	_Alignas(16) char data[];
};

void *arena_alloc(struct arena *a, size_t size)
{
	struct arena_block *b = a->blocks;

	size = (size + 15) & ~(size_t)15;
	if (!b || b->size - b->used < size) {
		size_t room = size > 16384 ? size : 65536;
		b = mem_alloc(sizeof *b + room);   /* memory that is never used is never touched: a page's first touch takes a microsecond */
		*b = (struct arena_block){ .size = room };
		if (a->blocks && room == size) {   /* a big piece of its own goes behind the current block */
			b->next = a->blocks->next;
			a->blocks->next = b;
		} else {
			b->next = a->blocks;
			a->blocks = b;
		}
	}
	void *p = b->data + b->used;
	b->used += size;
	return memset(p, 0, size);
}

void *arena_dup(struct arena *a, const void *p, size_t size)
{
	void *copy = arena_alloc(a, size);
	if (size)
		memcpy(copy, p, size);
	return copy;
}

char *arena_str(struct arena *a, const char *s)
{
	return arena_dup(a, s, strlen(s) + 1);
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	char *text = format(fmt, ap), *copy = arena_str(a, text);
	va_end(ap);
	free(text);
	return copy;
}

void arena_done(struct arena *a)
{
	while (a->blocks) {
		struct arena_block *b = a->blocks;
		a->blocks = b->next;
		free(b);
	}
}
