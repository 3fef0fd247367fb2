/* SPDX-License-Identifier: Apache-2.0 */
/* Segments that a restored socket takes for its peer's: a FIN that had come, an acknowledgement, urgent data. No socket option puts these into
 * a connection.
 *
 * They are sent by a raw socket to the socket's own address, so that they go by the loopback device (which has to be up), and have a mark
 * by which filters know them: that of the socket itself (tcp_block) and the lock of the network.
 *
 * Kernel facts relied on:
 * - What is routed to a local address on output is delivered without another look at its source address.
 * - Without a time stamp a segment passes the check for old ones, even if time stamps were agreed upon.
 * - A raw socket with IPPROTO_RAW is given the IP header; the kernel fills in the checksum of IPv4's. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "sockets/tcp.h"

#define PAYLOAD_MAX 1024

/* --- the filter --- */

/* Linked with nothing of libbpf: five instructions. */
static int load_program(void)
{
	const struct bpf_insn code[] = {
		{ .code = BPF_LDX | BPF_W | BPF_MEM, .dst_reg = 2, .src_reg = 1, .off = offsetof(struct __sk_buff, mark) },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0 },
		{ .code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = 2, .off = 1, .imm = TCP_MARK },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0x40000 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr a = { .prog_type = BPF_PROG_TYPE_SOCKET_FILTER, .insn_cnt = sizeof code / sizeof *code,
			     .insns = (uintptr_t)code, .license = (uintptr_t) "" };

	return (int)syscall(SYS_bpf, BPF_PROG_LOAD, &a, sizeof a);
}

/* One program for all sockets, if the caller may load one: each of its own costs a page of code. */
int tcp_block(int fd, int *program)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)(SKF_AD_OFF + SKF_AD_MARK)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TCP_MARK, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0x40000),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	const struct sock_fprog classic = { sizeof code / sizeof *code, code };

	if (*program == -1) {
		*program = load_program();
		if (*program < 0)
			*program = -2;
	}
	if (*program >= 0 && setsockopt(fd, SOL_SOCKET, SO_ATTACH_BPF, program, sizeof *program) == 0)
		return 0;
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &classic, sizeof classic) < 0 ? -errno : 0;
}

/* --- segments --- */

struct packet4 {
	struct iphdr ip;
	struct tcphdr tcp;
	char data[PAYLOAD_MAX];
};
struct packet6 {
	struct ip6_hdr ip;
	struct tcphdr tcp;
	char data[PAYLOAD_MAX];
};

static uint32_t sum(const void *data, size_t size, uint32_t begin)
{
	const unsigned char *p = data;
	uint32_t s = begin;

	for (size_t i = 0; i < size; i++)
		s += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	return s;
}

static uint16_t folded(uint32_t s)
{
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return htons((uint16_t)~s);
}

static void fill_tcp(struct tcphdr *t, const struct segment *s, uint16_t from, uint16_t to)
{
	*t = (struct tcphdr){
		.source = from, .dest = to, .seq = htonl(s->seq), .ack_seq = htonl(s->ack), .doff = sizeof *t / 4, .ack = 1, .fin = s->fin,
		.psh = s->size > 0, .urg = s->urgent > 0, .window = htons(s->window), .urg_ptr = htons(s->urgent),
	};
	if (s->size)
		memcpy(t + 1, s->data, s->size);
}

static int send_raw(const FileEntry *e, int family, const void *packet, size_t size, const union inet_address *to)
{
	autoclose int fd = socket(family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	uint32_t mark = TCP_MARK;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark) < 0)
		return fail(errno, ENTRY_FMT ": make a raw socket for what its peer had sent", ENTRY_ARG(e));
	if (sendto(fd, packet, size, 0, &to->any, inet_size(to)) < 0)
		return fail(errno, ENTRY_FMT ": send it what its peer had sent, by the loopback device", ENTRY_ARG(e));
	return 0;
}

static int inject4(const FileEntry *e, const struct segment *s, struct in_addr from, struct in_addr to)
{
	struct packet4 p = { 0 };
	size_t size = sizeof p.tcp + s->size;
	union inet_address a = { .v4 = { .sin_family = AF_INET, .sin_addr = to } };

	p.ip = (struct iphdr){ .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_TCP, .saddr = from.s_addr, .daddr = to.s_addr,
			       .tot_len = htons((uint16_t)(sizeof p.ip + size)) };
	fill_tcp(&p.tcp, s, s->from->v4.sin_port, s->to->v4.sin_port);
	p.tcp.check = folded(sum(&p.tcp, size, sum(&p.ip.saddr, 8, IPPROTO_TCP + (uint32_t)size)));
	return send_raw(e, AF_INET, &p, sizeof p.ip + size, &a);
}

static int inject6(const FileEntry *e, const struct segment *s)
{
	struct packet6 p = { 0 };
	size_t size = sizeof p.tcp + s->size;
	union inet_address a = { .v6 = { .sin6_family = AF_INET6, .sin6_addr = s->to->v6.sin6_addr, .sin6_scope_id = s->to->v6.sin6_scope_id } };

	p.ip.ip6_flow = htonl(6u << 28);
	p.ip.ip6_plen = htons((uint16_t)size);
	p.ip.ip6_nxt = IPPROTO_TCP;
	p.ip.ip6_hlim = 64;
	p.ip.ip6_src = s->from->v6.sin6_addr;
	p.ip.ip6_dst = s->to->v6.sin6_addr;
	fill_tcp(&p.tcp, s, s->from->v6.sin6_port, s->to->v6.sin6_port);
	p.tcp.check = folded(sum(&p.tcp, size, sum(&p.ip.ip6_src, 32, IPPROTO_TCP + (uint32_t)size)));
	return send_raw(e, AF_INET6, &p, sizeof p.ip + size, &a);
}

int tcp_inject(const FileEntry *e, const struct segment *s)
{
	struct in_addr from, to;

	if (s->size > PAYLOAD_MAX)
		return fail(EMSGSIZE, ENTRY_FMT ": a segment of %zu bytes", ENTRY_ARG(e), s->size);
	if (s->to->any.sa_family == AF_INET)
		return inject4(e, s, s->from->v4.sin_addr, s->to->v4.sin_addr);
	if (!IN6_IS_ADDR_V4MAPPED(&s->to->v6.sin6_addr))
		return inject6(e, s);
	memcpy(&from, &s->from->v6.sin6_addr.s6_addr[12], sizeof from);
	memcpy(&to, &s->to->v6.sin6_addr.s6_addr[12], sizeof to);
	return inject4(e, s, from, to);
}
