/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes ttrpc's frames: the first byte says in what pieces the rest arrives; the frames are those of the whole, and memory follows what came. */
#include "containerd/frame.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static size_t count(const unsigned char *data, size_t size, size_t piece, unsigned *sum)
{
	struct frame_reader r = { 0 };
	size_t frames = 0;

	while (size) {
		const unsigned char *p = data;
		size_t n = piece < size ? piece : size;
		data += n;
		size -= n;
		while (n) {
			const unsigned char *before = p;
			int ret = frame_read(&r, &p, &n);
			if (p == before && ret == 0)
				abort();
			if (r.room > FRAME_MAX || (ret < 0 && r.frame.size <= FRAME_MAX))
				abort();
			if (ret <= 0)
				continue;
			frames++;
			for (size_t i = 0; i < r.frame.size; i++)
				*sum = *sum * 31 + r.payload[i];
		}
	}
	frame_reader_free(&r);
	return frames;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	unsigned whole = 0, pieces = 0;

	if (size < 2)
		return 0;
	size_t n = count(data + 1, size - 1, size, &whole);
	if (count(data + 1, size - 1, data[0] ? data[0] : 1, &pieces) != n || whole != pieces)
		abort();
	return 0;
}
