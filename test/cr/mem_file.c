/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File mappings whose descriptor is closed: private with some pages changed, private and clean, shared and written,
 * shared and read-only, and one that starts at an offset. The file has 16 pages and 100 bytes more, so that the last
 * mapped page reaches over its end.
 */
#include "cr.h"

#include <sys/mman.h>

#define PAGE 4096UL
#define SIZE (16 * PAGE + 100)

static char *map(int prot, int flags, size_t size, off_t offset)
{
	int fd = open(cr_path("mapped"), (prot & PROT_WRITE) ? O_RDWR : O_RDONLY);
	char *at = mmap(NULL, size, prot, flags, fd, offset);

	need(fd >= 0 && at != MAP_FAILED);
	close(fd);
	return at;
}

int main(int argc, char **argv)
{
	static char content[17 * PAGE];

	cr_begin(argc, argv);
	cr_fill(content, sizeof(content), 21);
	int fd = open(cr_path("mapped"), O_RDWR | O_CREAT | O_TRUNC, 0644);
	need(fd >= 0 && write(fd, content, SIZE) == SIZE);
	close(fd);
	char *dirty = map(PROT_READ | PROT_WRITE, MAP_PRIVATE, SIZE, 0);
	char *clean = map(PROT_READ, MAP_PRIVATE, SIZE, 0);
	char *shared = map(PROT_READ | PROT_WRITE, MAP_SHARED, SIZE, 0);
	char *readonly = map(PROT_READ, MAP_SHARED, SIZE, 0);
	char *offset = map(PROT_READ | PROT_WRITE, MAP_PRIVATE, 4 * PAGE, 8 * PAGE);
	cr_fill(dirty + 2 * PAGE, 3 * PAGE, 22);
	dirty[17 * PAGE - 1] = 'e'; /* behind the end of the file, in its last page */
	cr_fill(offset + PAGE, PAGE, 23);
	cr_fill(shared + 12 * PAGE, PAGE, 24);
	cr_fill(content + 12 * PAGE, PAGE, 24);
	cr_wait();

	expect(!memcmp(dirty, content, 2 * PAGE), "private: clean pages before the changed ones");
	cr_check_fill("private: changed pages", dirty + 2 * PAGE, 3 * PAGE, 22);
	expect(!memcmp(dirty + 5 * PAGE, content + 5 * PAGE, SIZE - 5 * PAGE), "private: clean pages behind the changed ones");
	expect(dirty[17 * PAGE - 1] == 'e', "private: the last byte of the last page");
	expect(!memcmp(clean, content, SIZE), "private, read-only");
	expect(!memcmp(shared, content, SIZE), "shared");
	expect(!memcmp(readonly, content, SIZE), "shared, read-only");
	expect(!memcmp(offset, content + 8 * PAGE, PAGE), "at an offset: clean page");
	cr_check_fill("at an offset: changed page", offset + PAGE, PAGE, 23);
	shared[100] = '!';
	expect(readonly[100] == '!' && clean[100] == '!' && dirty[100] == '!', "mappings of one file show different bytes");
	char byte = 0;
	fd = open(cr_path("mapped"), O_RDONLY);
	expect(fd >= 0 && pread(fd, &byte, 1, 100) == 1 && byte == '!', "a shared mapping does not write to its file");
	return cr_end();
}
