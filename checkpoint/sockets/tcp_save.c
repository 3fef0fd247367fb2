/* SPDX-License-Identifier: Apache-2.0 */
/* TCP connections, dump: what repair mode (TCP_REPAIR, 3.5) tells of one, into tcp-stream-INODE.img.
 *
 * All of it is done on a duplicate of the descriptor; the task runs nothing. Each connection is in repair mode for as long as it is read,
 * and out of it before the next one: only the filter stays, which keeps packets from it until the tree ends or goes on. So no peer is
 * told of data that nobody has, with or without a lock of the network; what the kernel sends of its data meanwhile is sent again
 * (tcp_restore.c). (Once the program has ended it is the lock alone that keeps the host from answering for it.) tcp_guard.c tells who takes
 * the filter away.
 *
 * Kernel facts relied on:
 * - MSG_PEEK in repair mode reads the queue chosen by TCP_REPAIR_QUEUE. The send queue comes as a whole or not at all (EFAULT), and may begin
 *   with bytes that the peer has acknowledged. TCP_QUEUE_SEQ is the number behind the queue: it counts a FIN as a byte.
 * - SIOCOUTQ counts what is not acknowledged, SIOCOUTQNSD what was not sent; both count a FIN of ours. SIOCINQ does not count the peer's.
 * - A read stops before urgent data and steps over it, unless SO_OOBINLINE; SIOCINQ ends there as well, so that the difference tells
 *   where it is. SO_PEEK_OFF (TCP: 6.9) leads behind it.
 * - Segments that came out of order are not in the queue; the peer sends them again, it has to expect that (RFC 2018).
 *
 * Not handled: a SYN that crossed the peer's (SYN-RECEIVED), protocols on top (TLS, MPTCP), TCP-AO keys: refused. That urgent data is in the
 * send queue; the time stamps and congestion state of the peer: found out anew. */
#define LOG_PREFIX "tcp"
#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "sockets/tcp.h"
#include "sockets/tcp_guard.h"
#include "tcp-stream.pb-c.h"

#define TRIES 10                     /* until nothing changes while it is read */
#define SLACK (128u << 10)           /* acknowledged bytes before the send queue */

#ifndef SO_PEEK_OFF
#define SO_PEEK_OFF 42
#endif

enum { SYN_SENT = 2, SYN_RECV = 3, FIN_WAIT1 = 4, CLOSED = 7, LAST_ACK = 9, LISTENING = 10, CLOSING = 11 };

bool tcp_connected(uint32_t state)
{
	return state != CLOSED && state != LISTENING;
}

struct queues {
	TcpStreamEntry e;
	void *in, *out;
};

static int get(const struct file_info *f, int option, void *value, socklen_t size)
{
	return getsockopt(f->local, IPPROTO_TCP, option, value, &size) < 0 ? -errno : (int)size;
}

static int set(const struct file_info *f, int level, int option, int value, const char *what)
{
	if (setsockopt(f->local, level, option, &value, sizeof value) == 0)
		return 0;
	int r = fail(errno, FILE_FMT ": %s", FILE_ARG(f), what);
	if (r == -EPERM)
		fail_hint("saving TCP connections needs the capability CAP_NET_ADMIN");
	return r;
}

static int ask(const struct file_info *f, unsigned long request, int *value)
{
	return ioctl(f->local, request, value) < 0 ? fail(errno, FILE_FMT ": ask for the size of its queues", FILE_ARG(f)) : 0;
}

static int choose(const struct file_info *f, int queue, uint32_t *seq)
{
	int r = set(f, IPPROTO_TCP, TCP_REPAIR_QUEUE, queue, "choose a queue (TCP_REPAIR_QUEUE)");

	if (r >= 0)
		r = get(f, TCP_QUEUE_SEQ, seq, sizeof *seq);
	return r < 0 ? r : 0;
}

/* --- reading --- */

static int peek(const struct file_info *f, void *data, size_t size, size_t at)
{
	ssize_t n = recv(f->local, (char *)data + at, size - at, MSG_PEEK | MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return 0;
	return n < 0 ? fail(errno, FILE_FMT ": read what is in its queues", FILE_ARG(f)) : (int)n;
}

/* Up to the urgent byte at once, what is behind it from there. */
static int read_in(const struct file_info *f, struct queues *q, size_t size)
{
	size_t done = 0;
	int n = 1;

	q->in = mem_alloc(size + 1);
	while (done < size && n > 0) {
		if (done) {
			int r = set(f, SOL_SOCKET, SO_PEEK_OFF, (int)done, "read behind urgent data (SO_PEEK_OFF; for TCP it needs Linux 6.9)");
			if (r < 0)
				return r;
		}
		n = peek(f, q->in, size, done);
		if (n < 0)
			return n;
		done += (size_t)n;
	}
	q->e.inq_len = (uint32_t)done;
	return 0;
}

static int receive_queue(const struct file_info *f, struct queues *q)
{
	int total = 0, before = 0;
	char byte;
	int r = choose(f, TCP_RECV_QUEUE, &q->e.inq_seq);

	if (r >= 0)
		r = set(f, SOL_SOCKET, SO_OOBINLINE, 0, "set SO_OOBINLINE");
	if (r >= 0)
		r = ask(f, SIOCINQ, &before);
	bool unread = r >= 0 && recv(f->local, &byte, 1, MSG_OOB | MSG_PEEK | MSG_DONTWAIT) == 1;
	if (r >= 0)
		r = set(f, SOL_SOCKET, SO_OOBINLINE, 1, "set SO_OOBINLINE");
	if (r >= 0)
		r = ask(f, SIOCINQ, &total);
	if (r < 0)
		return r;
	q->e.has_torpor_urgent = before < total;
	q->e.torpor_urgent = (uint32_t)before;
	q->e.has_torpor_urgent_read = q->e.torpor_urgent_read = before < total && !unread;
	return read_in(f, q, (size_t)total);
}

static int send_queue(const struct file_info *f, const struct tcp_info *info, struct queues *q)
{
	bool fin = info->tcpi_state == FIN_WAIT1 || info->tcpi_state == CLOSING || info->tcpi_state == LAST_ACK;
	int size = 0, unsent = 0;
	int r = choose(f, TCP_SEND_QUEUE, &q->e.outq_seq);

	if (r >= 0)
		r = ask(f, SIOCOUTQ, &size);
	if (r >= 0)
		r = ask(f, SIOCOUTQNSD, &unsent);
	if (r < 0)
		return r;
	size -= fin && size;
	unsent -= fin && unsent;
	q->e.outq_len = (uint32_t)size;
	q->e.has_unsq_len = true;
	q->e.unsq_len = (uint32_t)unsent;
	if (!size)
		return 0;
	q->out = mem_alloc((size_t)size + SLACK);
	int n = peek(f, q->out, (size_t)size + SLACK, 0);
	if (n < size)
		return n < 0 ? n : fail_text(EIO, FILE_FMT ": %d of %d bytes of its send queue can be read", FILE_ARG(f), n, size);
	memmove(q->out, (char *)q->out + (n - size), (size_t)size);
	return 0;
}

static int window(const struct file_info *f, TcpStreamEntry *e)
{
	struct tcp_repair_window w;
	int r = get(f, TCP_REPAIR_WINDOW, &w, sizeof w);

	if (r < 0)
		return fail(-r, FILE_FMT ": ask for its windows (TCP_REPAIR_WINDOW)", FILE_ARG(f));
	e->has_snd_wl1 = e->has_snd_wnd = e->has_max_window = e->has_rcv_wnd = e->has_rcv_wup = true;
	e->snd_wl1 = w.snd_wl1;
	e->snd_wnd = w.snd_wnd;
	e->max_window = w.max_window;
	e->rcv_wnd = w.rcv_wnd;
	e->rcv_wup = w.rcv_wup;
	return 0;
}

static int agreed(const struct file_info *f, const struct tcp_info *info, TcpStreamEntry *e)
{
	uint32_t mss, stamp;
	int r = get(f, TCP_MAXSEG, &mss, sizeof mss);

	if (r >= 0)
		r = get(f, TCP_TIMESTAMP, &stamp, sizeof stamp);
	if (r < 0)
		return fail(-r, FILE_FMT ": ask for its segment size and time stamp", FILE_ARG(f));
	e->mss_clamp = mss;
	e->opt_mask = info->tcpi_options & (TCPI_OPT_TIMESTAMPS | TCPI_OPT_SACK | TCPI_OPT_WSCALE);
	e->snd_wscale = info->tcpi_snd_wscale;
	e->has_rcv_wscale = e->opt_mask & TCPI_OPT_WSCALE;
	e->rcv_wscale = info->tcpi_rcv_wscale;
	e->has_timestamp = e->opt_mask & TCPI_OPT_TIMESTAMPS;
	e->timestamp = stamp;
	return 0;
}

static int unchanged(const struct file_info *f, const struct queues *q)
{
	uint32_t in = 0, out = 0;
	int r = choose(f, TCP_RECV_QUEUE, &in), left = 0;

	if (r >= 0)
		r = choose(f, TCP_SEND_QUEUE, &out);
	if (r >= 0)
		r = ask(f, SIOCOUTQ, &left);
	return r < 0 ? r : in == q->e.inq_seq && out == q->e.outq_seq && (uint32_t)left - q->e.outq_len <= 1;
}

static void free_queues(struct queues *q)
{
	free_pointer(&q->in);
	free_pointer(&q->out);
	tcp_stream_entry__init(&q->e);
}

static int read_all(const struct file_info *f, struct tcp_info *info, struct queues *q)
{
	int r = set(f, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON, "begin to repair it (TCP_REPAIR)");

	for (int i = 0, same = 0; r >= 0 && !same; i++) {
		free_queues(q);
		if (i == TRIES)
			return fail_text(EAGAIN, FILE_FMT ": data comes and goes while the connection is saved", FILE_ARG(f));
		r = get(f, TCP_INFO, info, sizeof *info);
		if (r >= 0)
			r = receive_queue(f, q);
		if (r >= 0)
			r = send_queue(f, info, q);
		if (r >= 0)
			r = window(f, &q->e);
		if (r >= 0)
			r = agreed(f, info, &q->e);
		if (r >= 0)
			r = same = unchanged(f, q);
	}
	return r < 0 ? r : 0;
}

/* --- */

static int write_stream(struct dump *d, const InetSkEntry *i, const struct queues *q)
{
	auto_image struct image *image = NULL;
	int r = image_create(d->images, IMG_TCP_STREAM, i->ino, &image);

	if (r >= 0)
		r = image_write(image, &q->e);
	if (r >= 0 && q->e.inq_len)
		r = image_write_raw(image, q->in, q->e.inq_len);
	if (r >= 0 && q->e.outq_len)
		r = image_write_raw(image, q->out, q->e.outq_len);
	return r < 0 ? r : image_close(&image);
}

/* A program's own filter stays: a packet that it lets through is taken. */
static int begin(struct dump *d, const struct file_info *f, const struct tcp_was *was)
{
	int r = tcp_guard_add(d, f->local, was);

	if (r >= 0 && !was->filtered && tcp_block(f->local, tcp_guard_program(d)) < 0)
		log_warn(FILE_FMT ": packets cannot be kept from it", FILE_ARG(f));
	if (r >= 0 && was->peek_offset >= 0)
		r = set(f, SOL_SOCKET, SO_PEEK_OFF, -1, "set SO_PEEK_OFF");
	return r;
}

int tcp_save(struct dump *d, const struct file_info *f, InetSkEntry *i, const union inet_address *own, const union inet_address *peer)
{
	const struct tcp_was was = { sock_int(f, SOL_SOCKET, SO_PEEK_OFF), i->opts->reuseaddr, i->opts->so_oobinline,
				     i->opts->n_so_filter > 0 };
	struct queues q = { .e = TCP_STREAM_ENTRY__INIT };
	struct tcp_info info = { .tcpi_state = (uint8_t)i->state };

	if (i->state == SYN_RECV) {
		fail_text(ENOTSUP, FILE_FMT ": TCP connection %s to %s is being opened from both sides at once, which is not supported",
			  FILE_ARG(f), inet_show(own).text, inet_show(peer).text);
		fail_hint("try again in a moment");
		return -ENOTSUP;
	}
	int r = begin(d, f, &was);
	if (r >= 0)
		r = read_all(f, &info, &q);
	tcp_put_back(f->local, &was);
	i->state = info.tcpi_state;
	if (r >= 0 && tcp_connected(i->state))
		r = write_stream(d, i, &q);
	log_debug("%s to %s, state %u: %u bytes received, %u sent, %u to send", inet_show(own).text, inet_show(peer).text, i->state, q.e.inq_len,
		  q.e.outq_len - q.e.unsq_len, q.e.unsq_len);
	free_queues(&q);
	return r;
}
