/* SPDX-License-Identifier: Apache-2.0 */
/* torpor-netlock's command line. */
#include "netlock/options.h"

#include <stddef.h>

#define AT(field) offsetof(struct netlock_options, field)
#define LOCK OPTION_VERB(NETLOCK_LOCK)
#define UNLOCK OPTION_VERB(NETLOCK_UNLOCK)
#define STATUS OPTION_VERB(NETLOCK_STATUS)
#define EVERY OPTION_EVERY_VERB

static const struct option_verb verbs[NETLOCK_VERBS] = {
	[NETLOCK_LOCK] = { "lock", NULL, "drop all packets of a network namespace, or those of some connections, until unlock", NULL, false, false },
	[NETLOCK_UNLOCK] = { "unlock", NULL, "take the lock away; if there is none, that is fine", NULL, false, false },
	[NETLOCK_STATUS] = { "status", NULL, "list the locks; with --id, exit with 1 if that one is not there", NULL, false, false },
	[NETLOCK_CLEAN] = { "clean", NULL, "take all locks of the namespace away, whoever made them", NULL, false, false },
};

static const struct option rows[] = {
	{ "id", 'i', OPTION_STRING, LOCK | UNLOCK | STATUS, AT(id), "ID", "whose lock, normally a container; default: TORPOR_ID of the environment" },
	{ "pid", 'p', OPTION_INT, EVERY, AT(pid), "PID", "in the network namespace of this process; default: CRTOOLS_INIT_PID of the environment" },
	{ "netns", 'n', OPTION_STRING, EVERY, AT(netns), "FILE", "in this network namespace (/run/netns/NAME, /proc/PID/ns/net)" },
	{ "hook", 0, OPTION_FLAG, LOCK | UNLOCK, AT(hook), NULL, "id and pid come as an OCI hook gets them: the container's state, on standard input" },
	{ "flow", 'f', OPTION_LIST, LOCK, AT(flows), "LOCAL:PORT,REMOTE:PORT",
	  "lock this TCP connection only; may be given many times (IPv6 addresses in brackets)" },
	{ "network-lock", 0, OPTION_STRING, LOCK | UNLOCK, AT(method), "METHOD", "nftables (default) or iptables" },
	{ "help", 'h', OPTION_FLAG, EVERY, AT(help), NULL, "print this text" },
	{ "version", 'V', OPTION_FLAG, EVERY, AT(version), NULL, "print the version" },
};

const struct option_table netlock_options_table = {
	.program = "torpor-netlock", .verbs = verbs, .n_verbs = NETLOCK_VERBS, .rows = rows, .n_rows = sizeof rows / sizeof *rows,
};
