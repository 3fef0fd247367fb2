/* SPDX-License-Identifier: Apache-2.0 */
/* What is missing of an address space: a sorted array. Pages arrive mostly in order, from the front of a stretch, which is a matter of
 * moving its start; a stretch that is used up stays as an empty one, so that nothing has to be moved, until half of them are. */
#include "lazy/space.h"

#include <string.h>

void space_add(struct space *s, uint64_t start, uint64_t end, uint64_t at)
{
	struct missing *last = s->list.n ? &s->list.data[s->list.n - 1] : NULL;

	if (start >= end)
		return;
	s->size += end - start;
	if (last && last->end == start && last->end > last->start && last->at + (last->end - last->start) == at)
		last->end = end;
	else
		array_push(&s->list) = (struct missing){ start, end, at };
}

/* The index of the first stretch that ends behind the address. */
static size_t index_of(const struct space *s, uint64_t address)
{
	size_t low = 0, high = s->list.n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (s->list.data[middle].end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct missing *space_next(const struct space *s, uint64_t address)
{
	for (size_t i = index_of(s, address); i < s->list.n; i++)
		if (s->list.data[i].end > s->list.data[i].start)
			return &s->list.data[i];
	return NULL;
}

const struct missing *space_find(const struct space *s, uint64_t address)
{
	const struct missing *m = space_next(s, address);

	return m && m->start <= address ? m : NULL;
}

static void compact(struct space *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->list.n; i++)
		if (s->list.data[i].end > s->list.data[i].start)
			s->list.data[n++] = s->list.data[i];
	s->list.n = n;
	s->used_up = 0;
}

static void insert(struct space *s, size_t i, struct missing m)
{
	array_push(&s->list) = m;
	memmove(&s->list.data[i + 1], &s->list.data[i], (s->list.n - 1 - i) * sizeof m);
	s->list.data[i] = m;
}

void space_cut(struct space *s, uint64_t start, uint64_t end)
{
	for (size_t i = index_of(s, start); i < s->list.n && s->list.data[i].start < end; i++) {
		struct missing *m = &s->list.data[i], was = *m;
		uint64_t from = was.start > start ? was.start : start, to = was.end < end ? was.end : end;
		if (from >= to)
			continue;
		s->size -= to - from;
		if (from == was.start) {
			m->start = to;
			m->at += to - was.start;
			s->used_up += m->start == m->end;
		} else {
			m->end = from;
			if (to < was.end)
				insert(s, i + 1, (struct missing){ to, was.end, was.at + (to - was.start) });
		}
	}
	if (s->used_up >= 64 && s->used_up * 2 >= s->list.n)
		compact(s);
}

void space_move(struct space *s, uint64_t from, uint64_t to, uint64_t size)
{
	struct space moved = { 0 };

	for (size_t i = index_of(s, from); i < s->list.n && s->list.data[i].start < from + size; i++) {
		const struct missing *m = &s->list.data[i];
		uint64_t start = m->start > from ? m->start : from, end = m->end < from + size ? m->end : from + size;
		space_add(&moved, start - from + to, end - from + to, m->at + (start - m->start));
	}
	space_cut(s, from, from + size);
	space_cut(s, to, to + size);
	compact(s);   /* an empty one within what comes would be out of order */
	for (size_t i = 0; i < moved.list.n; i++) {
		const struct missing *m = &moved.list.data[i];
		insert(s, index_of(s, m->start), *m);
		s->size += m->end - m->start;
	}
	space_done(&moved);
}

void space_copy(struct space *to, const struct space *from)
{
	for (size_t i = 0; i < from->list.n; i++)
		space_add(to, from->list.data[i].start, from->list.data[i].end, from->list.data[i].at);
}

void space_done(struct space *s)
{
	array_free(&s->list);
	*s = (struct space){ 0 };
}
