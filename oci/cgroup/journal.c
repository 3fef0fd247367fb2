/* SPDX-License-Identifier: Apache-2.0 */
/* What limits were before they were changed, so that a change that fails in its middle can be taken back.
 *
 * The kernel changes one file at a time. The old contents are read before each write and, after an error, written back from the last to the
 * first: every state on the way has been there before, so that nothing that depends on an order (memory.memsw above memory.limit, a quota
 * that its period allows) can be refused for it. Of what a file shows it may not be all that it takes:
 *   - a file with a line per device or interface is written a line at a time; a line that was not there is taken away with the word for
 *     "no limit" that its file knows;
 *   - memory.oom_control shows three lines, and takes the first one's number;
 *   - cpu.idle, switched on and off, leaves the weight at its default: that is noted with it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fd.h"
#include "cgroup/internal.h"

/* Files with lines "KEY …": what is written behind a key that had no line. */
static const struct {
	const char *prefix, *nothing;
} keyed[] = {
	{ "io.max", "rbps=max wbps=max riops=max wiops=max" }, { "io.latency", "target=max" }, { "io.weight", "default" }, { "io.bfq.weight", "default" },
	{ "blkio.throttle.", "0" }, { "blkio.bfq.weight_device", "default" }, { "blkio.weight_device", "0" }, { "blkio.leaf_weight_device", "0" },
	{ "rdma.max", "hca_handle=max hca_object=max" }, { "net_prio.ifpriomap", "0" },
};

static const char *nothing_of(const char *file)
{
	for (size_t i = 0; i < sizeof keyed / sizeof *keyed; i++)
		if (str_starts(file, keyed[i].prefix))
			return keyed[i].nothing;
	return NULL;
}

/* The line that what is about to be written replaces. A weight without a key is that of "default". */
static char *old_line(const char *text, const char *value, const char *nothing)
{
	bool has_key = strchr(value, ' ');
	const char *key = has_key ? value : "default";
	size_t n = strcspn(key, " ");

	for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n')
		if (!strncmp(line, key, n) && line[n] == ' ')
			return str_printf("%.*s", (int)strcspn(line, "\n"), line);
	return has_key ? str_printf("%.*s %s", (int)n, key, nothing) : str_printf("%.*s", (int)strcspn(text, "\n"), text);
}

static char *old_value(const char *file, const char *text, const char *value)
{
	static const char disable[] = "oom_kill_disable ";
	const char *nothing = nothing_of(file);

	if (nothing)
		return old_line(text, value, nothing);
	if (!strcmp(file, "memory.oom_control") && str_starts(text, disable))
		return str_printf("%.1s", text + strlen(disable));
	size_t n = strlen(text);
	return str_printf("%.*s", (int)(n && text[n - 1] == '\n' ? n - 1 : n), text);
}

static void note(struct cgroup_journal *j, const char *dir, const char *file, const char *value)
{
	autofree char *path = str_printf("%s/%s", dir, file), *text = NULL;

	if (file_read(AT_FDCWD, path, &text, 1 << 20) < 0)
		return;   /* write-only, or not there: then the write fails as well */
	array_push(&j->list) = (struct cgroup_old){ .path = take_ptr(&path), .value = old_value(file, text, value) };
}

void cgroup_journal_note(struct cgroup_journal *j, const char *dir, const char *file, const char *value)
{
	if (!j)
		return;
	size_t at = j->list.n;
	note(j, dir, file, value);
	if (strcmp(file, "cpu.idle") != 0 || j->list.n == at || strcmp(j->list.data[at].value, "0") != 0)
		return;
	struct cgroup_old idle = j->list.data[--j->list.n];   /* the weight goes back after it */
	note(j, dir, "cpu.weight", "");
	note(j, dir, "cpu.shares", "");
	array_push(&j->list) = idle;
}

void cgroup_put_back(struct cgroup_journal *j)
{
	for (size_t i = j->list.n; i-- > 0;) {
		const struct cgroup_old *old = &j->list.data[i];
		int r = file_write(AT_FDCWD, old->path, *old->value ? old->value : "\n");
		if (r < 0)
			fail(-r, "put \"%s\" back into %s", old->value, old->path);
	}
}

void cgroup_journal_free(struct cgroup_journal *j)
{
	for (size_t i = 0; i < j->list.n; i++) {
		free(j->list.data[i].path);
		free(j->list.data[i].value);
	}
	array_free(&j->list);
}
