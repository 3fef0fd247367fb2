/* SPDX-License-Identifier: Apache-2.0 */
/* gzip files whose blocks are stored. Contents of temporary file systems are small, and the program stands still while they are saved:
 * the format is wanted because every tool reads it, the compression is not. Data that another program compressed is refused. */
#include "ns/gzip.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "ns/inflate.h"

static uint32_t table[256];

static void make_table(void)
{
	if (table[1])
		return;
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;
		for (int k = 0; k < 8; k++)
			c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
		table[i] = c;
	}
}

static uint32_t crc32(uint32_t crc, const unsigned char *data, size_t n)
{
	crc = ~crc;
	while (n--)
		crc = table[(crc ^ *data++) & 0xff] ^ crc >> 8;
	return ~crc;
}

int gzip_begin(struct gzip *z, int fd)
{
	static const unsigned char head[10] = { 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3 };   /* deflate, no flags, Unix */

	make_table();
	z->fd = fd;
	z->crc = z->size = 0;
	z->n = 0;
	int r = fd_write_all(fd, head, sizeof head);
	return r < 0 ? fail(-r, "write the archive") : 0;
}

static int put_block(struct gzip *z, bool last)
{
	unsigned char head[5] = { last, (unsigned char)z->n, (unsigned char)(z->n >> 8), (unsigned char)~z->n,
				  (unsigned char)(~z->n >> 8) };
	int r = fd_write_all(z->fd, head, sizeof head);

	if (r >= 0)
		r = fd_write_all(z->fd, z->data, z->n);
	z->crc = crc32(z->crc, z->data, z->n);
	z->size += (uint32_t)z->n;
	z->n = 0;
	return r < 0 ? fail(-r, "write the archive") : 0;
}

int gzip_write(struct gzip *z, const void *data, size_t size)
{
	const unsigned char *from = data;

	while (size) {
		size_t n = sizeof z->data - z->n < size ? sizeof z->data - z->n : size;
		memcpy(z->data + z->n, from, n);
		z->n += n;
		from += n;
		size -= n;
		if (z->n == sizeof z->data) {
			int r = put_block(z, false);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

int gzip_end(struct gzip *z)
{
	unsigned char tail[8];
	int r = put_block(z, true);

	for (int i = 0; i < 4; i++) {
		tail[i] = (unsigned char)(z->crc >> 8 * i);
		tail[4 + i] = (unsigned char)(z->size >> 8 * i);
	}
	if (r < 0)
		return r;
	r = fd_write_all(z->fd, tail, sizeof tail);
	return r < 0 ? fail(-r, "write the archive") : 0;
}

int gzip_open(struct gzip *z, int fd)
{
	unsigned char head[10];
	int r = fd_read_all(fd, head, sizeof head);

	make_table();
	z->fd = fd;
	z->crc = z->size = 0;
	z->n = z->at = 0;
	z->final = 0;
	z->inflate = NULL;
	if (r < 0 || head[0] != 0x1f || head[1] != 0x8b || head[2] != 8)
		return fail_text(EBADMSG, "the archive is not a gzip file");
	z->inflate = inflate_new(fd);
	return head[3] == 0 ? 0 : fail_text(ENOTSUP, "the gzip file has header fields that are not supported");
}

static int take_tail(struct gzip *z)
{
	unsigned char tail[8];
	uint32_t crc = 0;
	int r = inflate_tail(z->inflate, tail, sizeof tail);

	for (int i = 0; i < 4; i++)
		crc |= (uint32_t)tail[i] << 8 * i;
	return r < 0 || crc != z->crc ? fail_text(EBADMSG, "the archive is corrupt: its checksum is wrong") : 0;
}

static int next_piece(struct gzip *z)
{
	if (z->final)
		return fail_text(EBADMSG, "the archive is cut off");
	ssize_t n = inflate_read(z->inflate, z->data, sizeof z->data);
	if (n < 0)
		return (int)n;
	z->n = (size_t)n;
	z->at = 0;
	z->crc = crc32(z->crc, z->data, z->n);
	z->final = n == 0;
	return z->final ? take_tail(z) : 0;
}

int gzip_read(struct gzip *z, void *data, size_t size)
{
	unsigned char *to = data;

	while (size) {
		if (z->at == z->n) {
			int r = next_piece(z);
			if (r < 0)
				return r;
			continue;
		}
		size_t n = z->n - z->at < size ? z->n - z->at : size;
		memcpy(to, z->data + z->at, n);
		z->at += n;
		to += n;
		size -= n;
	}
	return 0;
}

int gzip_finish(struct gzip *z)
{
	int r = 0;

	while (!z->final && r >= 0)
		r = next_piece(z);
	return r;
}

void gzip_close(struct gzip *z)
{
	free_pointer(&z->inflate);
}
