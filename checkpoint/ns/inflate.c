/* SPDX-License-Identifier: Apache-2.0 */
/* Deflate, read (RFC 1951): archives of temporary file systems that other programs have made.
 *
 * Data are blocks: stored, or codes of Huffman trees that are fixed or come with the block. A code is a byte, the end of the block, or a length
 * and a distance: bytes that came before, at most 32 KiB back. Codes are read a bit at a time, against the number of codes of each length
 * (the canonical order makes that enough): slow, but small, and such archives are.
 *
 * The data are untrusted: lengths of codes that are no tree, distances before the beginning, and an early end are errors. Nothing is
 * read beyond the buffer, whose size the callers give. */
#include "ns/inflate.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/str.h"

#define WINDOW 32768u
#define BITS_MAX 15
#define LITERALS 288
#define DISTANCES 32
#define END 256

struct code {
	uint16_t count[BITS_MAX + 1], symbol[LITERALS];
};

enum phase { HEAD, STORED, CODES, COPY, DONE };

struct inflate {
	int fd;
	unsigned char in[16384];
	size_t n, at;
	uint32_t bits;
	unsigned n_bits;
	enum phase phase;
	bool last, failed;
	unsigned left, distance;       /* of a stored block or a copy */
	unsigned char window[WINDOW];
	uint64_t out;                  /* bytes so far */
	struct code lengths, distances;
};

struct inflate *inflate_new(int fd)
{
	struct inflate *z = mem_zalloc(sizeof *z);

	z->fd = fd;
	return z;
}

static int next_byte(struct inflate *z)
{
	if (z->at == z->n) {
		ssize_t n;
		do
			n = read(z->fd, z->in, sizeof z->in);
		while (n < 0 && errno == EINTR);
		z->n = n > 0 ? (size_t)n : 0;
		z->at = 0;
		if (!z->n) {
			z->failed = true;
			return 0;
		}
	}
	return z->in[z->at++];
}

/* After a failure: zeroes; the caller looks at z->failed at the end of a step. */
static unsigned get_bits(struct inflate *z, unsigned n)
{
	while (z->n_bits < n) {
		z->bits |= (uint32_t)next_byte(z) << z->n_bits;
		z->n_bits += 8;
	}
	unsigned value = z->bits & ((1u << n) - 1);
	z->bits >>= n;
	z->n_bits -= n;
	return value;
}

/* From lengths of codes (0: none) to their tree; false: more codes than such lengths allow. */
static bool make_code(struct code *c, const unsigned char *lengths, unsigned n)
{
	uint16_t offset[BITS_MAX + 2] = { 0 };
	int left = 1;

	memset(c->count, 0, sizeof c->count);
	for (unsigned i = 0; i < n; i++)
		c->count[lengths[i]]++;
	c->count[0] = 0;
	for (unsigned l = 1; l <= BITS_MAX; l++) {
		left = left * 2 - c->count[l];
		if (left < 0)
			return false;
		offset[l + 1] = (uint16_t)(offset[l] + c->count[l]);
	}
	for (unsigned i = 0; i < n; i++)
		if (lengths[i])
			c->symbol[offset[lengths[i]]++] = (uint16_t)i;
	return true;
}

static int get_symbol(struct inflate *z, const struct code *c)
{
	int code = 0, first = 0, index = 0;

	for (unsigned l = 1; l <= BITS_MAX; l++) {
		code |= (int)get_bits(z, 1);
		int count = c->count[l];
		if (code - first < count)
			return c->symbol[index + code - first];
		index += count;
		first = (first + count) * 2;
		code *= 2;
	}
	z->failed = true;
	return END;
}

/* --- heads of blocks --- */

static void fixed_codes(struct inflate *z)
{
	unsigned char lengths[LITERALS];

	for (unsigned i = 0; i < LITERALS; i++)
		lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
	make_code(&z->lengths, lengths, LITERALS);
	memset(lengths, 5, DISTANCES);
	make_code(&z->distances, lengths, DISTANCES);
}

static void own_codes(struct inflate *z)
{
	static const unsigned char order[19] = { 16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15 };
	unsigned char lengths[LITERALS + DISTANCES + 138] = { 0 };
	unsigned n = get_bits(z, 5) + 257, m = get_bits(z, 5) + 1, k = get_bits(z, 4) + 4, i = 0;

	for (unsigned j = 0; j < k; j++)
		lengths[order[j]] = (unsigned char)get_bits(z, 3);
	if (n > LITERALS || !make_code(&z->lengths, lengths, 19)) {
		z->failed = true;
		return;
	}
	memset(lengths, 0, sizeof lengths);
	while (i < n + m && !z->failed) {
		int s = get_symbol(z, &z->lengths);
		unsigned times = s == 16 ? 3 + get_bits(z, 2) : s == 17 ? 3 + get_bits(z, 3) : s == 18 ? 11 + get_bits(z, 7) : 1;
		unsigned char value = s < 16 ? (unsigned char)s : s == 16 && i ? lengths[i - 1] : 0;
		memset(lengths + i, value, times);
		i += times;
	}
	if (i > n + m || !lengths[END] || !make_code(&z->lengths, lengths, n) || !make_code(&z->distances, lengths + n, m))
		z->failed = true;
}

static void block_head(struct inflate *z)
{
	if (z->last) {
		z->phase = DONE;
		return;
	}
	z->last = get_bits(z, 1);
	unsigned type = get_bits(z, 2);
	z->phase = type == 0 ? STORED : CODES;
	if (type == 0) {
		z->bits = z->n_bits = 0;
		z->left = get_bits(z, 16);
		z->failed |= (z->left ^ 0xffff) != get_bits(z, 16);
	} else if (type == 1) {
		fixed_codes(z);
	} else if (type == 2) {
		own_codes(z);
	} else {
		z->failed = true;
	}
}

/* --- contents --- */

static unsigned char put(struct inflate *z, unsigned char byte)
{
	z->window[z->out++ % WINDOW] = byte;
	return byte;
}

static void begin_copy(struct inflate *z, unsigned symbol)
{
	static const uint16_t bases[29] = { 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195,
		227, 258 };
	static const unsigned char extra[29] = { 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0 };

	if (symbol >= 29) {
		z->failed = true;
		return;
	}
	z->left = bases[symbol] + get_bits(z, extra[symbol]);
	unsigned d = (unsigned)get_symbol(z, &z->distances), more = d < 4 ? 0 : d / 2 - 1;
	if (d >= 30) {
		z->failed = true;
		return;
	}
	z->distance = d < 4 ? d + 1 : ((2 + d % 2) << more) + 1 + get_bits(z, more);
	z->failed |= z->distance > z->out;
	z->phase = COPY;
}

/* Whether it has put a byte out. */
static bool step(struct inflate *z, unsigned char *out)
{
	int s;

	switch (z->phase) {
	case HEAD: block_head(z); return false;
	case STORED:
		if (!z->left) {
			z->phase = HEAD;
			return false;
		}
		z->left--;
		*out = put(z, (unsigned char)get_bits(z, 8));
		return true;
	case CODES:
		s = get_symbol(z, &z->lengths);
		if (s < END)
			*out = put(z, (unsigned char)s);
		else if (s == END)
			z->phase = HEAD;
		else
			begin_copy(z, (unsigned)s - END - 1);
		return s < END;
	case COPY:
		*out = put(z, z->window[(z->out - z->distance) % WINDOW]);
		if (!--z->left)
			z->phase = CODES;
		return true;
	case DONE: break;
	}
	return false;
}

ssize_t inflate_read(struct inflate *z, void *data, size_t size)
{
	unsigned char *to = data;
	size_t n = 0;

	while (n < size && z->phase != DONE && !z->failed)
		n += step(z, to + n);
	return z->failed ? fail_text(EBADMSG, "the archive is cut off or corrupt") : (ssize_t)n;
}

int inflate_tail(struct inflate *z, void *data, size_t size)
{
	unsigned char *to = data;

	get_bits(z, z->n_bits % 8);
	for (size_t i = 0; i < size; i++)
		to[i] = (unsigned char)get_bits(z, 8);
	return z->failed ? -ENODATA : 0;
}
