/* SPDX-License-Identifier: Apache-2.0 */
/* corrupt SEED FILE: changes a file at random, the same seed in the same way: bits, bytes, words of extreme values, pieces that are
 * missing, doubled, zero or exchanged, a cut or an extended end. Says what it did. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t state;

static uint64_t below(uint64_t n)
{
	state ^= state << 13, state ^= state >> 7, state ^= state << 17;
	return n ? (state * 0x2545f4914f6cdd1dull >> 11) % n : 0;
}

static size_t piece(size_t size, size_t at)
{
	size_t n = 1 + below(below(4) ? 16 : size);

	return n < size - at ? n : size - at;
}

static size_t change(uint8_t *data, size_t size, size_t room)
{
	static const uint64_t extremes[] = { 0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 0x7fffffffffffffff, UINT64_MAX };
	size_t at = below(size), n = piece(size, at), other = below(size);
	unsigned how = (unsigned)below(10);
	static const char *const names[] = { "bit", "byte", "extreme", "remove", "double", "zero", "exchange", "cut", "extend", "bits" };

	printf(" %s at %zu", names[how], at);
	switch (how) {
	case 0:
		data[at] ^= (uint8_t)(1 << below(8));
		break;
	case 1:
		data[at] = (uint8_t)below(256);
		break;
	case 2:
		n = (size_t)1 << below(4);
		memcpy(data + at, &extremes[below(sizeof extremes / sizeof *extremes)], n < size - at ? n : size - at);
		break;
	case 3:
		memmove(data + at, data + at + n, size - at - n);
		return size - n;
	case 4:
		n = n < room - size ? n : room - size;
		memmove(data + at + n, data + at, size - at);
		return size + n;
	case 5:
		memset(data + at, 0, n);
		break;
	case 6:
		n = n < size - other ? n : size - other;
		for (size_t i = 0; i < n; i++) {
			uint8_t b = data[at + i];
			data[at + i] = data[other + i];
			data[other + i] = b;
		}
		break;
	case 7:
		return at;
	case 8:
		n = 1 + below(room - size < 64 ? room - size : 64);
		for (size_t i = 0; i < n && size < room; i++)
			data[size++] = (uint8_t)below(256);
		break;
	case 9:
		for (size_t i = 1 + below(8); i; i--)
			data[below(size)] ^= (uint8_t)(1 << below(8));
		break;
	}
	return size;
}

int main(int argc, char **argv)
{
	struct stat st;

	if (argc != 3)
		return 2;
	state = strtoull(argv[1], NULL, 10) * 0x9e3779b97f4a7c15ull + 1;
	below(1);
	int fd = open(argv[2], O_RDWR);
	if (fd < 0 || fstat(fd, &st) < 0 || !st.st_size)
		return 1;
	size_t size = (size_t)st.st_size, room = 2 * size + 64;
	uint8_t *data = malloc(room);
	if (!data || pread(fd, data, size, 0) != (ssize_t)size)
		return 1;
	printf("%s:", argv[2]);
	for (uint64_t i = 1 + below(3) / 2; i && size; i--)
		size = change(data, size, room);
	printf("\n");
	return ftruncate(fd, 0) < 0 || pwrite(fd, data, size, 0) != (ssize_t)size;
}
