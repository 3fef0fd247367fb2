/* SPDX-License-Identifier: Apache-2.0 */
/* Names and notations of the specification that others need too: namespaces, hooks, capabilities, sysctl keys, lists of numbers. */
#include <ctype.h>
#include <errno.h>
#include <linux/sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>

#include "spec/spec.h"

const struct spec_namespace_name spec_namespaces[NS_KINDS] = {
	[NS_MOUNT] = { "mount", "mnt", CLONE_NEWNS },
	[NS_PID] = { "pid", "pid", CLONE_NEWPID },
	[NS_NETWORK] = { "network", "net", CLONE_NEWNET },
	[NS_UTS] = { "uts", "uts", CLONE_NEWUTS },
	[NS_IPC] = { "ipc", "ipc", CLONE_NEWIPC },
	[NS_USER] = { "user", "user", CLONE_NEWUSER },
	[NS_CGROUP] = { "cgroup", "cgroup", CLONE_NEWCGROUP },
	[NS_TIME] = { "time", "time", CLONE_NEWTIME },
};

const char *const spec_hook_points[HOOK_POINTS + 1] = {
	[HOOK_PRESTART] = "prestart", [HOOK_CREATE_RUNTIME] = "createRuntime", [HOOK_CREATE_CONTAINER] = "createContainer",
	[HOOK_START_CONTAINER] = "startContainer", [HOOK_POSTSTART] = "poststart", [HOOK_POSTSTOP] = "poststop",
};

int spec_capability(const char *name)
{
	char lower[64] = "cap_";
	size_t at = strncasecmp(name, "cap_", 4) ? 4 : 0;
	cap_value_t value;

	if (!*name || strlen(name) + at >= sizeof lower || isdigit((unsigned char)*name))
		return -EINVAL;
	for (const char *p = name; *p; p++)
		lower[at++] = (char)tolower((unsigned char)*p);
	lower[at] = '\0';
	return cap_from_name(lower, &value) < 0 || value < 0 || value > 63 ? -EINVAL : (int)value;
}

/* As sysctl(8): the first separator decides; if it is a dot, dots and slashes change places. */
int spec_sysctl_path(const char *key, char *path, size_t size)
{
	bool dots = key[strcspn(key, "./")] == '.';
	size_t n = strlen(key);

	if (!n || n >= size)
		return -EINVAL;
	for (size_t i = 0; i <= n; i++)
		path[i] = !dots ? key[i] : key[i] == '.' ? '/' : key[i] == '/' ? '.' : key[i];
	for (const char *part = path;; part += strcspn(part, "/") + 1) {
		size_t length = strcspn(part, "/");
		if (!length || (length == 1 && part[0] == '.') || (length == 2 && !strncmp(part, "..", 2)))
			return -EINVAL;
		if (!part[length])
			return 0;
	}
}

#define WORD_BITS (8 * sizeof(unsigned long))

/* The number at *at, blanks around it skipped. */
static long list_number(const char **at, size_t limit)
{
	size_t n = 0;

	*at += strspn(*at, " ");
	if (!isdigit((unsigned char)**at))
		return -EINVAL;
	for (; isdigit((unsigned char)**at); ++*at)
		if ((n = n * 10 + (size_t)(**at - '0')) >= limit)
			return -ERANGE;
	*at += strspn(*at, " ");
	return (long)n;
}

int spec_number_list(const char *text, unsigned long *bits, size_t words)
{
	memset(bits, 0, words * sizeof *bits);
	for (text += strspn(text, " "); *text;) {
		long first = list_number(&text, words * WORD_BITS), last = first;
		if (first >= 0 && *text == '-') {
			text++;
			last = list_number(&text, words * WORD_BITS);
		}
		if (first < 0 || last < first)
			return first < 0 ? (int)first : last < 0 ? (int)last : -EINVAL;
		for (long i = first; i <= last; i++)
			bits[(size_t)i / WORD_BITS] |= 1ul << (size_t)i % WORD_BITS;
		if (*text == ',' && text[1])
			text++;
		else if (*text)
			return -EINVAL;
	}
	return 0;
}
