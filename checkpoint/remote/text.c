/* SPDX-License-Identifier: Apache-2.0 */
/* Finding instructions that a task already has: the first calls are made at them, before there is a loop.
 *
 * Every executable mapping is searched until there is enough, C libraries first: they have a system call that returns, and the restorer of
 * signal handlers, within their first pages. What a mapping of a file holds is remembered by (device, inode, offset), so that a
 * tree of a hundred tasks is not searched a hundred times. The memory of it belongs to the tracing thread and is only a hint: the bytes
 * are looked at before they are used.
 *
 * A task without any system call instruction (no vdso, a program that makes no calls) gets one written over its text for the
 * moment: /proc/PID/mem writes through protections, into a private copy of the page. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/proc.h"
#define LOG_PREFIX "remote"
#include "base/log.h"
#include "remote/internal.h"

#define PIECE (64u << 10)
#define REMEMBERED 64u
#define SEARCH_MAX (256ull << 20)

/* One number and the character behind it. (Not sscanf: it looks for the end of the whole text, for each line.) */
static bool number(const char **at, int base, char behind, uint64_t *value)
{
	char *end;

	*value = strtoull(*at, &end, base);
	if (end == *at || *end != behind)
		return false;
	*at = end + 1;
	return true;
}

bool map_next(const char **text, struct map_line *m)
{
	const char *at = *text;
	uint64_t major, minor;

	if (!*at || !number(&at, 16, '-', &m->start) || !number(&at, 16, ' ', &m->end) || strnlen(at, 5) < 5)
		return false;
	memcpy(m->perms, at, 4);
	m->perms[4] = 0;
	at += 5;
	if (!number(&at, 16, ' ', &m->offset) || !number(&at, 16, ':', &major) || !number(&at, 16, ' ', &minor))
		return false;
	char *end;
	m->inode = strtoull(at, &end, 10);
	m->major = (unsigned)major;
	m->minor = (unsigned)minor;
	m->name = end + strspn(end, " ");
	m->name_length = strcspn(m->name, "\n");
	*text = m->name + m->name_length;
	*text += **text == '\n';
	return true;
}

bool map_is(const struct map_line *m, const char *name)
{
	return m->name_length == strlen(name) && !memcmp(m->name, name, m->name_length);
}

struct remembered {
	uint64_t inode, offset, size;
	unsigned major, minor;
	struct arch_code code;
};
/* The one mutable variable of this folder: a hint for this thread, see above. */
static _Thread_local struct {
	struct remembered entry[REMEMBERED];
	unsigned n, next;
} memory;

static bool can_remember(const struct map_line *m)
{
	return m->inode || map_is(m, "[vdso]");
}

static struct remembered *recall(const struct map_line *m)
{
	for (unsigned i = 0; can_remember(m) && i < memory.n; i++) {
		struct remembered *e = &memory.entry[i];
		if (e->inode == m->inode && e->offset == m->offset && e->size == m->end - m->start && e->major == m->major && e->minor == m->minor)
			return e;
	}
	return NULL;
}

static void remember(const struct map_line *m, const struct arch_code *code)
{
	if (!can_remember(m))
		return;
	struct remembered *e = recall(m);
	if (!e) {
		e = &memory.entry[memory.next];
		memory.next = (memory.next + 1) % REMEMBERED;
		memory.n += memory.n < REMEMBERED;
	}
	*e = (struct remembered){ m->inode, m->offset, m->end - m->start, m->major, m->minor, *code };
}

/* Searches a mapping piece by piece, pieces overlapping by the longest code. */
static struct arch_code search(int mem, const struct map_line *m)
{
	struct arch_code code = { .syscall = ARCH_CODE_NONE, .call_return = ARCH_CODE_NONE, .restorer = ARCH_CODE_NONE };
	uint64_t size = m->end - m->start < SEARCH_MAX ? m->end - m->start : SEARCH_MAX;
	autofree uint8_t *piece = mem_alloc(PIECE);

	for (uint64_t at = 0; at < size; at += PIECE - ARCH_CODE_MAX) {
		ssize_t n = pread(mem, piece, size - at < PIECE ? size - at : PIECE, (off_t)(m->start + at));
		if (n <= 0)
			break;
		arch_code_find(&code, piece, (size_t)n, at);
		if (code.call_return != ARCH_CODE_NONE && code.restorer != ARCH_CODE_NONE)
			break;
	}
	return code;
}

static size_t peek(int mem, uint64_t address, uint8_t bytes[ARCH_CODE_MAX])
{
	ssize_t n = pread(mem, bytes, ARCH_CODE_MAX, (off_t)address);

	return n < 0 ? 0 : (size_t)n;
}

/* Takes over what `code` says of a mapping at `start`, if it is still there. True if all of it is. */
static bool take(int mem, uint64_t start, const struct arch_code *code, struct text_code *c)
{
	uint8_t bytes[ARCH_CODE_MAX];
	unsigned popped;
	bool good = true, fits;

	if (!c->syscall && code->syscall != ARCH_CODE_NONE) {
		fits = arch_code_is_syscall(bytes, peek(mem, start + (uint64_t)code->syscall, bytes));
		c->syscall = fits ? start + (uint64_t)code->syscall : 0;
		good = good && fits;
	}
	if (!c->call_return && code->call_return != ARCH_CODE_NONE) {
		fits = arch_code_is_call_return(bytes, peek(mem, start + (uint64_t)code->call_return, bytes), &popped);
		c->call_return = fits ? start + (uint64_t)code->call_return : 0;
		c->popped = fits ? popped : 0;
		good = good && fits;
	}
	if (!c->restorer && code->restorer != ARCH_CODE_NONE) {
		fits = arch_code_is_restorer(bytes, peek(mem, start + (uint64_t)code->restorer, bytes));
		c->restorer = fits ? start + (uint64_t)code->restorer : 0;
		good = good && fits;
	}
	return good;
}

static void look(int mem, const struct map_line *m, struct text_code *c)
{
	struct remembered *known = recall(m);

	if (known && take(mem, m->start, &known->code, c))
		return;
	struct arch_code code = search(mem, m);
	remember(m, &code);
	take(mem, m->start, &code, c);
}

/* The order of the search: what is known already, C libraries, then by size. */
static uint64_t rank(const struct map_line *m)
{
	if (recall(m))
		return 0;
	if (memmem(m->name, m->name_length, "/libc", 5) || memmem(m->name, m->name_length, "/ld-musl", 8))
		return 1;
	return m->end - m->start;
}

static int by_rank(const void *a, const void *b)
{
	uint64_t x = rank(a), y = rank(b);

	return (x > y) - (x < y);
}

/* Executable mappings in the order of the search. */
struct text_list {
	ARRAY(struct map_line) maps;
};

static struct text_list executable(const char *maps)
{
	struct text_list l = { 0 };
	struct map_line m;

	while (map_next(&maps, &m))
		if (m.perms[0] == 'r' && m.perms[2] == 'x' && !map_is(&m, "[vsyscall]"))
			array_push(&l.maps) = m;
	if (l.maps.n)
		qsort(l.maps.data, l.maps.n, sizeof *l.maps.data, by_rank);
	return l;
}

static void find_code(int mem, const char *maps, struct text_code *c)
{
	struct text_list l = executable(maps);

	for (size_t i = 0; i < l.maps.n && !(c->call_return && c->restorer); i++)
		look(mem, &l.maps.data[i], c);
	array_free(&l.maps);
}

int remote_find_code(struct remote *r, const char *maps, struct text_code *c)
{
	int e = remote_need_mem(r);

	*c = (struct text_code){ 0 };
	if (e == 0)
		find_code(remote_mem_fd(r), maps, c);
	return e;
}

void remote_look_ahead(pid_t pid)
{
	autofree char *maps = NULL;
	struct text_code c = { 0 };
	autoclose int mem = proc_open(pid, "mem");

	if (mem >= 0 && proc_read(pid, "maps", &maps) >= 0)
		find_code(mem, maps, &c);
}

static bool poke(struct remote *r, const struct map_line *m, uint64_t *address, uint8_t saved[ARCH_CODE_MAX])
{
	int mem = remote_mem_fd(r);
	ssize_t size = (ssize_t)arch_syscall_code_size;

	*address = m->start;
	return pread(mem, saved, (size_t)size, (off_t)m->start) == size && pwrite(mem, arch_syscall_code, (size_t)size, (off_t)m->start) == size;
}

/* A task that was stopped in a system call, or has just been made by one, stands behind its instruction. */
static bool stands_behind_call(struct remote *r, uint64_t *address)
{
	uint8_t bytes[ARCH_CODE_MAX];

	*address = arch_ip(&r->found) - arch_syscall_code_size;
	return remote_need_mem(r) == 0 && arch_code_is_syscall(bytes, peek(remote_mem_fd(r), *address, bytes));
}

int remote_find_syscall(struct remote *r, uint64_t *address, bool *poked, uint8_t saved[ARCH_CODE_MAX])
{
	autofree char *maps = NULL;
	struct text_code c = { 0 };

	*poked = false;
	if (stands_behind_call(r, address))
		return 0;
	ssize_t got = proc_read(r->tid, "maps", &maps);
	int e = got < 0 ? fail((int)-got, "read the mappings of task %d", r->tid) : remote_need_mem(r);

	if (e < 0)
		return e;
	struct text_list l = executable(maps);
	for (size_t i = 0; i < l.maps.n && !c.syscall; i++)
		if (l.maps.data[i].start != remote_area(r))
			look(remote_mem_fd(r), &l.maps.data[i], &c);
	*address = c.syscall;
	for (size_t i = 0; i < l.maps.n && !c.syscall && !*poked; i++)
		*poked = l.maps.data[i].start != remote_area(r) && poke(r, &l.maps.data[i], address, saved);
	array_free(&l.maps);
	if (!c.syscall && !*poked)
		return fail_text(ENOEXEC, "task %d has no executable memory in which it could make a system call", r->tid);
	log_debug("task %d: system call instruction at %#" PRIx64 "%s", r->tid, *address, *poked ? ", written there" : "");
	return 0;
}

int remote_unpoke(struct remote *r, uint64_t address, const uint8_t *saved)
{
	return remote_write(r, address, saved, arch_syscall_code_size);
}
