/* SPDX-License-Identifier: Apache-2.0 */
/* Options of SOL_SOCKET (socket(7)), asked of the engine's duplicate.
 *
 * Kernel facts relied on:
 * - SO_SNDBUF and SO_RCVBUF double what is set and return the doubled value; setting one also marks it as set by hand, which
 *   SO_BUF_LOCK (5.14) shows and clears.
 * - SO_MARK and high priorities need CAP_NET_ADMIN to be set: an option is only set where it differs.
 * - SO_NETNS_COOKIE (5.14) names a socket's network namespace for less than SIOCGSKNS, which opens it.
 * - What a new socket has of an option (from a sysctl, or by a program of its cgroup) is the same for all of its kind that one process makes
 *   in one network namespace. IP_TOS sets SO_PRIORITY as well.
 * - A classic filter can be read back (SO_GET_FILTER); an eBPF one cannot (EACCES), and is refused. In the image an instruction is a
 *   number, its code uppermost, then jt, jf, k. */
#include <errno.h>
#include <linux/filter.h>
#include <net/if.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/proc.h"
#include "sockets/socket.h"

#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK 72
#endif
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif
#ifndef SIOCGSKNS
#define SIOCGSKNS 0x894C
#endif

/* Plain numbers: an int, and whether it is there, in the message. */
static const struct row {
	const char *name;
	int option;
	size_t has, value;
	bool nonzero;                  /* written only if it is set */
} rows[] = {
#define ROW(option, field, nonzero) { #option, option, offsetof(SkOptsEntry, has_##field), offsetof(SkOptsEntry, field), nonzero }
	ROW(SO_REUSEADDR, reuseaddr, false),
	ROW(SO_PRIORITY, so_priority, false),
	ROW(SO_RCVLOWAT, so_rcvlowat, false),
	ROW(SO_MARK, so_mark, true),
	ROW(SO_PASSCRED, so_passcred, false),
	ROW(SO_PASSSEC, so_passsec, false),
	ROW(SO_DONTROUTE, so_dontroute, false),
	ROW(SO_NO_CHECK, so_no_check, false),
	ROW(SO_REUSEPORT, so_reuseport, false),
	ROW(SO_BROADCAST, so_broadcast, false),
	ROW(SO_KEEPALIVE, so_keepalive, false),
	ROW(SO_OOBINLINE, so_oobinline, false),
#undef ROW
};
#define ROWS (sizeof rows / sizeof *rows)
_Static_assert(sizeof(protobuf_c_boolean) == sizeof(int), "flags of a message are read as numbers");

static int get_int(int fd, int level, int option)
{
	int value = 0;
	socklen_t size = sizeof value;

	return getsockopt(fd, level, option, &value, &size) < 0 ? -1 : value;
}

int sock_int(const struct file_info *f, int level, int option)
{
	return get_int(f->local, level, option);
}

int sock_check_netns(struct dump *d, const struct file_info *f)
{
	uint64_t **known = (uint64_t **)file_state(d, STATE_NETNS), cookie = 0, tree;
	socklen_t size = sizeof cookie;
	struct stat st;

	if (getsockopt(f->local, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) == 0 && *known && **known == cookie)
		return 0;
	autoclose int ns = ioctl(f->local, SIOCGSKNS);

	if (ns < 0 || fstat(ns, &st) < 0)
		return fail(errno, FILE_FMT ": ask for its network namespace", FILE_ARG(f));
	int r = proc_ns_inode(tree_root(d->tree)->host_pid, "net", &tree);
	if (r < 0)
		return fail(-r, "look at the network namespace of task %d", tree_root(d->tree)->pid);
	if (tree == st.st_ino) {
		if (cookie)
			*known = arena_dup(d->arena, &cookie, sizeof cookie);
		return 0;
	}
	fail_text(ENOTSUP, FILE_FMT ": the socket belongs to another network namespace (net:[%ju])", FILE_ARG(f), (uintmax_t)st.st_ino);
	fail_hint("a socket of the caller's is named with --external '%s'", f->link);
	return -ENOTSUP;
}

int sock_not_given(uint32_t ino)
{
	fail_text(ENOENT, "socket:[%u] was the caller's when the checkpoint was taken, and must come from it", ino);
	fail_hint("restore with --inherit-fd 'fd[N]:socket:[%u]'", ino);
	return -ENOENT;
}

const char *socket_describe(const struct file_info *f)
{
	switch (sock_int(f, SOL_SOCKET, SO_DOMAIN)) {
	case AF_NETLINK:
		return "a netlink socket";
	case AF_PACKET:
		return "a packet socket";
	case AF_VSOCK:
		return "a vsock socket";
	case AF_ALG:
		return "a crypto (AF_ALG) socket";
	case AF_BLUETOOTH:
		return "a bluetooth socket";
	case 44:
		return "an XDP socket";
	case AF_INET:
	case AF_INET6:
		break;
	default:
		return "a socket of an unknown family";
	}
	switch (sock_int(f, SOL_SOCKET, SO_TYPE)) {
	case SOCK_RAW:
		return "a raw internet socket";
	case SOCK_DGRAM:
		return "an ICMP or other internet datagram socket";
	}
	switch (sock_int(f, SOL_SOCKET, SO_PROTOCOL)) {
	case 262:
		return "an MPTCP socket";
	case 132:
		return "an SCTP socket";
	}
	return "an internet socket of an unknown protocol";
}

/* --- dump --- */

static int dump_filter(struct dump *d, const struct file_info *f, SkOptsEntry *o)
{
	socklen_t n = 0;   /* counts instructions here */

	if (getsockopt(f->local, SOL_SOCKET, SO_GET_FILTER, NULL, &n) < 0)
		return fail_text(ENOTSUP, FILE_FMT ": it has a filter that cannot be read (eBPF), which is not supported", FILE_ARG(f));
	if (!n)
		return 0;
	struct sock_filter *code = arena_array(d->arena, struct sock_filter, n);
	if (getsockopt(f->local, SOL_SOCKET, SO_GET_FILTER, code, &n) < 0)
		return fail(errno, FILE_FMT ": read its filter", FILE_ARG(f));
	o->n_so_filter = n;
	o->so_filter = arena_array(d->arena, uint64_t, n);
	for (socklen_t i = 0; i < n; i++)
		o->so_filter[i] = (uint64_t)code[i].code << 48 | (uint64_t)code[i].jt << 40 | (uint64_t)code[i].jf << 32 | code[i].k;
	return 0;
}

static int dump_time(const struct file_info *f, int option, uint64_t *seconds, uint64_t *microseconds)
{
	struct timeval t;
	socklen_t size = sizeof t;

	if (getsockopt(f->local, SOL_SOCKET, option, &t, &size) < 0)
		return fail(errno, FILE_FMT ": ask for its time limits", FILE_ARG(f));
	*seconds = (uint64_t)t.tv_sec;
	*microseconds = (uint64_t)t.tv_usec;
	return 0;
}

static void dump_rest(struct dump *d, const struct file_info *f, SkOptsEntry *o)
{
	struct linger linger;
	socklen_t size = sizeof linger;
	char device[IFNAMSIZ] = "";
	int lock = sock_int(f, SOL_SOCKET, SO_BUF_LOCK);

	if (lock >= 0) {
		o->has_so_buf_lock = true;
		o->so_buf_lock = (uint32_t)lock;
	}
	if (getsockopt(f->local, SOL_SOCKET, SO_LINGER, &linger, &size) == 0 && linger.l_onoff) {
		o->has_so_linger = true;
		o->so_linger = (uint32_t)linger.l_linger;
	}
	size = sizeof device;
	if (getsockopt(f->local, SOL_SOCKET, SO_BINDTODEVICE, device, &size) == 0 && size && device[0])
		o->so_bound_dev = arena_str(d->arena, device);
}

int sock_opts_dump(struct dump *d, const struct file_info *f, SkOptsEntry **out)
{
	SkOptsEntry *o = *out = ARENA_MESSAGE(d->arena, SkOptsEntry, SK_OPTS_ENTRY__INIT);

	o->so_sndbuf = (uint32_t)sock_int(f, SOL_SOCKET, SO_SNDBUF);
	o->so_rcvbuf = (uint32_t)sock_int(f, SOL_SOCKET, SO_RCVBUF);
	int r = dump_time(f, SO_SNDTIMEO, &o->so_snd_tmo_sec, &o->so_snd_tmo_usec);
	if (r >= 0)
		r = dump_time(f, SO_RCVTIMEO, &o->so_rcv_tmo_sec, &o->so_rcv_tmo_usec);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ROWS; i++) {
		int value = sock_int(f, SOL_SOCKET, rows[i].option);
		if (value < 0 || (rows[i].nonzero && !value))
			continue;   /* not an option of this family */
		*(int *)((char *)o + rows[i].has) = 1;
		*(int *)((char *)o + rows[i].value) = value;
	}
	dump_rest(d, f, o);
	return dump_filter(d, f, o);
}

/* --- restore --- */

static int set_int(const FileEntry *e, int fd, int level, int option, int value, const char *name)
{
	if (setsockopt(fd, level, option, &value, sizeof value) < 0)
		return fail(errno, ENTRY_FMT ": set %s to %d", ENTRY_ARG(e), name, value);
	return 0;
}

int sock_set_int(const FileEntry *e, int fd, int level, int option, int value, const char *name)
{
	return get_int(fd, level, option) == value ? 0 : set_int(e, fd, level, option, value, name);
}

/* What new sockets have, as far as it was asked. */
struct usual {
	int family, protocol, level, option, value;
};
typedef ARRAY(struct usual) usuals;

static int usual_value(struct restore *r, const InetSkEntry *i, int fd, int level, int option)
{
	usuals **known = (usuals **)file_restore_state(r, STATE_SOCKET);

	if (!*known)
		*known = arena_new(r->arena, usuals);
	for (size_t k = 0; k < (*known)->n; k++) {
		const struct usual *u = &(*known)->data[k];
		if (u->option == option && u->level == level && u->family == (int)i->family && u->protocol == (int)i->proto)
			return u->value;
	}
	int value = get_int(fd, level, option);
	array_push(*known) = (struct usual){ (int)i->family, (int)i->proto, level, option, value };
	return value;
}

int sock_set_new(struct restore *r, const FileEntry *e, int fd, int level, int option, int value, const char *name)
{
	return usual_value(r, e->isk, fd, level, option) == value ? 0 : set_int(e, fd, level, option, value, name);
}

static int set_time(const FileEntry *e, int fd, int option, uint64_t seconds, uint64_t microseconds)
{
	struct timeval t = { (time_t)seconds, (suseconds_t)microseconds };

	if (!seconds && !microseconds)
		return 0;
	return setsockopt(fd, SOL_SOCKET, option, &t, sizeof t) < 0 ? fail(errno, ENTRY_FMT ": set its time limits", ENTRY_ARG(e)) : 0;
}

int sock_filter_restore(const FileEntry *e, int fd, const SkOptsEntry *o)
{
	struct sock_fprog program = { .len = (unsigned short)o->n_so_filter };

	if (!o->n_so_filter)
		return 0;
	if (o->n_so_filter > BPF_MAXINSNS)
		return fail_text(EBADMSG, ENTRY_FMT ": a filter of %zu instructions", ENTRY_ARG(e), o->n_so_filter);
	autofree struct sock_filter *code = mem_alloc(o->n_so_filter * sizeof *code);
	for (size_t i = 0; i < o->n_so_filter; i++) {
		uint64_t v = o->so_filter[i];
		code[i] = (struct sock_filter){ (uint16_t)(v >> 48), (uint8_t)(v >> 40), (uint8_t)(v >> 32), (uint32_t)v };
	}
	program.filter = code;
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0)
		return fail(errno, ENTRY_FMT ": attach its filter", ENTRY_ARG(e));
	return 0;
}

int sock_opts_restore(struct restore *fresh, const FileEntry *e, int fd, const SkOptsEntry *o)
{
	int r = 0;

	for (size_t i = 0; i < ROWS && r >= 0; i++) {
		int value = *(const int *)((const char *)o + rows[i].value);
		if (!*(const int *)((const char *)o + rows[i].has))
			continue;
		if (fresh && rows[i].option != SO_PRIORITY)
			r = sock_set_new(fresh, e, fd, SOL_SOCKET, rows[i].option, value, rows[i].name);
		else
			r = sock_set_int(e, fd, SOL_SOCKET, rows[i].option, value, rows[i].name);
	}
	if (r >= 0)
		r = set_time(e, fd, SO_SNDTIMEO, o->so_snd_tmo_sec, o->so_snd_tmo_usec);
	if (r >= 0)
		r = set_time(e, fd, SO_RCVTIMEO, o->so_rcv_tmo_sec, o->so_rcv_tmo_usec);
	if (r >= 0 && o->has_so_linger) {
		struct linger linger = { 1, (int)o->so_linger };
		if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) < 0)
			r = fail(errno, ENTRY_FMT ": set its linger time", ENTRY_ARG(e));
	}
	if (r >= 0 && o->so_bound_dev && o->so_bound_dev[0] &&
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, o->so_bound_dev, (socklen_t)strlen(o->so_bound_dev) + 1) < 0)
		r = fail(errno, ENTRY_FMT ": bind it to the network device %s", ENTRY_ARG(e), o->so_bound_dev);
	return r < 0 ? r : sock_filter_restore(e, fd, o);
}

static int set_buffer(const FileEntry *e, int fd, int option, int forced, uint32_t size)
{
	int half = (int)(size / 2);

	if (get_int(fd, SOL_SOCKET, option) == (int)size)
		return 0;
	if (setsockopt(fd, SOL_SOCKET, forced, &half, sizeof half) < 0 && setsockopt(fd, SOL_SOCKET, option, &half, sizeof half) < 0)
		return fail(errno, ENTRY_FMT ": set a buffer to %u bytes", ENTRY_ARG(e), size);
	return 0;
}

int sock_buffers_restore(const FileEntry *e, int fd, const SkOptsEntry *o)
{
	int r = set_buffer(e, fd, SO_SNDBUF, SO_SNDBUFFORCE, o->so_sndbuf);

	if (r >= 0)
		r = set_buffer(e, fd, SO_RCVBUF, SO_RCVBUFFORCE, o->so_rcvbuf);
	return r < 0 || !o->has_so_buf_lock ? r : sock_set_int(e, fd, SOL_SOCKET, SO_BUF_LOCK, (int)o->so_buf_lock, "SO_BUF_LOCK");
}
