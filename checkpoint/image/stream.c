/* SPDX-License-Identifier: Apache-2.0 */
/* One open image: magics, then entries of {u32 length, protobuf message}, with raw payload after some of them. Integers are in
 * host order (little-endian on all supported machines).
 *
 * Reading is from untrusted files: a length beyond IMAGE_ENTRY_MAX, an entry that ends after the file does, or a message that
 * does not parse is an error with the file's name and offset. Messages are unpacked into the caller's arena, so that nothing has
 * to be freed one by one; this is the only file that knows protobuf-c's allocation. */
#include "image/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"

#define BUFFER (32u << 10)

struct image {
	int fd;
	const struct image_kind_row *kind;
	char *name;
	bool writing;
	uint64_t offset;      /* of the next byte handed out, for messages */
	size_t from, to;      /* what is in the buffer: unread, or not yet written (from is 0) */
	unsigned char buffer[BUFFER];
};

static struct image *image_new(enum image_kind kind, uint64_t id)
{
	struct image *i = mem_alloc(sizeof *i);

	i->fd = -1;
	i->kind = &image_kinds[kind];
	i->offset = 0;
	i->from = i->to = 0;
	i->writing = false;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	i->name = str_printf(i->kind->pattern, (unsigned long)id);
#pragma GCC diagnostic pop
	return i;
}

const char *image_name(const struct image *i)
{
	return i->name;
}

void image_free(struct image **ip)
{
	struct image *i = *ip;

	if (!i)
		return;
	fd_close(&i->fd);
	free(i->name);
	free(i);
	*ip = NULL;
}

/* --- writing --- */

static int flush(struct image *i)
{
	int r = fd_write_all(i->fd, i->buffer, i->to);

	i->to = 0;
	return r < 0 ? fail(-r, "write image %s", i->name) : 0;
}

int image_write_raw(struct image *i, const void *data, size_t size)
{
	i->offset += size;
	if (size > BUFFER - i->to) {
		int r = flush(i);
		if (r < 0)
			return r;
	}
	if (size > BUFFER) {
		int r = fd_write_all(i->fd, data, size);
		return r < 0 ? fail(-r, "write image %s", i->name) : 0;
	}
	if (size)
		memcpy(i->buffer + i->to, data, size);
	i->to += size;
	return 0;
}

int image_create(struct image_dir *d, enum image_kind kind, uint64_t id, struct image **out)
{
	auto_image struct image *i = image_new(kind, id);

	i->fd = image_create_raw(d, i->name);
	if (i->fd < 0)
		return i->fd;
	i->writing = true;
	if (!i->kind->no_head) {
		uint32_t head = i->kind->service ? IMAGE_MAGIC_SERVICE : IMAGE_MAGIC_COMMON;
		image_write_raw(i, &head, sizeof head);
	}
	image_write_raw(i, &i->kind->magic, sizeof i->kind->magic);
	*out = take_ptr(&i);
	return 0;
}

int image_write_message(struct image *i, const void *message)
{
	size_t size = protobuf_c_message_get_packed_size(message);

	if (size > IMAGE_ENTRY_MAX)
		return fail(EFBIG, "image %s: an entry of %zu bytes", i->name, size);
	autofree unsigned char *packed = mem_alloc(sizeof(uint32_t) + size);
	uint32_t length = (uint32_t)size;
	memcpy(packed, &length, sizeof length);
	protobuf_c_message_pack(message, packed + sizeof length);
	return image_write_raw(i, packed, sizeof length + size);
}

int image_write(struct image *i, const void *message)
{
	const ProtobufCMessage *m = message;

	if (m->descriptor != i->kind->message)
		return fail(EINVAL, "image %s holds %s, not %s", i->name, i->kind->message->name, m->descriptor->name);
	return image_write_message(i, message);
}

int image_close(struct image **ip)
{
	struct image *i = *ip;
	int r = 0;

	if (!i)
		return 0;
	if (i->writing)
		r = flush(i);
	image_free(ip);
	return r;
}

int image_write_one(struct image_dir *d, enum image_kind kind, uint64_t id, const void *message)
{
	auto_image struct image *i = NULL;
	int r = image_create(d, kind, id, &i);

	if (r >= 0)
		r = image_write(i, message);
	return r < 0 ? r : image_close(&i);
}

/* --- reading --- */

int image_read_raw(struct image *i, void *data, size_t size)
{
	char *at = data;

	while (size) {
		if (i->from == i->to) {
			ssize_t n = read(i->fd, i->buffer, BUFFER);
			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0)
				return fail(errno, "read image %s at offset %" PRIu64, i->name, i->offset);
			if (n == 0)
				return fail_text(ENODATA, "image %s is cut off at offset %" PRIu64 ": %zu more bytes expected", i->name,
						 i->offset, size);
			i->from = 0;
			i->to = (size_t)n;
		}
		size_t n = i->to - i->from < size ? i->to - i->from : size;
		memcpy(at, i->buffer + i->from, n);
		at += n;
		size -= n;
		i->from += n;
		i->offset += n;
	}
	return 0;
}

/* 1 if another byte can be read, 0 at the end of the file. */
static int more(struct image *i)
{
	while (i->from == i->to) {
		ssize_t n = read(i->fd, i->buffer, BUFFER);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(errno, "read image %s at offset %" PRIu64, i->name, i->offset);
		if (n == 0)
			return 0;
		i->from = 0;
		i->to = (size_t)n;
	}
	return 1;
}

static int check_magic(struct image *i, uint32_t expected)
{
	uint32_t magic;
	int r = image_read_raw(i, &magic, sizeof magic);

	if (r < 0)
		return r;
	if (magic != expected)
		return fail_text(EBADMSG, "image %s begins with %#x where %#x is expected: not an image of this kind, or a corrupt one",
				 i->name, magic, expected);
	return 0;
}

int image_open(struct image_dir *d, enum image_kind kind, uint64_t id, struct image **out)
{
	auto_image struct image *i = image_new(kind, id);
	int r = 0;

	i->fd = openat(d->fd, i->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (i->fd < 0)
		return errno == ENOENT ? -ENOENT : fail(errno, "open image %s/%s", d->path, i->name);
	if (!i->kind->no_head)
		r = check_magic(i, i->kind->service ? IMAGE_MAGIC_SERVICE : IMAGE_MAGIC_COMMON);
	if (r >= 0)
		r = check_magic(i, i->kind->magic);
	if (r < 0)
		return r;
	*out = take_ptr(&i);
	return 0;
}

static void *from_arena(void *arena, size_t size)
{
	return arena_alloc(arena, size);
}

static void to_arena(void *arena, void *p)
{
	(void)arena;
	(void)p;
}

int image_read_message(struct image *i, const ProtobufCMessageDescriptor *type, struct arena *arena, void *message_pointer)
{
	uint64_t at = i->offset;
	uint32_t length;
	int r = more(i);

	if (r <= 0)
		return r;
	r = image_read_raw(i, &length, sizeof length);
	if (r < 0)
		return r;
	if (length > IMAGE_ENTRY_MAX)
		return fail_text(EBADMSG, "image %s: the entry at offset %" PRIu64 " claims %u bytes: corrupt", i->name, at, length);
	autofree unsigned char *packed = mem_alloc(length);
	r = image_read_raw(i, packed, length);
	if (r < 0)
		return r;
	ProtobufCAllocator allocator = { from_arena, to_arena, arena };
	ProtobufCMessage *m = protobuf_c_message_unpack(type, &allocator, length, packed);
	if (!m)
		return fail_text(EBADMSG, "image %s: the entry at offset %" PRIu64 " is not a valid %s", i->name, at, type->name);
	*(ProtobufCMessage **)message_pointer = m;
	return 1;
}

int image_read(struct image *i, struct arena *arena, void *message_pointer)
{
	return image_read_message(i, i->kind->message, arena, message_pointer);
}

int image_copy_raw(struct image *i, int to_fd, uint64_t size)
{
	char piece[16384];

	while (size) {
		size_t n = size < sizeof piece ? (size_t)size : sizeof piece;
		int r = image_read_raw(i, piece, n);
		if (r < 0)
			return r;
		r = fd_write_all(to_fd, piece, n);
		if (r < 0)
			return fail(-r, "write what image %s holds", i->name);
		size -= n;
	}
	return 0;
}

int image_read_one(struct image_dir *d, enum image_kind kind, uint64_t id, struct arena *arena, void *message_pointer)
{
	auto_image struct image *i = NULL;
	int r = image_open(d, kind, id, &i);

	if (r < 0)
		return r;
	r = image_read(i, arena, message_pointer);
	if (r == 0)
		return fail_text(ENODATA, "image %s/%s is empty", d->path, i->name);
	return r < 0 ? r : 0;
}
