/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the kernel's type information, in the BPF type format (Documentation/bpf/btf.rst): a header, types one after the other, each
 * of 12 bytes and what its kind adds, and the strings that they name. Types are numbered from 1 in their order.
 *
 * The text comes from the kernel, which is trusted; lengths are checked all the same, as formats grow. */
#include "base/btf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/str.h"

#define SIZE_MAX_BTF (64u << 20)
#define DEPTH_MAX 8

enum { KIND_INT = 1, KIND_ARRAY = 3, KIND_STRUCT, KIND_UNION, KIND_ENUM, KIND_FUNC = 12, KIND_FUNC_PROTO, KIND_VAR, KIND_DATASEC,
       KIND_DECL_TAG = 17, KIND_ENUM64 = 19, KINDS };

struct header {
	uint16_t magic;
	uint8_t version, flags;
	uint32_t size, types, types_size, strings, strings_size;
};
struct type {
	uint32_t name, info, size;
};
struct member {
	uint32_t name, type, offset;   /* in bits; with the flag 1 << 31 of the type's info, in the lower 24 */
};

struct btf {
	char *text;
	const char *strings;
	uint32_t strings_size;
	ARRAY(const struct type *) types;   /* [0]: NULL */
};

static unsigned kind_of(const struct type *t)
{
	return t->info >> 24 & 31;
}

/* What follows a type: bytes once, and for each of its parts. */
static size_t extra_size(const struct type *t)
{
	static const uint8_t once[KINDS] = { [KIND_INT] = 4, [KIND_ARRAY] = 12, [KIND_VAR] = 4, [KIND_DECL_TAG] = 4 },
			     each[KINDS] = { [KIND_STRUCT] = 12, [KIND_UNION] = 12, [KIND_ENUM] = 8, [KIND_FUNC_PROTO] = 8,
					     [KIND_DATASEC] = 12, [KIND_ENUM64] = 12 };
	unsigned kind = kind_of(t);

	return kind < KINDS ? once[kind] + (size_t)each[kind] * (t->info & 0xffff) : SIZE_MAX_BTF;
}

static int index_types(struct btf *b, const char *at, const char *end)
{
	array_push(&b->types) = NULL;
	while (at < end) {
		const struct type *t = (const void *)at;
		if ((size_t)(end - at) < sizeof *t || extra_size(t) > (size_t)(end - at) - sizeof *t)
			return -EPROTO;
		array_push(&b->types) = t;
		at += sizeof *t + extra_size(t);
	}
	return 0;
}

static int parse(struct btf *b, size_t size)
{
	const struct header *h = (const void *)b->text;

	if (size < sizeof *h || h->magic != 0xeb9f || h->version != 1 || h->size > size || h->types > size - h->size ||
	    h->types_size > size - h->size - h->types || h->strings > size - h->size || h->strings_size > size - h->size - h->strings ||
	    !h->strings_size || h->types % 4 || h->size % 4)
		return -EPROTO;
	b->strings = b->text + h->size + h->strings;
	b->strings_size = h->strings_size;
	if (b->strings[b->strings_size - 1])
		return -EPROTO;
	return index_types(b, b->text + h->size + h->types, b->text + h->size + h->types + h->types_size);
}

int btf_load(struct btf **out)
{
	struct btf *b = mem_zalloc(sizeof *b);
	ssize_t n = file_read(AT_FDCWD, "/sys/kernel/btf/vmlinux", &b->text, SIZE_MAX_BTF);
	int r = n < 0 ? (int)n : parse(b, (size_t)n);

	if (r < 0)
		btf_free(b);
	else
		*out = b;
	return r;
}

void btf_free(struct btf *b)
{
	if (!b)
		return;
	free(b->text);
	array_free(&b->types);
	free(b);
}

static bool is_named(const struct btf *b, uint32_t name, const char *wanted)
{
	return name < b->strings_size && !strcmp(b->strings + name, wanted);
}

static uint32_t find(const struct btf *b, unsigned kind, const char *name)
{
	for (uint32_t i = 1; i < b->types.n; i++)
		if (kind_of(b->types.data[i]) == kind && is_named(b, b->types.data[i]->name, name))
			return i;
	return 0;
}

uint32_t btf_function(const struct btf *b, const char *name)
{
	return find(b, KIND_FUNC, name);
}

static int member_in(const struct btf *b, uint32_t id, const char *name, int depth)
{
	const struct type *t = id && id < b->types.n ? b->types.data[id] : NULL;

	if (!t || depth == DEPTH_MAX || (kind_of(t) != KIND_STRUCT && kind_of(t) != KIND_UNION))
		return -1;
	const struct member *m = (const void *)(t + 1);
	for (unsigned i = 0; i < (t->info & 0xffff); i++, m++) {
		uint32_t bits = t->info >> 31 ? m->offset & 0xffffff : m->offset;
		int within = m->name && b->strings[m->name < b->strings_size ? m->name : 0] ? -1 : member_in(b, m->type, name, depth + 1);
		if (within >= 0)
			return (int)(bits / 8) + within;
		if (is_named(b, m->name, name))
			return (int)(bits / 8);
	}
	return -1;
}

int btf_member(const struct btf *b, const char *type, const char *member)
{
	return member_in(b, find(b, KIND_STRUCT, type), member, 0);
}
