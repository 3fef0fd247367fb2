/* SPDX-License-Identifier: Apache-2.0 */
/* Frames in and out. What comes in is hostile: memory grows with what has arrived, not with what a header promises. */
#include "containerd/frame.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"

static void put32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

void frame_put(uint8_t header[FRAME_HEADER], const struct frame *f)
{
	put32(header, f->size);
	put32(header + 4, f->stream);
	header[8] = f->type;
	header[9] = f->flags;
}

static struct frame get_header(const uint8_t header[FRAME_HEADER])
{
	return (struct frame){ .size = get32(header), .stream = get32(header + 4), .type = header[8], .flags = header[9] };
}

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* The payload's buffer holds `size` bytes more than it has. */
static void make_room(struct frame_reader *r, size_t size)
{
	size_t need = r->have - FRAME_HEADER + size;

	if (need <= r->room)
		return;
	r->room = need < 2 * r->room ? 2 * r->room : need;
	r->room = smaller(r->room < 256 ? 256 : r->room, r->frame.size);
	r->payload = mem_realloc(r->payload, r->room);
}

static void begin(struct frame_reader *r)
{
	r->have = 0;
	r->room = 0;
	free_pointer(&r->payload);
}

static int take_header(struct frame_reader *r, const uint8_t **data, size_t *size)
{
	size_t n = smaller(FRAME_HEADER - r->have, *size);

	memcpy(r->header + r->have, *data, n);
	r->have += n;
	*data += n;
	*size -= n;
	if (r->have < FRAME_HEADER)
		return 0;
	r->frame = get_header(r->header);
	return r->frame.size > FRAME_MAX ? -EMSGSIZE : 0;
}

int frame_read(struct frame_reader *r, const uint8_t **data, size_t *size)
{
	if (r->have >= FRAME_HEADER && r->have - FRAME_HEADER == r->frame.size)
		begin(r);
	if (r->have < FRAME_HEADER) {
		int ret = take_header(r, data, size);
		if (ret < 0 || r->have < FRAME_HEADER)
			return ret;
	}
	bool skip = r->frame.size > FRAME_MAX;
	size_t n = smaller(r->frame.size - (r->have - FRAME_HEADER), *size);
	if (n && !skip) {
		make_room(r, n);
		memcpy(r->payload + (r->have - FRAME_HEADER), *data, n);
	}
	r->have += n;
	*data += n;
	*size -= n;
	return r->have - FRAME_HEADER == r->frame.size && !skip;
}

void frame_reader_free(struct frame_reader *r)
{
	begin(r);
}
