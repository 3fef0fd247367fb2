/* SPDX-License-Identifier: Apache-2.0 */
/* torpor-netlock: the network lock (hooks/netlock.h) by hand, as an action script and as an OCI hook. As an action script it has no arguments:
 * CRTOOLS_SCRIPT_ACTION says what to do, and it does something at network-lock and network-unlock only. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "netlock.h"
#include "netlock/options.h"
#include "spec/json.h"

struct call {
	struct netlock_options o;
	struct arena arena;
	const struct ck_lock_method *method;
	int netns;
	int later;                   /* a socket whose closing waits for the kernel */
};

static int usage(FILE *out)
{
	fprintf(out, "Usage: torpor-netlock COMMAND [OPTIONS]\n\nCommands:\n");
	option_help_verbs(out, &netlock_options_table);
	fprintf(out, "\ntorpor-netlock COMMAND --help shows a command's options.\n");
	return out == stdout ? 0 : 1;
}

static int version(void)
{
	return printf("torpor-netlock " TORPOR_VERSION "\n") < 0;
}

/* {"id": "c1", "pid": 123, …} */
static int read_state(struct call *c)
{
	autofree char *text = mem_alloc(JSON_MAX_SIZE);
	size_t n = 0;
	struct json *state;
	uint64_t pid;

	for (ssize_t got = 1; got > 0 && n < JSON_MAX_SIZE; n += (size_t)got) {
		got = read(0, text + n, JSON_MAX_SIZE - n);
		if (got < 0)
			return fail(errno, "--hook: read the container's state from standard input");
	}
	int r = json_parse(&c->arena, "the container's state", text, n, &state);
	if (r < 0)
		return r;
	const char *id = json_string(state, "id");
	if (!c->o.id)
		c->o.id = id;
	if (!c->o.pid && !c->o.netns && json_u64(state, "pid", &pid) && pid <= INT32_MAX)
		c->o.pid = (int)pid;
	return id ? 0 : fail_text(EINVAL, "--hook: the state on standard input has no id");
}

static int from_environment(struct call *c)
{
	const char *pid = getenv("CRTOOLS_INIT_PID");
	uint64_t n;

	if (!c->o.id)
		c->o.id = getenv("TORPOR_ID");
	if (c->o.pid || c->o.netns || !pid)
		return 0;
	if (parse_u64(pid, 10, &n) < 0 || !n || n > INT32_MAX)
		return fail_text(EINVAL, "CRTOOLS_INIT_PID=%s: not a process", pid);
	c->o.pid = (int)n;
	return 0;
}

static int open_netns(struct call *c)
{
	char path[64];

	if (c->o.netns && c->o.pid)
		return fail_text(EINVAL, "--pid and --netns exclude each other");
	snprintf(path, sizeof path, "/proc/%d/ns/net", c->o.pid);
	const char *name = c->o.netns ? c->o.netns : c->o.pid ? path : "/proc/self/ns/net";
	c->netns = open(name, O_RDONLY | O_CLOEXEC);
	return c->netns < 0 ? fail(errno, "open the network namespace %s", name) : 0;
}

static bool is_own(int netns)
{
	struct stat here, there;

	return stat("/proc/self/ns/net", &here) == 0 && fstat(netns, &there) == 0 && here.st_ino == there.st_ino && here.st_dev == there.st_dev;
}

static int need_id(struct call *c)
{
	return c->o.id && *c->o.id ? 0 : fail_text(EINVAL, "no id: give --id ID, or TORPOR_ID in the environment");
}

/* All packets of the namespace that the caller itself lives in are never meant. */
static int lock(struct call *c)
{
	autofree struct ck_flow *flows = mem_zalloc((c->o.flows.n + 1) * sizeof *flows);
	const struct ck_lock l = { .netns = c->netns, .name = c->o.id, .whole = !c->o.flows.n, .flows = flows, .n_flows = c->o.flows.n };
	int r = need_id(c);

	for (size_t i = 0; i < c->o.flows.n && r >= 0; i++)
		r = netlock_parse_flow(c->o.flows.data[i], &flows[i]);
	if (r >= 0 && l.whole && !c->o.netns && is_own(c->netns)) {
		r = c->o.pid ? fail_text(EINVAL, "process %d is in the network namespace of the caller, which would be cut off itself", c->o.pid)
			     : fail_text(EINVAL, "no network namespace: give --pid PID or --netns FILE");
		fail_hint("name the connections to lock (--flow)");
	}
	return r < 0 ? r : c->method->lock(&l);
}

static int unlock(struct call *c)
{
	const struct ck_lock l = { .netns = c->netns, .name = c->o.id, .later = c->o.hook ? NULL : &c->later };
	int r = need_id(c);

	return r < 0 ? r : c->method->unlock(&l);
}

/* The lock is gone; what it was made of is freed when the socket is closed, after a grace period. Who called need not wait for that: a child does,
 * which has nothing else open, and is not where the caller was. It closes it last: the pipe tells when this process has ended. (A hook may run
 * where nobody would reap the child: it waits itself.) */
static void close_beside(int socket)
{
	int ends[2];
	char byte;

	if (chdir("/") < 0 || dup2(socket, 0) < 0 || close_range(1, ~0u, 0) < 0 || pipe(ends) < 0 || fork() != 0)
		return;
	close(ends[1]);
	while (read(ends[0], &byte, 1) < 0 && errno == EINTR)
		;
	_exit(0);
}

struct search {
	const char *id;
	bool found;
};

static int show(void *arg, const char *name, bool whole)
{
	struct search *s = arg;

	if (s->id && strcmp(s->id, name) != 0)
		return 0;
	s->found = true;
	return printf("%s\t%s\n", name, whole ? "all packets" : "connections") < 0 ? fail(errno, "write to standard output") : 0;
}

/* Whether it is there is the exit status, not an error. */
static int status(struct call *c)
{
	struct search s = { .id = c->o.id };
	int r = netlock_list(c->netns, show, &s);

	return r < 0 ? r : s.id && !s.found;
}

static int clean(struct call *c)
{
	int r = netlock_clean(c->netns);

	return r < 0 ? r : 0;
}

static int (*const verbs[NETLOCK_VERBS])(struct call *c) = {
	[NETLOCK_LOCK] = lock, [NETLOCK_UNLOCK] = unlock, [NETLOCK_STATUS] = status, [NETLOCK_CLEAN] = clean,
};

static int run(struct call *c, enum netlock_verb verb)
{
	int r = c->o.hook ? read_state(c) : 0;

	if (r >= 0)
		r = from_environment(c);
	if (r >= 0)
		r = netlock_find(c->o.method, &c->method);
	if (r >= 0 && !c->method)
		return 0;   /* skip */
	if (r >= 0)
		r = open_netns(c);
	if (r >= 0)
		r = verbs[verb](c);
	fd_close(&c->netns);
	if (r >= 0 && c->later >= 0)
		close_beside(c->later);
	return r < 0 ? r : verb == NETLOCK_STATUS ? r : 0;
}

static int verb_of_action(const char *action)
{
	return !strcmp(action, "network-lock") ? NETLOCK_LOCK : !strcmp(action, "network-unlock") ? NETLOCK_UNLOCK : -1;
}

static int find_verb(int argc, char **argv)
{
	int at = option_first_positional(&netlock_options_table, argc, argv);

	if (at > 0 || argc == 0)
		return fail_text(EINVAL, "the command comes first: torpor-netlock --help");
	int verb = option_verb_find(&netlock_options_table, argv[0]);
	return verb < 0 ? fail_text(EINVAL, "unknown command %s: torpor-netlock --help lists the commands", argv[0]) : verb;
}

static int command(int argc, char **argv)
{
	struct call c = { .o = NETLOCK_OPTIONS_INIT, .netns = -1, .later = -1 };
	int verb = find_verb(argc, argv), r = verb;

	if (r >= 0) {
		argc--;
		argv++;
		r = option_parse(&netlock_options_table, (unsigned)verb, &argc, &argv, &c.o);
	}
	if (r >= 0 && argc)
		r = fail_text(EINVAL, "unexpected argument %s", argv[0]);
	if (r >= 0 && c.o.help)
		option_help(stdout, &netlock_options_table, (unsigned)verb);
	else if (r >= 0 && c.o.version)
		r = version();
	else if (r >= 0)
		r = run(&c, (enum netlock_verb)verb);
	option_free(&netlock_options_table, &c.o);
	arena_done(&c.arena);
	return r;
}

int main(int argc, char **argv)
{
	const char *action = getenv("CRTOOLS_SCRIPT_ACTION");
	struct call c = { .o = NETLOCK_OPTIONS_INIT, .netns = -1, .later = -1 };
	int r;

	if (argc == 1 && action)
		r = verb_of_action(action) < 0 ? 0 : run(&c, (enum netlock_verb)verb_of_action(action));
	else if (argc == 1 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		return usage(argc > 1 ? stdout : stderr);
	else if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V"))
		return version();
	else
		r = command(argc - 1, argv + 1);
	if (r < 0)
		log_trail();
	return r != 0;
}
