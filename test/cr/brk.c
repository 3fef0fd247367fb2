/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The heap of brk: its contents, its end (not at a page's edge), and that it goes on growing and shrinking. Also what
 * /proc/self/stat and cmdline, environ and the auxiliary vector show of the mm: start of code, stack, arguments.
 */
#include "cr.h"

#include <sys/auxv.h>

static void slurp(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, size - 1);

	memset(text + (n > 0 ? n : 0), 0, size - (n > 0 ? n : 0));
	if (fd >= 0)
		close(fd);
}

/* Fields 26-28 (code and stack start) and 45-51 (data, brk, arguments, environment) of stat. */
static void mm_fields(char *out, size_t size)
{
	char text[2048], *save = NULL;
	size_t n = 0;
	int field = 3;

	slurp("/proc/self/stat", text, sizeof(text));
	out[0] = 0;
	for (char *w = strtok_r(strrchr(text, ')') + 2, " \n", &save); w; w = strtok_r(NULL, " \n", &save), field++)
		if ((field >= 26 && field <= 28) || (field >= 45 && field <= 51))
			n += snprintf(out + n, size - n, "%s ", w);
}

static char arguments[2][4096], environment[2][8192], vector[2][1024], fields[2][512];

static void look(int when)
{
	slurp("/proc/self/cmdline", arguments[when], sizeof(arguments[0]));
	slurp("/proc/self/environ", environment[when], sizeof(environment[0]));
	slurp("/proc/self/auxv", vector[when], sizeof(vector[0]));
	mm_fields(fields[when], sizeof(fields[0]));
}

int main(int argc, char **argv)
{
	char exe[2][512] = { "", "" };

	cr_begin(argc, argv);
	char *start = sbrk(0);
	need(sbrk(1000000) != (void *)-1);
	char *end = sbrk(0);
	cr_fill((char *)(((uintptr_t)start + 15) & ~15UL), 900000, 31);
	need(readlink("/proc/self/exe", exe[0], sizeof(exe[0]) - 1) > 0);
	look(0);
	cr_wait();

	look(1);
	expect(sbrk(0) == end, "the break is %p instead of %p", sbrk(0), end);
	cr_check_fill("heap", (char *)(((uintptr_t)start + 15) & ~15UL), 900000, 31);
	expect(sbrk(300000) == end, "the heap does not grow: %s", strerror(errno));
	expect(cr_is_zero(end + 4096, 290000), "new heap is not zero");
	memset(end, 7, 300000);
	expect(sbrk(-300000) != (void *)-1 && sbrk(0) == end, "the heap does not shrink");
	expect(!memcmp(arguments[0], arguments[1], sizeof(arguments[0])), "cmdline is '%s' instead of '%s'", arguments[1],
	       arguments[0]);
	expect(!memcmp(environment[0], environment[1], sizeof(environment[0])), "environ differs");
	expect(!memcmp(vector[0], vector[1], sizeof(vector[0])), "auxv differs");
	expect(!strcmp(fields[0], fields[1]), "mm fields of stat: %s instead of %s", fields[1], fields[0]);
	expect(readlink("/proc/self/exe", exe[1], sizeof(exe[1]) - 1) > 0 && !strcmp(exe[0], exe[1]),
	       "exe is '%s' instead of '%s'", exe[1], exe[0]);
	return cr_end();
}
