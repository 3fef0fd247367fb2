/* SPDX-License-Identifier: Apache-2.0 */
/* The text of /proc/PID/smaps. Each mapping is a line as in maps ("start-end rwxp offset major:minor inode   path") followed by lines
 * "Key: value". Of these VmFlags matters: two-letter names of the kernel's vm_flags, of which those that are not in the table below
 * (readable, accountable, dirty tracking) say nothing that has to be saved; and Shared_Clean and Shared_Dirty, the pages that are
 * mapped more than once.
 *
 * In the path the kernel writes a newline as \012 and leaves a backslash alone, so that a path with a backslash is ambiguous here;
 * who needs the exact path reads the link in map_files. */
#include "mem/smaps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const struct {
	char name[3];
	uint32_t flag;
	int advice;   /* a MADV_ value, 0: none */
} vm_flags[] = {
	{ "mw", SMAPS_MAYWRITE, 0 },
	{ "gd", SMAPS_GROWSDOWN, 0 },
	{ "lo", SMAPS_LOCKED, 0 },
	{ "nr", SMAPS_NORESERVE, 0 },
	{ "ht", SMAPS_HUGETLB, 0 },
	{ "um", SMAPS_UFFD, 0 },
	{ "uw", SMAPS_UFFD, 0 },
	{ "ui", SMAPS_UFFD, 0 },
	{ "ss", SMAPS_SHADOW_STACK, 0 },
	{ "sl", SMAPS_SEALED, 0 },
	{ "io", SMAPS_DEVICE, 0 },
	{ "pf", SMAPS_DEVICE, 0 },
	{ "rr", 0, MADV_RANDOM },
	{ "sr", 0, MADV_SEQUENTIAL },
	{ "dc", 0, MADV_DONTFORK },
	{ "mg", 0, MADV_MERGEABLE },
	{ "hg", 0, MADV_HUGEPAGE },
	{ "nh", 0, MADV_NOHUGEPAGE },
	{ "dd", 0, MADV_DONTDUMP },
	{ "wf", 0, MADV_WIPEONFORK },
};

static void flags_parse(const char *text, struct smaps_vma *v)
{
	for (; text[0] && text[1]; text += text[2] == ' ' ? 3 : 2)
		for (size_t i = 0; i < sizeof vm_flags / sizeof *vm_flags; i++)
			if (vm_flags[i].name[0] == text[0] && vm_flags[i].name[1] == text[1]) {
				v->flags |= vm_flags[i].flag;
				v->madv |= vm_flags[i].advice ? 1ull << vm_flags[i].advice : 0;
			}
}

static void detail_parse(const char *line, struct smaps_vma *v)
{
	if (str_starts(line, "VmFlags: "))
		flags_parse(line + strlen("VmFlags: "), v);
	else if (str_starts(line, "Shared_Clean:") || str_starts(line, "Shared_Dirty:"))
		v->mapped_elsewhere |= strtoull(line + strlen("Shared_Clean:"), NULL, 10) != 0;
}

/* A number in the given base followed by `after`; moves *p behind it. */
static bool number(char **p, int base, char after, uint64_t *value)
{
	char *end;

	*value = strtoull(*p, &end, base);
	if (end == *p || *end != after)
		return false;
	*p = end + 1;
	return true;
}

static bool header_parse(char *p, struct smaps_vma *v)
{
	uint64_t major, minor;

	if (!number(&p, 16, '-', &v->start) || !number(&p, 16, ' ', &v->end) || strlen(p) < 5)
		return false;
	v->prot = (p[0] == 'r' ? PROT_READ : 0) | (p[1] == 'w' ? PROT_WRITE : 0) | (p[2] == 'x' ? PROT_EXEC : 0);
	v->shared = p[3] == 's';
	p += 5;
	if (!number(&p, 16, ' ', &v->pgoff) || !number(&p, 16, ':', &major) || !number(&p, 16, ' ', &minor))
		return false;
	v->major = (uint32_t)major;
	v->minor = (uint32_t)minor;
	char *end;
	v->inode = strtoull(p, &end, 10);
	if (end == p)
		return false;
	v->name = end + strspn(end, " ");
	return v->start < v->end;
}

int smaps_parse(char *text, struct smaps *out)
{
	struct smaps_vma *v = NULL;

	for (char *line = text, *next; *line; line = next) {
		next = strchr(line, '\n');
		if (!next)
			return -EINVAL;
		*next++ = 0;
		if (*line >= 'A' && *line <= 'Z') {
			if (v)
				detail_parse(line, v);
			continue;
		}
		v = &array_push(&out->vmas);
		if (!header_parse(line, v))
			return -EINVAL;
	}
	return 0;
}
