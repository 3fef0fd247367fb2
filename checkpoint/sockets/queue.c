/* SPDX-License-Identifier: Apache-2.0 */
/* What a unix socket has received and its program has not read yet: sk-queues.img, an entry and its bytes for each packet.
 *
 * Kernel facts relied on (unix(7)):
 * - MSG_PEEK on a stream socket returns everything up to the asked size, across the pieces in which it was written, but stops at one
 *   that carries descriptors or other credentials. SIOCINQ has the size of everything.
 * - With SO_PEEK_OFF a MSG_PEEK begins at that offset, and skips whole packets of a datagram or seqpacket socket. It is a property of
 *   the socket: it is put back in the same batch. MSG_TRUNC returns the whole size of a packet, or of what is left of it. It does not
 *   lead behind a packet without data: the next offset is already in the next packet.
 * - Peeked descriptors are installed in the one who peeks; without a control buffer they are not.
 *
 * Not handled: packets with descriptors in them, and without data, are refused. The sender's address and credentials of a packet are not in the
 * image; after a restore they are those of the restored peer, or nobody's. */
#include <errno.h>
#include <inttypes.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/proc.h"
#include "remote/remote.h"
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

static int fail_passed(const struct file_info *f)
{
	fail_text(ENOTSUP, FILE_FMT ": what it has received and not read carries descriptors (SCM_RIGHTS), which is not supported", FILE_ARG(f));
	fail_hint("try again when the program has read it");
	return -ENOTSUP;
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
	return close_passed(&m) || (m.msg_flags & MSG_CTRUNC) ? fail_passed(f) : n;
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

/* --- looking further than the first packet --- */

#define CHUNK (32u << 10)

/* What the task's batch works on, in its scratch area. */
struct look {
	int offset, before;
	struct msghdr msg;
	struct iovec vec;
};

/* A look from that offset on, by the task itself: the offset is a property of the socket, and a batch that has been begun puts it back
 * even if the engine dies. Returns what there is of the packet, and up to CHUNK of it in data; bare -EAGAIN: nothing. */
static int64_t look(const struct file_info *f, int before, uint64_t offset, int type, void *data)
{
	struct remote *task = f->task->threads[0].remote;
	uint64_t at = remote_scratch(task), option = SO_PEEK_OFF, fd = (uint64_t)f->fd;
	uint64_t flags = MSG_PEEK | MSG_DONTWAIT | (type == SOCK_STREAM ? 0 : MSG_TRUNC);
	struct look l = { .offset = (int)offset, .before = before, .vec = { (void *)(uintptr_t)(at + sizeof l), CHUNK } };
	struct call calls[] = {
		{ .nr = SYS_setsockopt, .arg = { fd, SOL_SOCKET, option, at + offsetof(struct look, offset), sizeof(int) }, .must = 1 },
		{ .nr = SYS_recvmsg, .arg = { fd, at + offsetof(struct look, msg), flags } },
		{ .nr = SYS_setsockopt, .arg = { fd, SOL_SOCKET, option, at + offsetof(struct look, before), sizeof(int) } },
	};

	l.msg.msg_iov = (struct iovec *)(uintptr_t)(at + offsetof(struct look, vec));
	l.msg.msg_iovlen = 1;
	int r = remote_scratch_write(task, 0, &l, sizeof l);
	if (r >= 0)
		r = remote_batch_checked(task, calls, 3, "set the peek offset of a socket");
	if (r < 0 || calls[1].ret == -EAGAIN)
		return r < 0 ? r : -EAGAIN;
	if (calls[1].ret < 0)
		return fail((int)-calls[1].ret, FILE_FMT ": look at what it has received", FILE_ARG(f));
	r = remote_scratch_read(task, sizeof l, data, calls[1].ret < CHUNK ? (size_t)calls[1].ret : CHUNK);
	return r < 0 ? r : calls[1].ret;
}

/* The packet that begins at that offset, of which look() has returned the size and, in chunk, the beginning. */
static int dump_packet(struct dump *d, const struct file_info *f, uint32_t id, int before, uint64_t offset, const char *chunk, size_t size)
{
	autofree char *data = mem_alloc(size);
	size_t have = size < CHUNK ? size : CHUNK;

	memcpy(data, chunk, have);
	while (have < size) {
		char more[CHUNK];
		int64_t n = look(f, before, offset + have, SOCK_DGRAM, more);
		if (n < 0 && n != -EAGAIN)
			return (int)n;
		if (n != (int64_t)(size - have))
			return fail_text(EIO, FILE_FMT ": a packet that it has received changes", FILE_ARG(f));
		memcpy(data + have, more, n < CHUNK ? (size_t)n : CHUNK);
		have += n < CHUNK ? (size_t)n : CHUNK;
	}
	return write_packet(d, id, data, size);
}

static int dump_packets(struct dump *d, const struct file_info *f, uint32_t id, int before)
{
	char chunk[CHUNK];

	for (uint64_t offset = 0;;) {
		int64_t size = look(f, before, offset, SOCK_DGRAM, chunk);
		if (size < 0)
			return size == -EAGAIN ? 0 : (int)size;
		if (!size)
			return fail_text(ENOTSUP, FILE_FMT ": it has received a packet without data, which is not supported", FILE_ARG(f));
		if (size > PACKET_MAX || offset + (uint64_t)size > INT32_MAX)
			return fail(EFBIG, FILE_FMT ": a packet of %" PRId64 " bytes", FILE_ARG(f), size);
		int r = dump_packet(d, f, id, before, offset, chunk, (size_t)size);
		if (r < 0)
			return r;
		offset += (uint64_t)size;
	}
}

static int dump_stream(struct dump *d, const struct file_info *f, uint32_t id, size_t size, int before)
{
	char chunk[CHUNK];

	for (size_t done = 0; done < size;) {
		int64_t n = look(f, before, done, SOCK_STREAM, chunk);
		if (n < 0 && n != -EAGAIN)
			return (int)n;
		if (n <= 0)
			return fail_text(EAGAIN, FILE_FMT ": %zu bytes that it has received cannot be read", FILE_ARG(f), size - done);
		int r = write_packet(d, id, chunk, (size_t)n);
		if (r < 0)
			return r;
		done += (size_t)n;
	}
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

static int any_packet(const struct file_info *f, bool shut)
{
	ssize_t size = peek(f, NULL, 0, MSG_TRUNC);

	return size == -EAGAIN || (size == 0 && shut) ? 0 : size < 0 ? (int)size : 1;
}

/* "scm_fds" of fdinfo: descriptors on their way (5.11). */
static int check_descriptors(const struct file_info *f)
{
	uint64_t n;

	return proc_field_u64(f->fdinfo, "scm_fds", 10, &n) && n ? fail_passed(f) : 0;
}

int sock_queue_dump(struct dump *d, const struct file_info *f, uint32_t id, int type, bool shut)
{
	int waiting = 0, offset = sock_int(f, SOL_SOCKET, SO_PEEK_OFF), r = check_descriptors(f);

	if (r < 0)
		return r;
	if (type != SOCK_STREAM) {
		r = any_packet(f, shut);
		return r <= 0 ? r : dump_packets(d, f, id, offset);
	}
	if (ioctl(f->local, SIOCINQ, &waiting) < 0)
		return fail(errno, FILE_FMT ": ask how much it has received", FILE_ARG(f));
	int done = !waiting ? 1 : offset < 0 ? dump_stream_at_once(d, f, id, (size_t)waiting) : 0;
	if (done)
		return done < 0 ? done : 0;
	return dump_stream(d, f, id, (size_t)waiting, offset);
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
