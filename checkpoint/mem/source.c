/* SPDX-License-Identifier: Apache-2.0 */
/* Reading page content out of a task or a shared segment, in one of two ways:
 *
 *   process_vm_readv    anonymous mappings none of whose pages another address space has: many pieces with one call, and no copy but one
 *   /proc/PID/mem       all others. process_vm_readv pins pages, and the kernel takes a page out of copy-on-write sharing before it is
 *                       pinned: a dump would leave the tasks of a program that runs on with a copy each of what they shared. It also
 *                       reads what page protections keep from the first way.
 *
 * A task that runs meanwhile may have unmapped what is to be read. A piece that cannot be read as a whole is then read page by page. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/fd.h"
#include "mem/sink.h"

#define PAGE UINT64_C(4096)

bool source_is_sole(const struct page_source *from, uint64_t start, uint64_t end)
{
	const struct ranges *r = from->sole;
	size_t low = 0, high = r ? r->list.n : 0;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (r->list.data[middle].end <= start)
			low = middle + 1;
		else
			high = middle;
	}
	return r && low < r->list.n && r->list.data[low].start <= start && r->list.data[low].end >= end;
}

/* Whether all of it could be read in this way. */
static bool read_sole(const struct page_source *from, const struct page_piece *p, size_t n, char *buffer)
{
	struct iovec remote[PIECES_MAX], local = { buffer, 0 };

	for (size_t i = 0; i < n; i++) {
		remote[i] = (struct iovec){ (void *)(uintptr_t)p[i].address, p[i].size };
		local.iov_len += p[i].size;
	}
	return process_vm_readv(from->pid, &local, 1, remote, n, 0) == (ssize_t)local.iov_len;
}

static void read_pages(const struct page_source *from, const struct page_piece *p, char *buffer, struct ranges *gone)
{
	for (uint64_t at = 0; at < p->size; at += PAGE)
		if (fd_pread_all(from->fd, buffer + at, PAGE, p->address + at) < 0) {
			memset(buffer + at, 0, PAGE);
			ranges_add(gone, p->address + at, p->address + at + PAGE);
		}
}

int source_read(const struct page_source *from, const struct page_piece *p, size_t n, bool sole, char *buffer, struct ranges *gone)
{
	if (sole && read_sole(from, p, n, buffer))
		return 0;
	for (size_t i = 0; i < n; i++, p++) {
		uint64_t size = from->end && p->address + p->size > from->end ? from->end - p->address : p->size;
		int r = fd_pread_all(from->fd, buffer, size, p->address);
		if (size < p->size)
			memset(buffer + size, 0, p->size - size);
		if (r < 0 && !from->running)
			return fail(-r, "%s: read %" PRIu64 " bytes of memory at %" PRIx64, from->what, p->size, p->address);
		if (r < 0)
			read_pages(from, p, buffer, gone);
		buffer += p->size;
	}
	return 0;
}
