/* SPDX-License-Identifier: Apache-2.0 */
/* /proc/TID/status: what driving a thread needs to know beforehand. Also works for a tid that is not a leader. */
#include <string.h>

#include "base/proc.h"
#include "remote/internal.h"

static uint64_t number(const char *text, const char *key, int base)
{
	uint64_t value = 0;

	proc_field_u64(text, key, base, &value);
	return value;
}

/* The last of its numbers, that in its own pid namespace, is 1. Not told (before 4.1): it may be. */
static bool is_first(const char *text)
{
	const char *at = proc_field(text, "NSpid");
	size_t n = at ? strcspn(at, "\n") : 0;

	return n < 2 || (at[n - 1] == '1' && (at[n - 2] == '\t' || at[n - 2] == ' '));
}

int status_read(pid_t tid, struct status *s)
{
	autofree char *text = NULL;
	ssize_t n = proc_read(tid, "status", &text);

	if (n < 0)
		return (int)n;
	const char *state = proc_field(text, "State"), *name = proc_field(text, "Name"), *features = proc_field(text, "x86_Thread_features");
	*s = (struct status){
		.tgid = (pid_t)number(text, "Tgid", 10),
		.tracer = (pid_t)number(text, "TracerPid", 10),
		.state = state ? *state : '?',
		.threads = (unsigned)number(text, "Threads", 10),
		.seccomp = (unsigned)number(text, "Seccomp", 10),
		.pending = number(text, "SigPnd", 16) | number(text, "ShdPnd", 16),
		.blocked = number(text, "SigBlk", 16),
		.ignored = number(text, "SigIgn", 16),
		.caught = number(text, "SigCgt", 16),
	};
	s->first = is_first(text);
	if (features)
		s->shadow_stack = memmem(features, strcspn(features, "\n"), "shstk", 5);
	if (name)
		memcpy(s->comm, name, strcspn(name, "\n") < sizeof s->comm ? strcspn(name, "\n") : sizeof s->comm - 1);
	return 0;
}
