/* SPDX-License-Identifier: Apache-2.0 */
/* Names of signals as `kill` takes them: numbers (0 only asks whether the process is there), names with or without SIG, in any case, RTMIN+n
 * and RTMAX-n. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "cmd/cmd.h"

/* "RTMIN", "RTMIN+3", "RTMAX-1"; 0 for others. */
static int real_time(const char *name)
{
	bool max = !strncasecmp(name, "RTMAX", 5);
	uint64_t offset = 0;

	if (!max && strncasecmp(name, "RTMIN", 5) != 0)
		return 0;
	name += 5;
	if (*name && (*name != (max ? '-' : '+') || parse_u64(name + 1, 10, &offset) < 0))
		return 0;
	if (offset > (uint64_t)(SIGRTMAX - SIGRTMIN))
		return 0;
	return max ? SIGRTMAX - (int)offset : SIGRTMIN + (int)offset;
}

int shim_signal(const char *text)
{
	uint64_t number;

	if (parse_u64(text, 10, &number) == 0)
		return number < NSIG ? (int)number : -EINVAL;
	if (!strncasecmp(text, "SIG", 3))
		text += 3;
	for (int i = 1; i < NSIG; i++) {
		const char *name = sigabbrev_np(i);
		if (name && !strcasecmp(name, text))
			return i;
	}
	int r = real_time(text);
	return r ? r : -EINVAL;
}
