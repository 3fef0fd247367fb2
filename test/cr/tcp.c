/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP connections, both ends of each in the program.
 *
 *	tcp contents [4|6|mapped]   full queues in both directions, of megabytes; an accepted connection beside its listening socket
 *	tcp states [4|6|mapped]     every state from SYN-SENT to LAST-ACK
 *	tcp options                 what was agreed on, and options that were set
 *	tcp urgent                  urgent data: not read, read, in line
 *	tcp keys [4|6|mapped]       segments signed with keys (TCP MD5), of connections and of a listening socket
 *	tcp mptcp                   a listening MPTCP socket
 *	tcp many N                  N connections, with a byte each way
 */
#include "cr.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};
struct pair {
	int a, b;
	size_t ab, ba;      /* bytes that were sent and not read */
};
static const char *family = "4";
#ifndef SOL_TCP
#define SOL_TCP 6
#endif
#define PATIENCE 40 /* s; what is sent again comes after as long as it has been waiting */
enum { ESTABLISHED = 1, SYN_SENT, FIN_WAIT1 = 4, FIN_WAIT2, CLOSE_WAIT = 8, LAST_ACK, CLOSING = 11 };

static int family_of(void)
{
	return *family == '4' ? AF_INET : AF_INET6;
}

static int serve(int protocol)
{
	union address a = { 0 };
	int fd = socket(family_of(), SOCK_STREAM, protocol);

	a.any.sa_family = family_of();
	if (*family == '4')
		a.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		need(inet_pton(AF_INET6, *family == '6' ? "::1" : "::ffff:127.0.0.1", &a.v6.sin6_addr) == 1);
	need(fd >= 0);
	if (bind(fd, &a.any, sizeof(a)) < 0)
		cr_skip("no loopback address: %s", strerror(errno));
	need(listen(fd, 16) == 0);
	return fd;
}

static int connect_to(int server, int flags)
{
	union address a = { 0 };
	socklen_t size = sizeof(a);
	int fd = socket(family_of(), SOCK_STREAM | flags, 0);

	need(fd >= 0 && getsockname(server, &a.any, &size) == 0);
	need(connect(fd, &a.any, size) == 0 || errno == EINPROGRESS);
	return fd;
}

static struct pair pair(int server)
{
	struct pair p = { .a = connect_to(server, 0) };

	p.b = accept(server, NULL, NULL);
	need(p.b >= 0);
	return p;
}

static struct tcp_info info(int fd)
{
	struct tcp_info i = { 0 };
	socklen_t size = sizeof(i);

	getsockopt(fd, SOL_TCP, TCP_INFO, &i, &size);
	return i;
}

static bool in_state(int fd, int state)
{
	for (int i = 0; i < PATIENCE * 1000 && info(fd).tcpi_state != state; i++)
		cr_sleep_ms(1);
	return info(fd).tcpi_state == state;
}

/* Keeps all packets from a socket. */
static void drop(int fd)
{
	struct sock_filter code = { .code = BPF_RET | BPF_K, .k = 0 };
	struct sock_fprog program = { 1, &code };

	need(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0);
}

static void undrop(int fd)
{
	int zero = 0;

	expect(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &zero, sizeof(zero)) == 0, "its filter is lost: %s", strerror(errno));
}

static char byte_at(int seed, size_t i)
{
	return (char)(cr_pattern(seed, i / 8) >> (i % 8 * 8));
}

/* As much as fits. */
static size_t fill(int fd, int seed)
{
	size_t sent = 0;
	char data[10000];
	int size = 8 << 20;

	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	for (int idle = 0; idle < 20;) {
		for (size_t i = 0; i < sizeof(data); i++)
			data[i] = byte_at(seed, sent + i);
		ssize_t n = send(fd, data, sizeof(data), MSG_DONTWAIT);
		if (n < 0) {
			need(errno == EAGAIN);
			idle++;
			cr_sleep_ms(1);
		} else {
			sent += n;
		}
	}
	return sent;
}

/* Something is there to be read, or will be: what was on its way is sent again. */
static bool comes(int fd)
{
	struct pollfd p = { fd, POLLIN, 0 };

	return poll(&p, 1, PATIENCE * 1000) == 1;
}

static void expect_bytes(const char *what, int fd, int seed, size_t size)
{
	char data[30000];
	size_t done = 0;

	while (done < size) {
		expect(comes(fd), "%s: nothing comes after %zu of %zu bytes", what, done, size);
		ssize_t n = recv(fd, data, size - done < sizeof(data) ? size - done : sizeof(data), MSG_DONTWAIT);
		if (n <= 0) {
			expect(0, "%s: after %zu of %zu bytes: %s", what, done, size, n ? strerror(errno) : "end");
			return;
		}
		for (ssize_t i = 0; i < n; i++)
			if (data[i] != byte_at(seed, done + i)) {
				expect(0, "%s: byte %zu of %zu is wrong", what, done + i, size);
				return;
			}
		done += n;
	}
}

static void expect_talk(const char *what, struct pair *p)
{
	char text[8] = "";

	expect(send(p->a, "hello", 5, MSG_NOSIGNAL) == 5 && recv(p->b, text, 5, MSG_WAITALL) == 5 && !memcmp(text, "hello", 5),
	       "%s: there: '%s' %s", what, text, strerror(errno));
	expect(send(p->b, "world", 5, MSG_NOSIGNAL) == 5 && recv(p->a, text, 5, MSG_WAITALL) == 5 && !memcmp(text, "world", 5),
	       "%s: back: '%s' %s", what, text, strerror(errno));
}

static void expect_end(const char *what, int fd)
{
	struct timeval patience = { PATIENCE, 0 };
	char byte;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	ssize_t n = recv(fd, &byte, 1, 0);
	expect(n == 0, "%s: no end: %zd, %s", what, n, strerror(errno));
}

/* --- */

static void contents(void)
{
	int server = serve(0), force = 8 << 20;
	struct pair full = pair(server), idle = pair(server), one = pair(server);
	union address name[2] = { 0 }, now[2] = { 0 };
	socklen_t size = sizeof(name[0]);

	setsockopt(full.b, SOL_SOCKET, SO_RCVBUF, &force, sizeof(force));
	full.ab = fill(full.a, 1);
	full.ba = fill(full.b, 2);
	need(send(one.a, "x", 1, 0) == 1 && in_state(one.b, ESTABLISHED));
	need(getsockname(idle.b, &name[0].any, &size) == 0 && getpeername(idle.b, &name[1].any, &size) == 0);
	cr_wait();

	getsockname(idle.b, &now[0].any, &size);
	getpeername(idle.b, &now[1].any, &size);
	expect(!memcmp(name, now, sizeof(name)), "its addresses have changed");
	expect_talk("idle", &idle);
	expect_bytes("there", full.b, 1, full.ab);
	expect_bytes("back", full.a, 2, full.ba);
	expect_talk("full", &full);
	char byte = 0;
	expect(comes(one.b) && recv(one.b, &byte, 1, MSG_DONTWAIT) == 1 && byte == 'x', "a byte: %d", byte);
	struct pair more = pair(server);
	expect_talk("accepted afterwards", &more);
	close(idle.a);
	expect_end("closed", idle.b);
}

static void states(void)
{
	int server = serve(0), deaf = serve(0);
	struct pair half = pair(server), lost = pair(server), both = pair(server), last = pair(server), unread = pair(server);

	need(send(half.a, "half", 4, 0) == 4 && shutdown(half.a, SHUT_WR) == 0);
	need(in_state(half.a, FIN_WAIT2) && in_state(half.b, CLOSE_WAIT));
	drop(lost.b);
	need(send(lost.a, "lost", 4, 0) == 4 && shutdown(lost.a, SHUT_WR) == 0 && in_state(lost.a, FIN_WAIT1));
	drop(both.b);
	drop(both.a);
	need(send(both.b, "both", 4, 0) == 4 && shutdown(both.a, SHUT_WR) == 0 && shutdown(both.b, SHUT_WR) == 0);
	undrop(both.a);
	need(in_state(both.a, CLOSING) && in_state(both.b, FIN_WAIT1));
	need(shutdown(last.a, SHUT_WR) == 0 && in_state(last.b, CLOSE_WAIT));
	drop(last.a);
	need(send(last.b, "last", 4, 0) == 4 && shutdown(last.b, SHUT_WR) == 0 && in_state(last.b, LAST_ACK));
	unread.ab = fill(unread.a, 3);
	need(shutdown(unread.a, SHUT_WR) == 0 && in_state(unread.a, FIN_WAIT1));
	drop(deaf);
	int syn = connect_to(deaf, SOCK_NONBLOCK);
	need(in_state(syn, SYN_SENT));
	const struct {
		const char *name;
		int fd;
	} all[] = { { "half.a", half.a }, { "half.b", half.b }, { "lost.a", lost.a }, { "lost.b", lost.b }, { "both.a", both.a },
		    { "both.b", both.b }, { "last.a", last.a }, { "last.b", last.b }, { "unread.a", unread.a }, { "syn", syn } };
	int was[10];
	for (int i = 0; i < 10; i++)
		was[i] = info(all[i].fd).tcpi_state;
	cr_wait();

	for (int i = 0; i < 10; i++)
		expect(info(all[i].fd).tcpi_state == was[i], "%s: state %d instead of %d", all[i].name, info(all[i].fd).tcpi_state, was[i]);
	char text[8] = "";
	undrop(lost.b);
	undrop(both.b);
	undrop(last.a);
	undrop(deaf);
	expect(recv(half.b, text, 4, 0) == 4 && !memcmp(text, "half", 4), "half: '%s'", text);
	expect_end("half", half.b);
	expect(send(half.b, "back", 4, 0) == 4 && recv(half.a, text, 4, 0) == 4 && !memcmp(text, "back", 4), "half, back: '%s'", text);
	expect(recv(lost.b, text, 4, MSG_WAITALL) == 4 && !memcmp(text, "lost", 4), "lost: '%s'", text);
	expect_end("lost", lost.b);
	expect(recv(both.a, text, 4, 0) == 4 && !memcmp(text, "both", 4), "both: '%s'", text);
	expect_end("both.a", both.a);
	expect_end("both.b", both.b);
	expect(recv(last.a, text, 4, MSG_WAITALL) == 4 && !memcmp(text, "last", 4), "last: '%s'", text);
	expect_end("last.a", last.a);
	expect_end("last.b", last.b);
	expect_bytes("unread", unread.b, 3, unread.ab);
	expect_end("unread", unread.b);
	struct pollfd p = { syn, POLLOUT, 0 };
	expect(poll(&p, 1, PATIENCE * 1000) == 1 && p.revents == POLLOUT, "SYN-SENT: no connection: %#x", p.revents);
	struct pair late = { syn, accept(deaf, NULL, NULL), 0, 0 };
	fcntl(syn, F_SETFL, 0);
	expect_talk("SYN-SENT", &late);
}

static const struct {
	int level, name, value;
} set[] = {
	{ SOL_SOCKET, SO_KEEPALIVE, 1 }, { SOL_SOCKET, SO_REUSEADDR, 1 }, { SOL_IP, IP_TOS, 16 },	       { SOL_SOCKET, SO_SNDBUF, 50000 },
	{ SOL_TCP, TCP_NODELAY, 1 },	 { SOL_TCP, TCP_KEEPIDLE, 71 },	  { SOL_TCP, TCP_KEEPINTVL, 13 },  { SOL_TCP, TCP_KEEPCNT, 3 },
	{ SOL_TCP, TCP_USER_TIMEOUT, 54321 }, { SOL_TCP, TCP_NOTSENT_LOWAT, 9999 }, { SOL_TCP, TCP_LINGER2, 7 }, { SOL_TCP, TCP_SYNCNT, 3 },
	{ SOL_SOCKET, SO_PRIORITY, 4 },	 { SOL_IP, IP_TTL, 44 },	  { SOL_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO }, { SOL_IP, IP_RECVTTL, 1 },
};
#define SET (int)(sizeof(set) / sizeof(set[0]))

static int get(int fd, int level, int name)
{
	int value = -1;
	socklen_t size = sizeof(value);

	return getsockopt(fd, level, name, &value, &size) < 0 ? -1 : value;
}

static void options(void)
{
	int server = serve(0), on = 1;
	struct pair p = pair(server), corked = pair(server);
	struct linger linger = { 1, 77 }, now = { 0 };
	char congestion[2][32] = { "", "" };
	socklen_t size = sizeof(congestion[0]);
	int was[SET];

	for (int i = 0; i < SET; i++)
		need(setsockopt(p.a, set[i].level, set[i].name, &set[i].value, sizeof(int)) == 0);
	for (int i = 0; i < SET; i++)
		was[i] = get(p.a, set[i].level, set[i].name);
	setsockopt(p.a, SOL_TCP, TCP_CONGESTION, "reno", 4);
	need(getsockopt(p.a, SOL_TCP, TCP_CONGESTION, congestion[0], &size) == 0);
	need(setsockopt(p.a, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) == 0);
	need(setsockopt(corked.a, SOL_TCP, TCP_CORK, &on, sizeof(on)) == 0 && send(corked.a, "cork", 4, 0) == 4);
	const struct tcp_info before = info(p.a);
	const int mss = get(p.a, SOL_TCP, TCP_MAXSEG);
	const double then = cr_now(CLOCK_BOOTTIME);   /* around both looks at the stamp */
	const unsigned stamp = get(p.a, SOL_TCP, TCP_TIMESTAMP);
	cr_wait();
	const int jump = (int)(get(p.a, SOL_TCP, TCP_TIMESTAMP) - stamp);
	const int passed = (int)((cr_now(CLOCK_BOOTTIME) - then) * 1000);
	expect(jump >= 0 && jump <= passed + 50, "its time stamp went on by %d in %d ms", jump, passed);

	for (int i = 0; i < SET; i++)
		expect(get(p.a, set[i].level, set[i].name) == was[i], "option %d of level %d: %d instead of %d", set[i].name, set[i].level,
		       get(p.a, set[i].level, set[i].name), was[i]);
	size = sizeof(congestion[0]);
	getsockopt(p.a, SOL_TCP, TCP_CONGESTION, congestion[1], &size);
	expect(!strcmp(congestion[0], congestion[1]), "congestion control: %s instead of %s", congestion[1], congestion[0]);
	size = sizeof(now);
	getsockopt(p.a, SOL_SOCKET, SO_LINGER, &now, &size);
	expect(now.l_onoff && now.l_linger == 77, "linger: %d, %d", now.l_onoff, now.l_linger);
	const struct tcp_info after = info(p.a);
	expect(after.tcpi_options == before.tcpi_options && after.tcpi_snd_wscale == before.tcpi_snd_wscale &&
		       after.tcpi_rcv_wscale == before.tcpi_rcv_wscale, "agreed: %#x %u %u instead of %#x %u %u", after.tcpi_options,
	       after.tcpi_snd_wscale, after.tcpi_rcv_wscale, before.tcpi_options, before.tcpi_snd_wscale, before.tcpi_rcv_wscale);
	expect(abs(get(p.a, SOL_TCP, TCP_MAXSEG) - mss) < 100, "segments of %d instead of %d", get(p.a, SOL_TCP, TCP_MAXSEG), mss);
	expect(get(p.b, SOL_SOCKET, SO_REUSEADDR) == 0 && get(p.b, SOL_SOCKET, SO_OOBINLINE) == 0, "options of the other end");
	expect_talk("talk", &p);
	expect(get(corked.a, SOL_TCP, TCP_CORK) == 1, "not corked");
	int off = 0;
	setsockopt(corked.a, SOL_TCP, TCP_CORK, &off, sizeof(off));
	char text[8] = "";
	expect(recv(corked.b, text, 4, MSG_WAITALL) == 4 && !memcmp(text, "cork", 4), "corked: '%s'", text);
}

static void expect_text(const char *what, int fd, const char *wanted)
{
	char text[16] = "";
	ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

	expect(n == (ssize_t)strlen(wanted) && !strcmp(text, wanted), "%s: '%s' instead of '%s' (%zd, %s)", what, text, wanted, n, strerror(errno));
}

/* All that was sent is in the other end's queue. */
static bool arrives(int fd)
{
	int left = 1;

	for (int i = 0; i < PATIENCE * 1000 && ioctl(fd, SIOCOUTQ, &left) == 0 && left; i++)
		cr_sleep_ms(1);
	return !left;
}

static void urgent(void)
{
	int server = serve(0), on = 1, mark = 0;
	struct pair p[4];
	char c = 0;

	for (int i = 0; i < 4; i++) {
		p[i] = pair(server);
		if (i == 2)
			need(setsockopt(p[i].b, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on)) == 0);
		need((i == 3 || send(p[i].a, "ab", 2, 0) == 2) && send(p[i].a, "U", 1, MSG_OOB) == 1 && send(p[i].a, "cd", 2, 0) == 2);
		need(arrives(p[i].a));
	}
	need(recv(p[1].b, &c, 1, MSG_OOB) == 1 && c == 'U');
	cr_wait();

	expect(recv(p[0].b, &c, 1, MSG_OOB) == 1 && c == 'U', "urgent: %d, %s", c, strerror(errno));
	expect(recv(p[1].b, &c, 1, MSG_OOB | MSG_DONTWAIT) < 0, "it was read already");
	for (int i = 0; i < 2; i++) {
		expect_text("before", p[i].b, "ab");
		expect(ioctl(p[i].b, SIOCATMARK, &mark) == 0 && mark, "not at the mark");
		expect_text("after", p[i].b, "cd");
	}
	expect_text("in line, before", p[2].b, "ab");
	expect_text("in line, after", p[2].b, "Ucd");
	expect(recv(p[3].b, &c, 1, MSG_OOB) == 1 && c == 'U', "urgent at the front: %d, %s", c, strerror(errno));
	expect_text("behind it", p[3].b, "cd");
	for (int i = 0; i < 4; i++)
		expect_talk("talk", &p[i]);
}

static void set_key(int fd, const char *key)
{
	struct tcp_md5sig sig = { .tcpm_keylen = strlen(key) };
	union address a = { 0 };
	socklen_t size = sizeof(a);

	need(getsockname(fd, &a.any, &size) == 0);   /* both are on the loopback */
	memcpy(&sig.tcpm_addr, &a, sizeof(a));
	memcpy(sig.tcpm_key, key, strlen(key));
	if (setsockopt(fd, SOL_TCP, TCP_MD5SIG, &sig, sizeof(sig)) < 0)
		cr_skip("no TCP MD5: %s", strerror(errno));
}

static struct pair signed_pair(int server, const char *key)
{
	union address a = { 0 };
	socklen_t size = sizeof(a);
	struct pair p = { .a = socket(family_of(), SOCK_STREAM, 0) };

	need(getsockname(server, &a.any, &size) == 0);
	const union address whole = a;
	a.v4.sin_port = 0;
	need(bind(p.a, &a.any, size) == 0);
	set_key(p.a, key);
	fcntl(p.a, F_SETFL, O_NONBLOCK);
	connect(p.a, &whole.any, size);
	struct pollfd f = { server, POLLIN, 0 };
	p.b = poll(&f, 1, PATIENCE * 1000) == 1 ? accept(server, NULL, NULL) : -1;
	fcntl(p.a, F_SETFL, 0);
	return p;
}

static void keys(void)
{
	int server = serve(0);

	set_key(server, "secret");
	struct pair p = signed_pair(server, "secret"), half = signed_pair(server, "secret");
	need(p.b >= 0 && half.b >= 0);
	need(send(half.a, "half", 4, 0) == 4 && shutdown(half.a, SHUT_WR) == 0 && in_state(half.a, FIN_WAIT2) && in_state(half.b, CLOSE_WAIT));
	cr_wait();

	expect_talk("signed", &p);
	char text[8] = "";
	expect(recv(half.b, text, 4, 0) == 4 && !memcmp(text, "half", 4), "half: '%s'", text);
	expect_end("half", half.b);
	struct pair later = signed_pair(server, "secret");   /* the listening socket has its key as well */
	expect_talk("signed, connected later", &later);
}

static void mptcp(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 262), protocol = 0;
	socklen_t size = sizeof(protocol);

	if (fd < 0)
		cr_skip("no MPTCP: %s", strerror(errno));
	close(fd);
	fd = serve(262);
	cr_wait();

	expect(getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) == 0 && protocol == 262, "protocol %d", protocol);
	struct pair p = pair(fd);
	expect_talk("talk", &p);
}

static void many(int n)
{
	struct rlimit l;
	int server = serve(0);

	need(getrlimit(RLIMIT_NOFILE, &l) == 0);
	l.rlim_cur = l.rlim_max;
	need(setrlimit(RLIMIT_NOFILE, &l) == 0 && (int)l.rlim_max > 2 * n + 20);
	struct pair *p = calloc(n, sizeof(*p));
	for (int i = 0; i < n; i++) {
		p[i] = pair(server);
		need(send(p[i].a, &i, 4, 0) == 4 && send(p[i].b, &i, 4, 0) == 4);
	}
	cr_wait();

	for (int i = 0; i < n; i++) {
		int x = -1, y = -1;
		expect(comes(p[i].a) && recv(p[i].a, &x, 4, MSG_DONTWAIT) == 4 && x == i, "connection %d: %d", i, x);
		expect(comes(p[i].b) && recv(p[i].b, &y, 4, MSG_DONTWAIT) == 4 && y == i, "connection %d, back: %d", i, y);
		expect_talk("talk", &p[i]);
	}
}

int main(int argc, char **argv)
{
	cr_begin(argc, argv);
	const char *what = argc > 2 ? argv[2] : "contents";
	if (argc > 3)
		family = argv[3];
	if (!strcmp(what, "contents"))
		contents();
	else if (!strcmp(what, "states"))
		states();
	else if (!strcmp(what, "options"))
		options();
	else if (!strcmp(what, "urgent"))
		urgent();
	else if (!strcmp(what, "keys"))
		keys();
	else if (!strcmp(what, "mptcp"))
		mptcp();
	else if (!strcmp(what, "many")) {
		int n = atoi(family);
		family = "4";
		many(n);
	}
	return cr_end();
}
