/* SPDX-License-Identifier: Apache-2.0 */
/* What a restore asks of its pager before its tasks run: content that cannot come later and that only the source of a lazy dump has
 * (mem/lazy.c), and the source's word that the program may run here. The pager has the one connection to the source. Nothing else is on
 * its way then, as no task runs. */
#define LOG_PREFIX "lazy"
#include "lazy/request.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/fd.h"
#include "mem/lazy.h"

static int answer(int sock, int32_t status, const void *data, uint64_t size)
{
	int e = fd_write_all(sock, &status, sizeof status);

	if (e == 0 && status == 0 && size)
		e = fd_write_all(sock, data, size);
	return e < 0 ? fail(-e, "answer the restore") : 0;
}

static int give_content(struct restore *r, struct content *c, int sock, const struct lazy_request *q)
{
	const struct task *t = tree_find(r->tree, q->pid);
	uint64_t size = q->size <= CONTENT_MAX ? q->size : 0;

	if (!t || !size || q->address % PAGE || size % PAGE)
		return fail_text(EPROTO, "the restore asks for %" PRIu64 " bytes of task %d at %" PRIx64, q->size, q->pid, q->address);
	autofree char *data = mem_alloc(size);
	int e = content_fetch(c, t, q->address, data, size), sent = answer(sock, e, data, size);
	return e < 0 ? e : sent;
}

int request_runs(struct content *c, int sock)
{
	int e = content_begin(c), sent = answer(sock, e, NULL, 0);

	return e < 0 ? e : sent;
}

int request_serve(struct restore *r, struct content *c, int sock)
{
	struct lazy_request q;
	int e = fd_read_all(sock, &q, sizeof q);

	if (e < 0)
		return fail(-e, "receive a request of the restore");
	if (q.kind == LAZY_CONTENT)
		return give_content(r, c, sock, &q);
	if (q.kind != LAZY_RUNS)
		return fail_text(EPROTO, "the restore makes a request of the unknown kind %d", q.kind);
	return request_runs(c, sock);
}
