/* SPDX-License-Identifier: Apache-2.0 */
/* Events: a ttrpc client of containerd's events service (services/ttrpc/events/v1, method Forward).
 *
 * One event at a time is under way, and it stays the first of the queue until containerd has acknowledged it, so that order is kept and
 * nothing is lost while containerd is away: then it is tried again, with growing delays, for as long as the shim lives. The other side
 * may get an event twice (it ended before its answer came), never in another order; while a connection stands, an answer is waited for,
 * however long a loaded containerd takes.
 *
 * The queue is bounded. When it is full the oldest event goes that is not the end of a process, or of nothing but ends the oldest; so do those
 * that containerd has not taken when the shim ends. Each that is lost is named in the log. */
#include "containerd/publish.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "events.pb-c.h"
#include "containerd/frame.h"
#include "containerd/loop.h"
#include "ttrpc.pb-c.h"

#define QUEUE_MAX 8192
#define ANSWER_MS 60000   /* on a connection that stands: longer than a loaded machine takes */
#define DELAY_MIN_MS 100
#define DELAY_MAX_MS 10000
#define PATIENCE 3

struct event {
	uint8_t *request;      /* a packed ForwardRequest */
	size_t size;
	char *what;            /* in words */
	bool is_exit;
	struct event *next;
};

static struct {
	const char *address, *ns;
	struct loop_watch watch;
	struct loop_timer timer;          /* of the answer, or of the next attempt */
	struct frame_reader reader;
	struct event *first, **last;
	size_t n;
	bool under_way;
	uint32_t stream;
	unsigned delay;
	uint8_t *out;
	size_t n_out, sent;
	struct loop_timer drain;
	unsigned drain_ms, patience;      /* how often that time is given again while a connection stands */
	void (*drained)(void);
} bus = { .watch = { .fd = -1 } };

static void send_first(void);

void timestamp_fill(Wk__Timestamp *t, const struct timespec *at)
{
	wk__timestamp__init(t);
	t->seconds = at->tv_sec;
	t->nanos = (int32_t)at->tv_nsec;
}

static void drop(struct event **link)
{
	struct event *e = *link;

	*link = e->next;
	if (!*link)
		bus.last = link;
	bus.n--;
	free_pointer(&e->request);
	free_pointer(&e->what);
	free_pointer(&e);
}

static void drop_first(void)
{
	drop(&bus.first);
	if (!bus.n && bus.drained) {
		void (*done)(void) = bus.drained;
		bus.drained = NULL;
		loop_cancel(&bus.drain);
		done();
	}
}

static void disconnect(void)
{
	loop_remove(&bus.watch);
	fd_close(&bus.watch.fd);
	frame_reader_free(&bus.reader);
	free_pointer(&bus.out);
	bus.n_out = bus.sent = 0;
	bus.stream = 0;
	bus.under_way = false;
}

static void again(void *arg)
{
	(void)arg;
	send_first();
}

static void try_later(void)
{
	disconnect();
	bus.timer.fire = again;
	loop_after(&bus.timer, bus.delay);
	bus.delay = bus.delay * 2 > DELAY_MAX_MS ? DELAY_MAX_MS : bus.delay * 2;
}

static void no_answer(void *arg)
{
	(void)arg;
	log_warn("containerd does not acknowledge an event; it is sent again");
	try_later();
}

/* An answer, whatever it says: an event that containerd refuses would be refused again. */
static void acknowledged(void)
{
	Ttrpc__Response *r = ttrpc__response__unpack(NULL, bus.reader.frame.size, bus.reader.payload);

	if (r && r->status && r->status->code)
		log_warn("containerd refuses an event: %s", r->status->message);
	if (r)
		ttrpc__response__free_unpacked(r, NULL);
	loop_cancel(&bus.timer);
	bus.under_way = false;
	bus.delay = DELAY_MIN_MS;
	drop_first();
	send_first();
}

static int flush(void)
{
	while (bus.sent < bus.n_out) {
		ssize_t n = send(bus.watch.fd, bus.out + bus.sent, bus.n_out - bus.sent, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			return -errno;
		bus.sent += (size_t)n;
	}
	loop_want(&bus.watch, EPOLLIN | (bus.sent < bus.n_out ? EPOLLOUT : 0));
	return 0;
}

static void take(const uint8_t *data, size_t size)
{
	while (size && bus.watch.fd >= 0) {
		int r = frame_read(&bus.reader, &data, &size);
		if (r > 0 && bus.under_way && bus.reader.frame.type == FRAME_RESPONSE && bus.reader.frame.stream == bus.stream) {
			acknowledged();
			return;   /* nothing else is asked, so nothing else comes */
		}
	}
}

static void on_bus(void *arg, uint32_t events)
{
	uint8_t data[4096];
	(void)arg;

	if ((events & EPOLLOUT) && flush() < 0) {
		try_later();
		return;
	}
	ssize_t n = recv(bus.watch.fd, data, sizeof data, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		take(data, (size_t)n);
	else if (bus.n)
		try_later();
	else
		disconnect();
}

static int connect_bus(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	const char *path = str_starts(bus.address, "unix://") ? bus.address + 7 : bus.address;

	if (bus.watch.fd >= 0)
		return 0;
	if (strlen(path) >= sizeof at.sun_path)
		return -ENAMETOOLONG;
	memcpy(at.sun_path, path, strlen(path));
	autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);   /* EAGAIN: it accepts nobody now */
	if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof at) < 0)
		return -errno;
	bus.watch = (struct loop_watch){ .fd = take_fd(&fd), .ready = on_bus };
	int r = loop_add(&bus.watch, EPOLLIN);
	if (r < 0) {
		err_clear();
		fd_close(&bus.watch.fd);
	}
	return r;
}

static void pack_request(const struct event *e)
{
	Ttrpc__Request request = TTRPC__REQUEST__INIT;
	Ttrpc__KeyValue ns = TTRPC__KEY_VALUE__INIT;
	Ttrpc__KeyValue *metadata[] = { &ns };
	static char service[] = "containerd.services.events.ttrpc.v1.Events", method[] = "Forward", key[] = "containerd-namespace-ttrpc";
	autofree char *value = str_dup(bus.ns);

	ns.key = key;
	ns.value = value;
	request.service = service;
	request.method = method;
	request.payload = (ProtobufCBinaryData){ .len = e->size, .data = e->request };
	request.n_metadata = 1;
	request.metadata = metadata;
	size_t size = ttrpc__request__get_packed_size(&request);
	free_pointer(&bus.out);
	bus.out = mem_alloc(FRAME_HEADER + size);
	frame_put(bus.out, &(struct frame){ .size = (uint32_t)size, .stream = bus.stream, .type = FRAME_REQUEST });
	ttrpc__request__pack(&request, bus.out + FRAME_HEADER);
	bus.n_out = FRAME_HEADER + size;
	bus.sent = 0;
}

static void send_first(void)
{
	if (!bus.first || bus.under_way || bus.timer.at)
		return;
	if (connect_bus() < 0) {
		try_later();
		return;
	}
	bus.stream = bus.stream ? bus.stream + 2 : 1;
	pack_request(bus.first);
	bus.under_way = true;
	bus.timer.fire = no_answer;
	loop_after(&bus.timer, ANSWER_MS);
	if (flush() < 0)
		try_later();
}

void publish_begin(const char *address, const char *ns)
{
	bus.address = address;
	bus.ns = ns;
	bus.last = &bus.first;
	bus.delay = DELAY_MIN_MS;
}

static const char *text_of(const ProtobufCMessage *m, const char *name)
{
	const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(m->descriptor, name);
	char *text = NULL;

	if (f && f->type == PROTOBUF_C_TYPE_STRING && f->label != PROTOBUF_C_LABEL_REPEATED)
		memcpy(&text, (const char *)m + f->offset, sizeof text);
	return text ? text : "";
}

/* "/tasks/exit of container c, e1" */
static char *in_words(const char *topic, const ProtobufCMessage *m)
{
	const char *container = text_of(m, "container_id"), *exec = text_of(m, "exec_id"), *id = *exec ? exec : text_of(m, "id");
	bool added = *id && strcmp(id, container) != 0;

	return str_printf("%s of container %s%s%s", topic, container, added ? ", " : "", added ? id : "");
}

static struct event *make_event(const char *topic, const char *type, const ProtobufCMessage *message)
{
	Events__ForwardRequest forward = EVENTS__FORWARD_REQUEST__INIT;
	Events__Envelope envelope = EVENTS__ENVELOPE__INIT;
	Wk__Timestamp now;
	Wk__Any any = WK__ANY__INIT;
	struct timespec t;
	size_t size = protobuf_c_message_get_packed_size(message);
	autofree uint8_t *value = mem_alloc(size + 1);
	autofree char *name = str_printf("containerd.events.%s", type), *topic_copy = str_dup(topic), *ns = str_dup(bus.ns);

	clock_gettime(CLOCK_REALTIME, &t);
	timestamp_fill(&now, &t);
	protobuf_c_message_pack(message, value);
	any.type_url = name;
	any.value = (ProtobufCBinaryData){ .len = size, .data = value };
	envelope.timestamp = &now;
	envelope.namespace_ = ns;
	envelope.topic = topic_copy;
	envelope.event = &any;
	forward.envelope = &envelope;
	struct event *e = mem_zalloc(sizeof *e);
	e->size = events__forward_request__get_packed_size(&forward);
	e->request = mem_alloc(e->size);
	events__forward_request__pack(&forward, e->request);
	e->what = in_words(topic, message);
	e->is_exit = !strcmp(topic, "/tasks/exit");
	return e;
}

/* One is too many. That which is under way stays: it may have arrived. */
static void lose_one(void)
{
	struct event **oldest = bus.under_way ? &bus.first->next : &bus.first, **lost = oldest;

	while (*lost && (*lost)->is_exit)
		lost = &(*lost)->next;
	if (!*lost)
		lost = oldest;
	log_error("more than %d events wait for containerd, which does not take them: lost: %s", QUEUE_MAX, (*lost)->what);
	drop(lost);
}

void publish(const char *topic, const char *type, const ProtobufCMessage *message)
{
	if (!bus.address || !*bus.address)
		return;
	struct event *e = make_event(topic, type, message);
	*bus.last = e;
	bus.last = &e->next;
	bus.n++;
	if (bus.n > QUEUE_MAX)
		lose_one();
	send_first();
}

static void drain_over(void *arg)
{
	void (*done)(void) = bus.drained;
	(void)arg;

	if (bus.under_way && bus.patience) {   /* it is there, and slow */
		bus.patience--;
		loop_after(&bus.drain, bus.drain_ms);
		return;
	}
	for (const struct event *e = bus.first; e; e = e->next)
		log_error("the shim ends, and containerd has not taken its events: lost: %s", e->what);
	bus.drained = NULL;
	if (done)
		done();
}

void publish_drain(unsigned ms, void (*done)(void))
{
	if (!bus.n) {
		done();
		return;
	}
	bus.drained = done;
	bus.drain_ms = ms;
	bus.patience = PATIENCE;
	bus.drain.fire = drain_over;
	loop_after(&bus.drain, ms);
	if (!bus.under_way) {   /* the next attempt may be far off */
		bus.delay = DELAY_MIN_MS;
		loop_cancel(&bus.timer);
		send_first();
	}
}
