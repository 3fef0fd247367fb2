/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PAGES_CLIENT_H
#define PAGES_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include "checkpoint.h"

/* The sending side of a page server's protocol. */
struct page_client;
struct client_piece {
	uint64_t address, pages;
	uint32_t flags;              /* PAGEMAP_ */
	const void *data;            /* content, if the flags say present */
};

int page_client_connect(const struct ck_page_peer *peer, struct page_client **out);
/* A new pagemap, of a task (a pid) or a shared segment. *parent: the server has one of it in the parent images. */
int page_client_open(struct page_client *c, bool segment, uint64_t id, bool *parent);
/* Pages of the pagemap that was opened last, in ascending order of addresses. At most PAGE_PIECES_MAX at once. */
#define PAGE_PIECES_MAX 256
int page_client_add(struct page_client *c, const struct client_piece *pieces, size_t n);
/* The server has it all and has put it into place; without that the pages are not safe. */
int page_client_finish(struct page_client *c);
void page_client_free(struct page_client **c);

#endif
