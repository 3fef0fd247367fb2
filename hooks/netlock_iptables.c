/* SPDX-License-Identifier: Apache-2.0 */
/* The network lock with the system's iptables: a chain of the lock's own in the table raw, reached first from PREROUTING and OUTPUT, for
 * IPv4 and IPv6. raw is the earliest table that iptables has.
 *
 * Facts relied on: iptables-restore --noflush takes a text as one transaction (per family), and empties a chain that it declares. A
 * chain's name has at most 28 characters, so it has a number made of the lock's name. iptables-save lists what is there.
 *
 * It is slower than nftables by as many programs as it runs (two for each family); it is for kernels and users that have iptables only. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "exec.h"
#include "netlock.h"
#include "netlock_private.h"

#define PREFIX "torpor-"
#define SAVE_MAX (4u << 20)

static const struct family {
	const char *save, *restore;
	bool v6;
} families[] = {
	{ "iptables-save", "iptables-restore", false },
	{ "ip6tables-save", "ip6tables-restore", true },
};

/* The system's program; NULL if there is none. To be freed. */
static char *find_program(const char *name)
{
	static const char *const directories[] = { "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin" };

	for (size_t i = 0; i < sizeof directories / sizeof *directories; i++) {
		autofree char *path = str_printf("%s/%s", directories[i], name);
		if (access(path, X_OK) == 0)
			return take_ptr(&path);
	}
	return NULL;
}

/* The calling thread goes into the namespace, and back: the programs that it runs meanwhile work there. */
static int enter(int netns, int *home)
{
	*home = -1;
	if (netns < 0)
		return 0;
	*home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	return *home < 0 || setns(netns, CLONE_NEWNET) < 0 ? fail(errno, "enter the network namespace to lock") : 0;
}

static void leave(int *home)
{
	if (*home >= 0 && setns(*home, CLONE_NEWNET) < 0)
		abort();   /* a thread that stays in the wrong one would do harm everywhere */
	fd_close(home);
}

static int restore(const char *what, const struct family *f, const char *text)
{
	autofree char *program = find_program(f->restore);
	char noflush[] = "--noflush", wait[] = "-w", path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	char *const args[] = { program, noflush, wait, NULL }, *const env[] = { path, NULL };

	if (!program) {
		int r = fail_text(ENOENT, "%s: the system has no %s", what, f->restore);
		fail_hint("install iptables, or use --network-lock nftables");
		return r;
	}
	const struct hook h = { .path = program, .args = args, .env = env, .timeout = 30 };
	int r = hook_exec(&h, text, strlen(text));
	return r < 0 ? fail_text(-r, "%s: %s failed", what, program) : 0;
}

/* What iptables-save -t raw prints, to be freed; NULL with *r < 0, or without such a program. */
static char *save(const struct family *f, int *r)
{
	autofree char *program = find_program(f->save);
	int out[2];

	*r = 0;
	if (!program)
		return NULL;
	if (pipe2(out, O_CLOEXEC) < 0) {
		*r = fail(errno, "make a pipe");
		return NULL;
	}
	pid_t pid = fork();
	if (pid == 0) {
		if (dup2(out[1], 1) < 0)
			_exit(126);
		execl(program, f->save, "-t", "raw", (char *)NULL);
		_exit(127);
	}
	close(out[1]);
	char *text = mem_alloc(SAVE_MAX + 1);
	size_t n = 0;
	ssize_t got = pid < 0 ? 0 : 1;
	while (got > 0 && n < SAVE_MAX) {
		got = read(out[0], text + n, SAVE_MAX - n);
		n += got > 0 ? (size_t)got : 0;
	}
	text[n] = 0;
	close(out[0]);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	return text;
}

struct chain_name {
	char text[32];
};

static struct chain_name chain_of(const char *name)
{
	struct chain_name c;

	snprintf(c.text, sizeof c.text, PREFIX "%016" PRIx64, netlock_hash(name));
	return c;
}

static bool has_chain(const char *text, const char *chain)
{
	char line[40];

	snprintf(line, sizeof line, ":%s ", chain);
	return text && strstr(text, line);
}

static void add_flow(FILE *out, const char *chain, const struct ck_flow *f)
{
	char local[INET6_ADDRSTRLEN], remote[INET6_ADDRSTRLEN];
	int family = f->v6 ? AF_INET6 : AF_INET;

	inet_ntop(family, f->local, local, sizeof local);
	inet_ntop(family, f->remote, remote, sizeof remote);
	fprintf(out, "-A %s -p tcp -s %s -d %s --sport %u --dport %u -j DROP\n", chain, remote, local, f->remote_port, f->local_port);
	fprintf(out, "-A %s -p tcp -s %s -d %s --sport %u --dport %u -j DROP\n", chain, local, remote, f->local_port, f->remote_port);
}

/* The rules that lead to the chain are there when the chain is. */
static char *rules(const struct ck_lock *l, const char *chain, bool v6, bool there)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	fprintf(out, "*raw\n:%s - [0:0]\n-A %s -m mark --mark 0x%x -j RETURN\n", chain, chain, NETLOCK_MARK);
	if (l->whole)
		fprintf(out, "-A %s -j DROP\n", chain);
	for (size_t i = 0; !l->whole && i < l->n_flows; i++)
		if (l->flows[i].v6 == v6)
			add_flow(out, chain, &l->flows[i]);
	if (!there)
		fprintf(out, "-I PREROUTING 1 -j %s\n-I OUTPUT 1 -j %s\n", chain, chain);
	fprintf(out, "COMMIT\n");
	return fclose(out) == 0 ? text : NULL;
}

static int lock_here(const struct ck_lock *l)
{
	const struct chain_name chain = chain_of(l->name);
	int made = 0;

	for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
		int r;
		autofree char *now = save(&families[i], &r);
		if (r < 0)
			return r;
		bool there = has_chain(now, chain.text);
		autofree char *text = rules(l, chain.text, families[i].v6, there);
		r = text ? restore("lock the network", &families[i], text) : fail(ENOMEM, "lock the network");
		if (r < 0)
			return r;
		made |= !there;
	}
	return made;
}

static int remove_chain(const struct family *f, const char *chain)
{
	autofree char *text = str_printf("*raw\n-D PREROUTING -j %s\n-D OUTPUT -j %s\n-F %s\n-X %s\nCOMMIT\n", chain, chain, chain, chain);
	int r = restore("unlock the network", f, text);

	return r < 0 ? r : 1;
}

static int unlock_here(const struct ck_lock *l)
{
	const struct chain_name chain = chain_of(l->name);
	int found = 0;

	for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
		int r;
		autofree char *now = save(&families[i], &r);
		if (r >= 0 && has_chain(now, chain.text))
			r = remove_chain(&families[i], chain.text);
		if (r < 0)
			return r;
		found |= r;
	}
	return found;
}

static int inside(const struct ck_lock *l, int (*work)(const struct ck_lock *l))
{
	int home, r = enter(l->netns, &home);

	if (r >= 0)
		r = work(l);
	leave(&home);
	return r;
}

static int lock(const struct ck_lock *l)
{
	return inside(l, lock_here);
}

static int unlock(const struct ck_lock *l)
{
	return inside(l, unlock_here);
}

const struct ck_lock_method netlock_iptables = { "iptables", lock, unlock, NULL };

/* ":torpor-<16 digits> -" */
static int clean_family(const struct family *f, char *text)
{
	int n = 0, r = 0;

	for (char *at = text; at && (at = strstr(at, ":" PREFIX)) && r >= 0; at++) {
		char chain[32];
		if (sscanf(at + 1, PREFIX "%16[0-9a-f]", chain) != 1 || strlen(chain) != 16)
			continue;
		snprintf(chain, sizeof chain, "%.23s", at + 1);
		r = remove_chain(f, chain);
		n += r > 0;
	}
	return r < 0 ? r : n;
}

static int clean_here(const struct ck_lock *l)
{
	int n = 0;

	(void)l;
	for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
		int r;
		autofree char *now = save(&families[i], &r);
		if (r >= 0)
			r = clean_family(&families[i], now);
		if (r < 0)
			return r;
		n = r > n ? r : n;
	}
	return n;
}

int netlock_clean_iptables(int netns)
{
	return inside(&(struct ck_lock){ .netns = netns }, clean_here);
}
