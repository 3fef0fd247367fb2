/* SPDX-License-Identifier: Apache-2.0 */
/* What a unix socket has received and its program has not read yet: sk-queues.img, an entry and its bytes for each packet.
 *
 * Kernel facts relied on (unix(7)):
 * - MSG_PEEK on a stream socket returns everything up to the asked size, across the pieces in which it was written, but stops at one
 *   that carries descriptors or other credentials. SIOCINQ has the size of everything.
 * - With SO_PEEK_OFF each MSG_PEEK begins where the last one ended, and skips whole packets of a datagram or seqpacket socket. It is a
 *   property of the socket: it is put back. MSG_TRUNC with an empty buffer returns the size of a packet and does not advance.
 * - Peeked descriptors are installed in the one who peeks.
 *
 * Not handled: packets with descriptors in them are refused. The sender's address and credentials of a packet are not in the
 * image; after a restore they are those of the restored peer, or nobody's. */
#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "sk-packet.pb-c.h"
#include "sockets/socket.h"

#define PACKET_MAX (64u << 20)

/* --- dump --- */

static bool close_passed(struct msghdr *m)
{
	bool any = false;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		any = true;
		for (size_t at = CMSG_LEN(0); at + sizeof(int) <= c->cmsg_len; at += sizeof(int)) {
			int fd;
			memcpy(&fd, (char *)c + at, sizeof fd);
			close(fd);
		}
	}
	return any;
}

/* One peek; bytes, or -errno (bare -EAGAIN: there is nothing). */
static ssize_t peek(const struct file_info *f, void *data, size_t size, int flags)
{
	char control[4096];
	struct iovec v = { data, size };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	ssize_t n = recvmsg(f->local, &m, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC | flags);

	if (n < 0)
		return errno == EAGAIN ? -EAGAIN : fail(errno, FILE_FMT ": look at what it has received", FILE_ARG(f));
	if (close_passed(&m) || (m.msg_flags & MSG_CTRUNC)) {
		fail_text(ENOTSUP, FILE_FMT ": what it has received and not read carries descriptors (SCM_RIGHTS), which is not supported",
			  FILE_ARG(f));
		fail_hint("try again when the program has read it");
		return -ENOTSUP;
	}
	return n;
}

static int write_packet(struct dump *d, uint32_t id, const void *data, size_t size)
{
	SkPacketEntry e = SK_PACKET_ENTRY__INIT;
	struct image *i;
	int r = dump_image(d, IMG_SK_QUEUES, &i);

	e.id_for = id;
	e.length = (uint32_t)size;
	if (r >= 0)
		r = image_write(i, &e);
	return r < 0 ? r : image_write_raw(i, data, size);
}

static int dump_packets(struct dump *d, const struct file_info *f, uint32_t id, bool shut)
{
	for (;;) {
		ssize_t size = peek(f, NULL, 0, MSG_TRUNC);
		if (size == -EAGAIN || (size == 0 && shut))
			return 0;
		if (size < 0)
			return (int)size;
		if (size > PACKET_MAX)
			return fail(EFBIG, FILE_FMT ": a packet of %zd bytes", FILE_ARG(f), size);
		autofree char *data = mem_alloc((size_t)size + 1);
		ssize_t n = peek(f, data, (size_t)size, 0);
		if (n < 0)
			return n == -EAGAIN ? 0 : (int)n;
		int r = write_packet(d, id, data, (size_t)n);
		if (r < 0)
			return r;
	}
}

static int dump_stream(struct dump *d, const struct file_info *f, uint32_t id, size_t left)
{
	autofree char *data = mem_alloc(left);

	while (left) {
		ssize_t n = peek(f, data, left, 0);
		if (n <= 0)
			return n == -EAGAIN || !n ? fail_text(EAGAIN, FILE_FMT ": %zu bytes that it has received cannot be read", FILE_ARG(f), left) :
						    (int)n;
		int r = write_packet(d, id, data, (size_t)n);
		if (r < 0)
			return r;
		left -= (size_t)n;
	}
	return 0;
}

static int set_peek_offset(const struct file_info *f, int offset)
{
	if (setsockopt(f->local, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset) < 0)
		return fail(errno, FILE_FMT ": set its peek offset", FILE_ARG(f));
	return 0;
}

/* Usually one look takes all, and the socket is not touched. */
static int dump_stream_at_once(struct dump *d, const struct file_info *f, uint32_t id, size_t size)
{
	autofree char *data = mem_alloc(size);
	ssize_t n = peek(f, data, size, 0);

	if (n < 0 && n != -EAGAIN)
		return (int)n;
	if (n != (ssize_t)size)
		return 0;
	int r = write_packet(d, id, data, size);
	return r < 0 ? r : 1;
}

int sock_queue_dump(struct dump *d, const struct file_info *f, uint32_t id, int type, bool shut)
{
	int waiting = 0, offset = sock_int(f, SOL_SOCKET, SO_PEEK_OFF);

	if (type == SOCK_STREAM) {
		if (ioctl(f->local, SIOCINQ, &waiting) < 0)
			return fail(errno, FILE_FMT ": ask how much it has received", FILE_ARG(f));
		int done = !waiting ? 1 : offset < 0 ? dump_stream_at_once(d, f, id, (size_t)waiting) : 0;
		if (done)
			return done < 0 ? done : 0;
	} else {
		ssize_t n = peek(f, NULL, 0, MSG_TRUNC);
		if (n == -EAGAIN || (n == 0 && shut))
			return 0;
		if (n < 0)
			return (int)n;
	}
	int r = set_peek_offset(f, 0);
	if (r >= 0)
		r = type == SOCK_STREAM ? dump_stream(d, f, id, (size_t)waiting) : dump_packets(d, f, id, shut);
	int back = set_peek_offset(f, offset);
	return r < 0 ? r : back;
}

/* --- restore --- */

int sock_queues_read(struct restore *r, struct packets **out)
{
	struct packets **state = (struct packets **)file_restore_state(r, STATE_QUEUE), *p = *state;
	auto_image struct image *i = NULL;
	SkPacketEntry *e;

	*out = p;
	if (p)
		return 0;
	*out = *state = p = arena_new(r->arena, struct packets);
	int ret = image_open(r->images, IMG_SK_QUEUES, 0, &i);
	if (ret < 0)
		return ret == -ENOENT ? 0 : ret;
	while ((ret = image_read(i, r->arena, &e)) > 0) {
		if (e->length > PACKET_MAX)
			return fail_text(EBADMSG, "sk-queues.img: a packet of %u bytes", e->length);
		if (e->n_scm)
			return fail_text(ENOTSUP, "sk-queues.img: a packet for file %u carries descriptors, which is not supported", e->id_for);
		struct packet *k = &array_push(p);
		*k = (struct packet){ e->id_for, e->length, mem_alloc(e->length + 1) };
		ret = image_read_raw(i, k->data, e->length);
		if (ret < 0)
			return ret;
	}
	return ret;
}
