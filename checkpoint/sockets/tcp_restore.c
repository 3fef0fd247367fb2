/* SPDX-License-Identifier: Apache-2.0 */
/* TCP connections, restore, in the builder.
 *
 *   tcp_rebuild()  repair mode on · numbers of the queues · bind · filter · connect (no segment is sent) · what was agreed on · contents
 *                  of the queues · FINs · windows
 *   tcp_resume()   when the network is unlocked and the tasks run in a moment: filter away · repair mode off, which asks the peer how far
 *                  it is · data that was not sent yet
 *
 * A failure in between ends the sockets in repair mode: the peers do not hear of it.
 *
 * Kernel facts relied on:
 * - In repair mode, what is written into the send queue counts as sent and is retransmitted when repair is over; what is written into
 *   the receive queue as received. connect() makes it established at once. bind() does not look for conflicts.
 * - TCP_REPAIR_OPTIONS come after connect() and before any data; TCP_REPAIR_WINDOW at any time.
 * - shutdown(SHUT_WR) in repair mode puts a FIN into the send queue. One from the peer is injected (tcp_inject.c).
 *
 *      state        how it is reached from ESTABLISHED (with unsent data our FIN waits until that is sent)
 *      CLOSE-WAIT   peer's FIN
 *      FIN-WAIT-1   FIN
 *      FIN-WAIT-2   FIN, peer's ACK of it
 *      CLOSING      FIN, peer's FIN
 *      LAST-ACK     peer's FIN, FIN
 *
 * Data that the image calls not sent may have been sent all the same as far as the peer's window goes: the kernel's timers went on after the
 * connection was saved, and the peer, or the other end in the same tree that was saved later, has it. It counts as sent: an acknowledgement
 * of what was never sent is not believed, and the connection would stand still for ever.
 *
 * A SYN-SENT socket connects again, with the same number: for the peer that is the same SYN once more. */
#define LOG_PREFIX "tcp"
#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "files/builder.h"
#include "sockets/tcp.h"
#include "tcp-stream.pb-c.h"

#define QUEUE_MAX (1u << 30)
#define CHUNK (32u << 10)
#define OPTIONS_MAX 4
enum { OPT_MSS = 2, OPT_WINDOW = 3, OPT_SACK_PERMITTED = 4, OPT_TIMESTAMP = 8 };   /* of segments */
enum { ESTABLISHED = 1, SYN_SENT = 2, FIN_WAIT1 = 4, FIN_WAIT2 = 5, CLOSE_WAIT = 8, LAST_ACK = 9, CLOSING = 11 };

struct stream {
	struct stream *next;
	const FileEntry *entry;
	const TcpStreamEntry *e;
	char *in, *out;
	union inet_address own, peer;
	uint32_t received, acked;        /* numbers of the first byte that is to come, and that was not acknowledged */
	bool late_fin;                   /* ours comes after data that is not sent yet */
};

struct streams {
	struct stream *first;
	int program;                     /* of tcp_block() */
};

static struct streams *streams_of(struct restore *r)
{
	struct streams **s = (struct streams **)file_restore_state(r, STATE_TCP);

	if (!*s) {
		*s = arena_new(r->arena, struct streams);
		(*s)->program = -1;
	}
	return *s;
}

static bool peer_finished(uint32_t state)
{
	return state == CLOSE_WAIT || state == LAST_ACK || state == CLOSING;
}

static bool we_finished(uint32_t state)
{
	return state == FIN_WAIT1 || state == FIN_WAIT2 || state == LAST_ACK || state == CLOSING;
}

/* --- the image --- */

static int read_queue(struct image *i, uint32_t size, char **out)
{
	*out = mem_alloc(size + 1);
	return size ? image_read_raw(i, *out, size) : 0;
}

static uint32_t perhaps_sent(const TcpStreamEntry *t)
{
	uint32_t sent = t->outq_len - t->unsq_len, room = t->has_snd_wnd && t->snd_wnd > sent ? t->snd_wnd - sent : 0;

	return t->unsq_len < room ? t->unsq_len : room;
}

static int read_stream(struct restore *r, const FileEntry *e, struct stream *s)
{
	auto_image struct image *i = NULL;
	TcpStreamEntry *t;
	int ret = image_open(r->images, IMG_TCP_STREAM, e->isk->ino, &i);

	if (ret >= 0)
		ret = image_read(i, r->arena, &t);
	if (ret == -ENOENT || ret == 0)
		return fail_text(EBADMSG, ENTRY_FMT ": the images do not have its contents (tcp-stream-%x.img)", ENTRY_ARG(e), e->isk->ino);
	if (ret < 0)
		return ret;
	s->e = t;
	if (t->inq_len > QUEUE_MAX || t->outq_len > QUEUE_MAX || t->unsq_len > t->outq_len || t->snd_wscale > 14 || t->rcv_wscale > 14)
		return fail_text(EBADMSG, "%s: a receive queue of %u bytes, a send queue of %u, %u of them not sent, window scales %u and %u",
				 image_name(i), t->inq_len, t->outq_len, t->unsq_len, t->snd_wscale, t->rcv_wscale);
	if (t->has_torpor_urgent && t->torpor_urgent >= t->inq_len)
		return fail_text(EBADMSG, "%s: urgent data beyond the end of the queue", image_name(i));
	t->unsq_len -= perhaps_sent(t);
	ret = read_queue(i, t->inq_len, &s->in);
	if (ret >= 0)
		ret = read_queue(i, t->outq_len, &s->out);
	s->received = t->inq_seq - t->inq_len - peer_finished(e->isk->state);
	s->acked = t->outq_seq - t->outq_len - we_finished(e->isk->state);
	return ret;
}

/* --- step by step --- */

static int set(const FileEntry *e, int fd, int option, int value, const char *what)
{
	if (setsockopt(fd, IPPROTO_TCP, option, &value, sizeof value) == 0)
		return 0;
	int r = fail(errno, ENTRY_FMT ": %s", ENTRY_ARG(e), what);
	if (r == -EPERM)
		fail_hint("restoring TCP connections needs the capability CAP_NET_ADMIN");
	return r;
}

static int choose(const FileEntry *e, int fd, int queue)
{
	return set(e, fd, TCP_REPAIR_QUEUE, queue, "choose a queue (TCP_REPAIR_QUEUE)");
}

static int set_number(const FileEntry *e, int fd, int queue, uint32_t number)
{
	int r = choose(e, fd, queue);

	return r < 0 ? r : set(e, fd, TCP_QUEUE_SEQ, (int)number, "set the number of a queue (TCP_QUEUE_SEQ)");
}

static int join_ends(struct restore *r, const FileEntry *e, int fd, const struct stream *s)
{
	if (bind(fd, &s->own.any, inet_size(&s->own)) < 0)
		return fail(errno, ENTRY_FMT ": bind it to %s", ENTRY_ARG(e), inet_show(&s->own).text);
	int ret = tcp_block(fd, &streams_of(r)->program);
	if (ret < 0)
		return fail(-ret, ENTRY_FMT ": keep packets from it for the moment", ENTRY_ARG(e));
	if (e->isk->state != SYN_SENT && connect(fd, &s->peer.any, inet_size(&s->peer)) < 0)
		return fail(errno, ENTRY_FMT ": connect %s to %s (in repair mode)", ENTRY_ARG(e), inet_show(&s->own).text, inet_show(&s->peer).text);
	return 0;
}

static int set_agreed(const FileEntry *e, int fd, const TcpStreamEntry *t)
{
	struct tcp_repair_opt o[OPTIONS_MAX];
	unsigned n = 0;

	o[n++] = (struct tcp_repair_opt){ OPT_MSS, t->mss_clamp };
	if (t->opt_mask & TCPI_OPT_WSCALE)
		o[n++] = (struct tcp_repair_opt){ OPT_WINDOW, t->snd_wscale | t->rcv_wscale << 16 };
	if (t->opt_mask & TCPI_OPT_SACK)
		o[n++] = (struct tcp_repair_opt){ OPT_SACK_PERMITTED, 0 };
	if (t->opt_mask & TCPI_OPT_TIMESTAMPS)
		o[n++] = (struct tcp_repair_opt){ OPT_TIMESTAMP, 0 };
	if (setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_OPTIONS, o, n * (socklen_t)sizeof *o) < 0)
		return fail(errno, ENTRY_FMT ": set what was agreed on with its peer (TCP_REPAIR_OPTIONS)", ENTRY_ARG(e));
	return t->has_timestamp ? set(e, fd, TCP_TIMESTAMP, (int)t->timestamp, "set its time stamp (TCP_TIMESTAMP)") : 0;
}

/* The size of segments is derived anew from what was agreed on when IP options change: here, from none to none. Else it would stay that of a
 * connection without any agreement, 536 bytes, until the peer opens its window further than ever. */
static int use_agreed(const FileEntry *e, int fd, const struct stream *s)
{
	bool v4 = s->own.any.sa_family == AF_INET || IN6_IS_ADDR_V4MAPPED(&s->own.v6.sin6_addr);

	if (setsockopt(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_OPTIONS : IPV6_DSTOPTS, NULL, 0) < 0)
		return fail(errno, ENTRY_FMT ": have its segment size derived anew", ENTRY_ARG(e));
	return 0;
}

/* Room for what was in there, whatever the limits are here; the sizes of the image come later. */
static int make_room(const FileEntry *e, int fd, int option, uint32_t size)
{
	uint64_t want = 4ull * size + (256u << 10);
	int bytes = want > INT32_MAX / 2 ? INT32_MAX / 2 : (int)want;

	if (size < CHUNK / 2 || setsockopt(fd, SOL_SOCKET, option, &bytes, sizeof bytes) == 0)
		return 0;
	return fail(errno, ENTRY_FMT ": make room for the %u bytes in its queue", ENTRY_ARG(e), size);
}

static int put(const FileEntry *e, int fd, const char *data, size_t size, const char *which)
{
	while (size) {
		ssize_t n = send(fd, data, size < CHUNK ? size : CHUNK, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return fail(n < 0 ? errno : EIO, ENTRY_FMT ": put %zu bytes into its %s queue", ENTRY_ARG(e), size, which);
		data += n;
		size -= (size_t)n;
	}
	return 0;
}

static struct segment segment(const struct stream *s, uint32_t seq)
{
	uint32_t window = s->e->snd_wnd >> s->e->snd_wscale;

	return (struct segment){ .from = &s->peer, .to = &s->own, .seq = seq, .ack = s->acked, .window = window > 0xffff ? 0xffff : (uint16_t)window };
}

/* The byte arrives anew, and what has been read of it is read. */
static int put_urgent(const FileEntry *e, int fd, const struct stream *s)
{
	struct segment g = segment(s, s->received + s->e->torpor_urgent);
	int off = 0, on = e->isk->opts->so_oobinline;
	char byte;

	g.urgent = 1;
	g.data = s->in + s->e->torpor_urgent;
	g.size = 1;
	int r = tcp_inject(e, &g);
	if (r < 0)
		return r;
	setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &off, sizeof off);
	for (int i = 0; recv(fd, &byte, 1, MSG_OOB | MSG_DONTWAIT | (s->e->torpor_urgent_read ? 0 : MSG_PEEK)) != 1; i++) {
		if (i == 1000)
			return fail_text(EIO, ENTRY_FMT ": its urgent byte does not arrive by the loopback device", ENTRY_ARG(e));
		usleep(1000);
	}
	setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on);
	return 0;
}

static int fill_received(const FileEntry *e, int fd, const struct stream *s)
{
	const TcpStreamEntry *t = s->e;
	size_t before = t->has_torpor_urgent ? t->torpor_urgent : t->inq_len;
	int r = make_room(e, fd, SO_RCVBUFFORCE, t->inq_len);

	if (r >= 0)
		r = choose(e, fd, TCP_RECV_QUEUE);
	if (r >= 0)
		r = put(e, fd, s->in, before, "receive");
	if (r >= 0 && before < t->inq_len)
		r = put_urgent(e, fd, s);
	if (r >= 0 && before < t->inq_len)
		r = put(e, fd, s->in + before + 1, t->inq_len - before - 1, "receive");
	return r < 0 ? r : choose(e, fd, TCP_SEND_QUEUE);
}

/* The queue to send from is the chosen one, before and after. */
static int fill(const FileEntry *e, int fd, const struct stream *s)
{
	const TcpStreamEntry *t = s->e;
	int r = t->inq_len ? fill_received(e, fd, s) : 0;

	if (r < 0 || !t->outq_len)
		return r;
	r = make_room(e, fd, SO_SNDBUFFORCE, t->outq_len);
	if (r >= 0)
		r = use_agreed(e, fd, s);
	return r < 0 ? r : put(e, fd, s->out, t->outq_len - t->unsq_len, "send");
}

static int await_state(const FileEntry *e, int fd, uint32_t state)
{
	struct tcp_info info;

	for (int i = 0; i < 1000; i++) {
		socklen_t size = sizeof info;
		if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
			return fail(errno, ENTRY_FMT ": ask for its state", ENTRY_ARG(e));
		if (info.tcpi_state == state)
			return 0;
		usleep(1000);
	}
	fail_text(EIO, ENTRY_FMT ": it is in state %u of TCP, not in %u: what its peer had sent does not arrive by the loopback device", ENTRY_ARG(e),
		  info.tcpi_state, state);
	fail_hint("is the device up, and does a packet filter let packets with the mark %#x through?", TCP_MARK);
	return -EIO;
}

static int finish_ours(const FileEntry *e, int fd)
{
	return shutdown(fd, SHUT_WR) < 0 ? fail(errno, ENTRY_FMT ": shut it down for sending", ENTRY_ARG(e)) : 0;
}

static int finish_peers(const FileEntry *e, int fd, const struct stream *s, uint32_t state)
{
	struct segment g = segment(s, s->received + s->e->inq_len);

	g.fin = true;
	int r = tcp_inject(e, &g);
	return r < 0 ? r : await_state(e, fd, state);
}

static int enter_state(const FileEntry *e, int fd, struct stream *s)
{
	uint32_t state = e->isk->state;
	struct segment ack = segment(s, s->received + s->e->inq_len);

	s->late_fin = we_finished(state) && s->e->unsq_len;
	bool fin = we_finished(state) && !s->late_fin;
	int r = state != LAST_ACK && fin ? finish_ours(e, fd) : 0;
	if (r >= 0 && peer_finished(state))
		r = finish_peers(e, fd, s, fin && state == CLOSING ? CLOSING : CLOSE_WAIT);
	if (r >= 0 && state == LAST_ACK && fin)
		r = finish_ours(e, fd);
	if (r < 0 || state != FIN_WAIT2)
		return r;
	ack.ack = s->e->outq_seq;
	r = tcp_inject(e, &ack);
	return r < 0 ? r : await_state(e, fd, FIN_WAIT2);
}

static int set_windows(const FileEntry *e, int fd, const TcpStreamEntry *t)
{
	const struct tcp_repair_window w = { t->snd_wl1, t->snd_wnd, t->max_window, t->rcv_wnd, t->rcv_wup };

	if (!t->has_snd_wnd)
		return 0;
	if (setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, &w, sizeof w) < 0)
		return fail(errno, ENTRY_FMT ": set its windows (TCP_REPAIR_WINDOW)", ENTRY_ARG(e));
	return 0;
}

int tcp_rebuild(struct restore *r, const FileEntry *e, int fd)
{
	struct stream *s = arena_new(r->arena, struct stream);
	int ret = inet_own_address(r, e, &s->own);

	s->entry = e;
	s->next = streams_of(r)->first;
	streams_of(r)->first = s;
	if (ret >= 0)
		ret = inet_peer_address(r, e, &s->peer);
	if (ret >= 0)
		ret = read_stream(r, e, s);
	if (ret >= 0)
		ret = set(e, fd, TCP_REPAIR, TCP_REPAIR_ON, "begin to repair it (TCP_REPAIR)");
	if (ret >= 0)
		ret = set_number(e, fd, TCP_RECV_QUEUE, s->received);
	if (ret >= 0)
		ret = set_number(e, fd, TCP_SEND_QUEUE, e->isk->state == SYN_SENT ? s->e->outq_seq - 1 : s->acked);
	if (ret >= 0)
		ret = join_ends(r, e, fd, s);
	if (ret < 0 || e->isk->state == SYN_SENT)
		return ret;
	ret = set_agreed(e, fd, s->e);
	if (ret >= 0)
		ret = fill(e, fd, s);
	if (ret >= 0)
		ret = enter_state(e, fd, s);
	if (ret >= 0)
		ret = set_windows(e, fd, s->e);
	if (ret >= 0)   /* segments are not larger than half of the window */
		ret = use_agreed(e, fd, s);
	log_debug("%s to %s, state %u: %u bytes received, %u sent, %u to send", inet_show(&s->own).text, inet_show(&s->peer).text, e->isk->state,
		  s->e->inq_len, s->e->outq_len - s->e->unsq_len, s->e->unsq_len);
	free_pointer(&s->in);
	if (!s->e->unsq_len)
		free_pointer(&s->out);
	return ret;
}

/* --- the end --- */

static int connect_again(const FileEntry *e, int fd, const struct stream *s)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return fail(errno, ENTRY_FMT ": set its flags", ENTRY_ARG(e));
	if (connect(fd, &s->peer.any, inet_size(&s->peer)) < 0 && errno != EINPROGRESS)
		log_warn(ENTRY_FMT ": connect it to %s: %s: its program is told so", ENTRY_ARG(e), inet_show(&s->peer).text, strerror(errno));
	return fcntl(fd, F_SETFL, flags) < 0 ? fail(errno, ENTRY_FMT ": set its flags", ENTRY_ARG(e)) : 0;
}

static int resume(struct restore *r, const struct stream *s, int fd)
{
	const FileEntry *e = s->entry;
	const SkOptsEntry *o = e->isk->opts;
	int zero = 0;

	setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &zero, sizeof zero);
	int ret = sock_filter_restore(e, fd, o);
	if (ret >= 0)
		ret = set(e, fd, TCP_REPAIR, TCP_REPAIR_OFF, "end its repair (TCP_REPAIR)");
	if (ret >= 0 && o->has_reuseaddr)   /* the end of the repair has cleared it */
		ret = sock_set_new(r, e, fd, SOL_SOCKET, SO_REUSEADDR, o->reuseaddr, "SO_REUSEADDR");
	if (ret >= 0 && e->isk->state == SYN_SENT)
		ret = connect_again(e, fd, s);
	if (ret >= 0 && s->e->unsq_len)
		ret = put(e, fd, s->out + s->e->outq_len - s->e->unsq_len, s->e->unsq_len, "send");
	if (ret >= 0 && s->late_fin)
		ret = finish_ours(e, fd);
	return ret < 0 ? ret : sock_buffers_restore(e, fd, o);
}

int tcp_resume(struct restore *r)
{
	int ret = 0;

	for (const struct stream *s = streams_of(r)->first; s && ret >= 0; s = s->next)
		ret = resume(r, s, builder_fd(r, s->entry->id));
	return ret;
}
