/* SPDX-License-Identifier: Apache-2.0 */
/* Connections, requests, answers.
 *
 * Who may connect: processes of our own user and group (SO_PEERCRED). Even so a client may be broken, so everything is bounded: the
 * connections, the requests under way per connection, what is kept for a client that does not read its answers.
 *
 * Requests are independent of each other, and their answers come in any order. A call outlives its connection: whoever works on it
 * answers into the void then. One that only waits (it is parked) goes with its connection: what it waits for may never come.
 *
 * While there is no descriptor (or memory) for a connection, it waits in the socket's queue, and the loop does not look there. */
#include "containerd/server.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "containerd/frame.h"
#include "containerd/loop.h"
#include "ttrpc.pb-c.h"

#define CONNECTIONS_MAX 64
#define CALLS_MAX 4096          /* under way, of a connection */
#define CALLS_TOTAL 16384       /* under way, those of connections that have gone included */
#define AGAIN_MS 100
#define UNREAD_MAX (16u << 20)  /* bytes of answers that the client does not take */

struct connection {
	struct loop_watch watch;
	struct frame_reader reader;
	uint32_t last_stream;
	size_t n_calls;
	struct rpc_call *calls;
	uint8_t *out;               /* answers that did not go out yet: out[sent … n_out) */
	size_t sent, n_out, room;
	struct connection *next;
};

struct rpc_call {
	struct connection *connection;   /* NULL: gone */
	uint32_t stream;
	struct rpc_call *prev, *next;
	struct rpc_call **parked, *behind;   /* what points to it in a list of parked calls (NULL: it is in none), and who comes next */
};

static struct {
	struct loop_watch watch;
	struct loop_timer again;    /* that accept() is tried */
	bool holding;               /* it has failed, and has been told of */
	const struct rpc_method *const *tables;
	struct connection *connections;
	size_t n, n_calls;
} server = { .watch = { .fd = -1 } };

/* --- calls that wait ---------------------------------------------------------------------------------------------------------- */

static void unpark(struct rpc_call *call)
{
	if (!call->parked)
		return;
	*call->parked = call->behind;
	if (call->behind)
		call->behind->parked = call->parked;
	call->parked = NULL;
}

static void forget(struct rpc_call *call)
{
	struct connection *c = call->connection;

	if (c) {
		*(call->prev ? &call->prev->next : &c->calls) = call->next;
		if (call->next)
			call->next->prev = call->prev;
		c->n_calls--;
	}
	unpark(call);
	server.n_calls--;
	free_pointer(&call);
}

void rpc_park(struct rpc_call **waiting, struct rpc_call *call)
{
	call->behind = *waiting;
	if (call->behind)
		call->behind->parked = &call->behind;
	call->parked = waiting;
	*waiting = call;
}

struct rpc_call *rpc_unpark(struct rpc_call **waiting)
{
	struct rpc_call *call = *waiting;

	if (call)
		unpark(call);
	return call;
}

/* --- connections -------------------------------------------------------------------------------------------------------------- */

static void hang_up(struct connection *c)
{
	struct connection **p = &server.connections;

	while (*p && *p != c)
		p = &(*p)->next;
	if (*p)
		*p = c->next;
	server.n--;
	for (struct rpc_call *call = c->calls, *next; call; call = next) {
		next = call->next;
		call->connection = NULL;
		if (call->parked)
			forget(call);
	}
	loop_remove(&c->watch);
	fd_close(&c->watch.fd);
	frame_reader_free(&c->reader);
	free_pointer(&c->out);
	free_pointer(&c);
}

/* Sends what there is to send. -EPIPE: the client has gone. */
static int flush(struct connection *c)
{
	while (c->sent < c->n_out) {
		ssize_t n = send(c->watch.fd, c->out + c->sent, c->n_out - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			return -EPIPE;
		if (n < 0)
			break;
		c->sent += (size_t)n;
	}
	bool all = c->sent == c->n_out;
	if (all) {
		c->sent = c->n_out = c->room = 0;
		free_pointer(&c->out);
	}
	loop_want(&c->watch, EPOLLIN | (all ? 0 : EPOLLOUT));
	return 0;
}

static void put(struct connection *c, const void *data, size_t size)
{
	if (c->sent > c->room / 2) {   /* a client that reads slowly, but reads */
		memmove(c->out, c->out + c->sent, c->n_out - c->sent);
		c->n_out -= c->sent;
		c->sent = 0;
	}
	if (c->n_out + size > c->room) {
		c->room = c->n_out + size + c->room / 2 + 512;
		c->out = mem_realloc(c->out, c->room);
	}
	memcpy(c->out + c->n_out, data, size);
	c->n_out += size;
}

/* The connection may be gone afterwards. */
static void respond(struct connection *c, uint32_t stream, const Ttrpc__Response *response)
{
	size_t size = ttrpc__response__get_packed_size(response);
	uint8_t header[FRAME_HEADER];
	autofree uint8_t *data = mem_alloc(size ? size : 1);

	ttrpc__response__pack(response, data);
	frame_put(header, &(struct frame){ .size = (uint32_t)size, .stream = stream, .type = FRAME_RESPONSE });
	put(c, header, sizeof header);
	put(c, data, size);
	if (flush(c) < 0 || c->n_out - c->sent > UNREAD_MAX)
		hang_up(c);
}

static void respond_error(struct connection *c, uint32_t stream, int code, const char *text)
{
	Ttrpc__Response response = TTRPC__RESPONSE__INIT;
	Ttrpc__Status status = TTRPC__STATUS__INIT;
	autofree char *copy = str_dup(text);

	status.code = code;
	status.message = copy;
	response.status = &status;
	respond(c, stream, &response);
}

/* --- calls -------------------------------------------------------------------------------------------------------------------- */

void rpc_reply(struct rpc_call *call, const ProtobufCMessage *message)
{
	Ttrpc__Response response = TTRPC__RESPONSE__INIT;
	size_t size = message ? protobuf_c_message_get_packed_size(message) : 0;
	autofree uint8_t *data = mem_alloc(size ? size : 1);
	struct connection *c = call->connection;
	uint32_t stream = call->stream;

	if (message)
		protobuf_c_message_pack(message, data);
	response.payload = (ProtobufCBinaryData){ .len = size, .data = data };
	forget(call);
	if (c)
		respond(c, stream, &response);
}

void rpc_error(struct rpc_call *call, int code, const char *fmt, ...)
{
	struct connection *c = call->connection;
	uint32_t stream = call->stream;
	char text[2048];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	forget(call);
	if (c)
		respond_error(c, stream, code, text);
}

static int code_of(int error)
{
	switch (-error) {
	case ENOENT: case ESRCH: return RPC_NOT_FOUND;
	case EEXIST: return RPC_EXISTS;
	case EINVAL: return RPC_INVALID;
	case ENOTSUP: return RPC_UNIMPLEMENTED;
	default: return RPC_UNKNOWN;
	}
}

void rpc_fail(struct rpc_call *call, int error)
{
	char text[2048];
	size_t n = 0;

	for (size_t i = 0; i < err_count() && n < sizeof text; i++)
		n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", i ? "; " : "", err_line(i));
	if (!n)
		snprintf(text, sizeof text, "%s", strerror(-error));
	err_clear();
	const char *suffix = error == -ENOENT || error == -ESRCH ? ": not found" : error == -EEXIST ? ": already exists" : "";
	rpc_error(call, code_of(error), "%s%s", text, suffix);
}

static const struct rpc_method *find(const char *service, const char *method, bool *known)
{
	*known = false;
	for (const struct rpc_method *const *table = server.tables; *table; table++)
		for (const struct rpc_method *m = *table; m->service; m++) {
			bool same = !strcmp(m->service, service);
			*known |= same;
			if (same && !strcmp(m->method, method))
				return m;
		}
	return NULL;
}

static struct rpc_call *new_call(struct connection *c, uint32_t stream)
{
	struct rpc_call *call = mem_zalloc(sizeof *call);

	call->connection = c;
	call->stream = stream;
	call->next = c->calls;
	if (c->calls)
		c->calls->prev = call;
	c->calls = call;
	c->n_calls++;
	server.n_calls++;
	return call;
}

static void dispatch(struct connection *c, uint32_t stream, const Ttrpc__Request *request)
{
	struct rpc_call *call = new_call(c, stream);
	bool known;
	const struct rpc_method *m = find(request->service, request->method, &known);

	if (!m) {
		rpc_error(call, RPC_UNIMPLEMENTED, known ? "method %s" : "service %s", known ? request->method : request->service);
		return;
	}
	ProtobufCMessage *message = protobuf_c_message_unpack(m->request, NULL, request->payload.len, request->payload.data);
	if (!message) {
		rpc_error(call, RPC_INVALID, "%s: the request cannot be decoded", m->method);
		return;
	}
	log_debug("%s", m->method);
	m->run(call, message);
	protobuf_c_message_free_unpacked(message, NULL);
}

/* A whole frame. The connection may be gone afterwards. */
static void take_frame(struct connection *c)
{
	const struct frame *f = &c->reader.frame;

	if (f->type != FRAME_REQUEST)   /* data belongs to streams, which no service here has */
		return;
	if (!(f->stream & 1) || f->stream <= c->last_stream) {
		respond_error(c, f->stream, RPC_INVALID, "stream identifiers are odd and grow");
		return;
	}
	c->last_stream = f->stream;
	if (f->flags & 3) {
		respond_error(c, f->stream, RPC_UNIMPLEMENTED, "streaming");
		return;
	}
	if (c->n_calls >= CALLS_MAX || server.n_calls >= CALLS_TOTAL) {
		respond_error(c, f->stream, RPC_EXHAUSTED, "too many requests under way");
		return;
	}
	Ttrpc__Request *request = ttrpc__request__unpack(NULL, f->size, c->reader.payload);
	if (!request) {
		respond_error(c, f->stream, RPC_INVALID, "the request cannot be decoded");
		return;
	}
	dispatch(c, f->stream, request);
	ttrpc__request__free_unpacked(request, NULL);
}

static bool is_there(const struct connection *c)
{
	for (struct connection *o = server.connections; o; o = o->next)
		if (o == c)
			return true;
	return false;
}

static void take(struct connection *c, const uint8_t *data, size_t size)
{
	while (size && is_there(c)) {
		int r = frame_read(&c->reader, &data, &size);
		if (r < 0)
			respond_error(c, c->reader.frame.stream, RPC_EXHAUSTED, "the message is too large");
		else if (r > 0)
			take_frame(c);
	}
}

static void on_connection(void *arg, uint32_t events)
{
	struct connection *c = arg;
	uint8_t data[16384];

	if ((events & EPOLLOUT) && flush(c) < 0) {
		hang_up(c);
		return;
	}
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	ssize_t n = recv(c->watch.fd, data, sizeof data, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		hang_up(c);
	else
		take(c, data, (size_t)n);
}

static bool is_ours(int fd)
{
	struct ucred peer;
	socklen_t size = sizeof peer;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return false;
	if (peer.uid == geteuid() && peer.gid == getegid())
		return true;
	log_warn("a connection of user %u, group %u is refused", peer.uid, peer.gid);
	return false;
}

static void accept_again(void *arg)
{
	(void)arg;
	loop_want(&server.watch, EPOLLIN);
}

static void accept_failed(int error)
{
	if (error == EINTR || error == EAGAIN || error == ECONNABORTED)
		return;
	if (!server.holding)
		log_error("a connection cannot be accepted: %s; it waits until it can", strerror(error));
	server.holding = true;
	loop_want(&server.watch, 0);
	loop_after(&server.again, AGAIN_MS);
}

static int accept_one(void)
{
	int fd = accept4(server.watch.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0) {
		accept_failed(errno);
		return fd;
	}
	if (server.holding)
		log_info("connections are accepted again");
	server.holding = false;
	return fd;
}

static void on_listener(void *arg, uint32_t events)
{
	(void)arg;
	(void)events;
	autoclose int fd = accept_one();
	if (fd < 0 || !is_ours(fd))
		return;
	if (server.n >= CONNECTIONS_MAX) {
		log_warn("more than %d connections", CONNECTIONS_MAX);
		return;
	}
	struct connection *c = mem_zalloc(sizeof *c);
	c->watch = (struct loop_watch){ .fd = take_fd(&fd), .ready = on_connection, .arg = c };
	c->next = server.connections;
	server.connections = c;
	server.n++;
	if (loop_add(&c->watch, EPOLLIN) < 0) {
		err_clear();
		hang_up(c);
	}
}

int server_start(int listen_fd, const struct rpc_method *const *tables)
{
	server.tables = tables;
	server.watch = (struct loop_watch){ .fd = listen_fd, .ready = on_listener };
	server.again.fire = accept_again;
	return loop_add(&server.watch, EPOLLIN);
}

void server_refuse(void)
{
	loop_cancel(&server.again);
	loop_remove(&server.watch);
	fd_close(&server.watch.fd);
}

void server_stop(void)
{
	server_refuse();
	while (server.connections) {
		flush(server.connections);
		hang_up(server.connections);
	}
}
