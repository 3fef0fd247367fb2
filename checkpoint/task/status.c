/* SPDX-License-Identifier: Apache-2.0 */
/* /proc/PID/task/TID/status, parsed in one pass over its lines by a table. It is among the slower files of /proc (15 µs), and holds the
 * credentials, the signal masks, the umask and the seccomp mode: it is read once for each thread.
 *
 * Lines relied on: Uid, Gid, Groups, SigPnd, ShdPnd, SigBlk, SigIgn, SigCgt, CapInh, CapPrm, CapEff, CapBnd (always there), Umask (4.7),
 * CapAmb (4.3), NoNewPrivs (4.10), Seccomp (3.8, if built in), Seccomp_filters (5.9). */
#include "task/status.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/proc.h"

enum line_type { HEX64, OCT32, DEC32, FOUR, LIST };

struct line {
	const char *key;
	enum line_type type;
	size_t offset;
};
#define LINE(key, type, field) { key ":", type, offsetof(struct task_status, field) }
static const struct line lines[] = {   /* in the file's order */
	LINE("Umask", OCT32, umask),
	LINE("Uid", FOUR, uid),
	LINE("Gid", FOUR, gid),
	LINE("Groups", LIST, groups),
	LINE("SigPnd", HEX64, pending),
	LINE("ShdPnd", HEX64, shared_pending),
	LINE("SigBlk", HEX64, blocked),
	LINE("SigIgn", HEX64, ignored),
	LINE("SigCgt", HEX64, caught),
	LINE("CapInh", HEX64, cap_inh),
	LINE("CapPrm", HEX64, cap_prm),
	LINE("CapEff", HEX64, cap_eff),
	LINE("CapBnd", HEX64, cap_bnd),
	LINE("CapAmb", HEX64, cap_amb),
	LINE("NoNewPrivs", DEC32, no_new_privs),
	LINE("Seccomp", DEC32, seccomp_mode),
	LINE("Seccomp_filters", DEC32, seccomp_filters),
};
#define N_LINES (sizeof lines / sizeof *lines)

/* Numbers up to the end of the line, at most max; returns how many there were. */
static size_t numbers(const char *at, uint32_t *out, size_t max)
{
	size_t n = 0;

	for (char *end; n < max; at = end) {
		at += strspn(at, " \t");
		if (*at < '0' || *at > '9')
			break;
		out[n++] = (uint32_t)strtoul(at, &end, 10);
	}
	return n;
}

static bool take(struct task_status *s, const struct line *l, const char *at)
{
	void *field = (char *)s + l->offset;
	uint32_t group;

	switch (l->type) {
	case HEX64:
		*(uint64_t *)field = strtoull(at, NULL, 16);
		return true;
	case OCT32:
		*(uint32_t *)field = (uint32_t)strtoul(at, NULL, 8);
		return true;
	case DEC32:
		*(uint32_t *)field = (uint32_t)strtoul(at, NULL, 10);
		return true;
	case FOUR:
		return numbers(at, field, 4) == 4;
	case LIST:
		for (at += strspn(at, " \t"); numbers(at, &group, 1); at += strspn(at, "0123456789"), at += strspn(at, " \t"))
			array_push(&s->groups) = group;
		return true;
	}
	return false;
}

int task_status_parse(const char *text, struct task_status *s)
{
	size_t next = 0, found = 0;

	memset(s, 0, sizeof *s);
	for (const char *at = text; at && *at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL) {
		for (size_t i = next; i < N_LINES; i++) {
			size_t len = strlen(lines[i].key);
			if (strncmp(at, lines[i].key, len) != 0)
				continue;
			if (!take(s, &lines[i], at + len))
				return -EBADMSG;
			next = i + 1;
			found++;
			break;
		}
	}
	return found >= 14 ? 0 : -EBADMSG;   /* those of Linux 4.10 without seccomp */
}

int task_status_read(pid_t pid, pid_t tid, struct task_status *s)
{
	char name[64];
	autofree char *text = NULL;

	snprintf(name, sizeof name, "task/%d/status", tid);
	ssize_t n = proc_read(pid, name, &text);
	if (n < 0) {
		memset(s, 0, sizeof *s);
		return (int)n;
	}
	return task_status_parse(text, s);
}

void task_status_done(struct task_status *s)
{
	array_free(&s->groups);
}
