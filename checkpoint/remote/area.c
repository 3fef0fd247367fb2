/* SPDX-License-Identifier: Apache-2.0 */
/* The area in a task's address space: the loop's r-x page, then a slot of 128 KiB (only touched pages cost memory) per thread:
 * scratch for callers, a page for this folder, the records of a batch, and on top the thread's signal frame. The stack pointer
 * stands at the frame during a batch, so that the parts below are the stack of a handler that might run if the engine dies.
 *
 * A live task's area is mapped once, as large as its threads need; a husk's lies at a fixed address and grows.
 * The code page is never writable in the task: it is written through /proc/PID/mem.
 *
 * An engine that is killed leaves the area behind, at any stage of its making. The next one must know it for what it is: by the loop in
 * its first page, or, before that is written, by its address, one of a few (WINDOW…) where no program maps anything by itself. They
 * are also what keeps areas from merging with their neighbours. Where all windows are taken, the kernel chooses a place. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "remote/internal.h"

#define GROW_SLOTS 8u
#define WINDOW_FIRST 0x6e7400000000ull
#define WINDOW_SIZE (1ull << 30)
#define WINDOWS 16u

struct remote_mm *mm_new(int mem)
{
	struct remote_mm *mm = mem_zalloc(sizeof *mm);

	mm->users = 1;
	mm->mem = mem;
	return mm;
}

void mm_release(struct remote_mm **mm)
{
	struct remote_mm *m = *mm;

	*mm = NULL;
	if (!m || --m->users)
		return;
	fd_close(&m->mem);
	free(m);
}

static uint64_t slot_address(const struct remote_mm *mm, size_t i)
{
	return mm->area + PAGE + i * SLOT_SIZE;
}

/* One call at an instruction, which must not fail. */
static int must_call(struct remote *r, const struct user_regs_struct *base, uint64_t nr, const uint64_t arg[6], uint64_t *result)
{
	struct user_regs_struct regs = *base;
	int64_t got;

	arch_set_call(&regs, arch_ip(base), arch_sp(base), nr, arg);
	int e = remote_run_call(r, &regs, &got);
	if (e < 0)
		return e;
	if (got < 0 && got >= -4095)
		return fail((int)-got, "map the batch pages into task %d", r->tid);
	*result = (uint64_t)got;
	return 0;
}

/* In one piece: a page that has the loop has the size as well. */
static int write_loop(struct remote *r, uint64_t size)
{
	uint8_t page[AREA_SIZE_AT + sizeof size] = { 0 };

	memcpy(page, arch_loop().code, arch_loop().size);
	memcpy(page + AREA_SIZE_AT, &size, sizeof size);
	return remote_write(r, r->mm->area, page, sizeof page);
}

static bool is_window(uint64_t address)
{
	return address >= WINDOW_FIRST && address < WINDOW_FIRST + WINDOWS * WINDOW_SIZE && address % WINDOW_SIZE == 0;
}

/* The first window with nothing in it; 0: there is none. */
static uint64_t free_window(const char *maps, uint64_t size)
{
	bool taken[WINDOWS] = { false };
	struct map_line m;

	while (map_next(&maps, &m))
		for (unsigned i = 0; i < WINDOWS; i++) {
			uint64_t start = WINDOW_FIRST + i * WINDOW_SIZE;
			taken[i] = taken[i] || (m.start < start + WINDOW_SIZE && m.end > start);
		}
	for (unsigned i = 0; i < WINDOWS; i++)
		if (!taken[i] && size <= WINDOW_SIZE)
			return WINDOW_FIRST + i * WINDOW_SIZE;
	return 0;
}

static uint64_t size_of(size_t slots)
{
	return 2 * PAGE + slots * SLOT_SIZE;
}

static void set_call(struct user_regs_struct *call, uint64_t nr, const uint64_t arg[6])
{
	arch_set_call(call, arch_ip(call), arch_sp(call), nr, arg);
}

/* Maps all of it r-x, then makes the slots rw-: the last page stays r-x, a wall to the task's own memory. `anywhere`: there was no place at a
 * window (an address limit by personality). */
void area_to_map(struct remote *r, struct user_regs_struct *call, const char *maps, size_t slots, bool anywhere)
{
	uint64_t size = size_of(slots), at = anywhere ? 0 : free_window(maps, size);
	uint64_t flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (at ? MAP_FIXED_NOREPLACE : 0);

	r->mm->slots = slots;
	set_call(call, SYS_mmap, (uint64_t[6]){ at, size, PROT_READ | PROT_EXEC, flags, UINT64_MAX, 0 });
}

static bool call_failed(int64_t result)
{
	return result < 0 && result >= -4095;
}

int area_to_protect(struct remote *r, struct user_regs_struct *call, int64_t mapped)
{
	uint64_t size = size_of(r->mm->slots);

	if (call_failed(mapped))
		return fail((int)-mapped, "map the batch pages into task %d", r->tid);
	r->mm->area = (uint64_t)mapped;
	r->mm->area_size = size;
	set_call(call, SYS_mprotect, (uint64_t[6]){ slot_address(r->mm, 0), r->mm->slots * SLOT_SIZE, PROT_READ | PROT_WRITE });
	return write_loop(r, size);
}

int area_mapped(struct remote *r, int64_t protect)
{
	return call_failed(protect) ? fail((int)-protect, "make the batch pages of task %d writable", r->tid) : 0;
}

static int map_slots(struct remote *r, const struct user_regs_struct *call, size_t more)
{
	struct remote_mm *mm = r->mm;
	uint64_t at = slot_address(mm, mm->slots), got;
	int e = must_call(r, call, SYS_mmap,
			  (uint64_t[6]){ at, more * SLOT_SIZE, PROT_READ | PROT_WRITE,
					 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, UINT64_MAX, 0 },
			  &got);

	if (e < 0)
		return e;
	mm->slots += more;
	mm->area_size = PAGE + mm->slots * SLOT_SIZE;
	return 0;
}

int area_map_at(struct remote *r, uint64_t instruction, uint64_t base, size_t slots)
{
	struct user_regs_struct call = r->found;
	uint64_t got;

	arch_set_call(&call, instruction, arch_sp(&call), 0, (uint64_t[6]){ 0 });
	int e = must_call(r, &call, SYS_mmap,
			  (uint64_t[6]){ base, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, UINT64_MAX, 0 }, &got);
	if (e < 0)
		return e;
	r->mm->area = base;
	r->mm->area_size = PAGE;
	r->mm->limit = REMOTE_AREA_SIZE;
	e = map_slots(r, &call, slots);
	return e < 0 ? e : write_loop(r, r->mm->area_size);
}

/* The new thread itself maps more slots, at the loop's instruction. */
static int grow(struct remote *r)
{
	struct remote_mm *mm = r->mm;
	struct user_regs_struct call = r->found;
	size_t more = mm->slots < GROW_SLOTS ? GROW_SLOTS : mm->slots;
	size_t room = mm->limit ? (mm->limit - PAGE) / SLOT_SIZE - mm->slots : 0;

	if (!room)
		return fail_text(ENOSPC, "no room for the batches of thread %d: %zu threads have theirs", r->tid, mm->used);
	arch_set_call(&call, mm->area + arch_loop().syscall, arch_sp(&call), 0, (uint64_t[6]){ 0 });
	return map_slots(r, &call, more < room ? more : room);
}

int area_take_slot(struct remote *r, struct remote_mm *mm)
{
	if (mm->used == mm->slots) {
		int e = grow(r);
		if (e < 0)
			return e;
	}
	r->slot = slot_address(mm, mm->used++);
	return 0;
}

int area_write_frame(struct remote *r, bool has_pending)
{
	size_t size = arch_frame_size(r->xstate_size);
	uint64_t at = r->slot + SLOT_FRAME;
	struct user_regs_struct regs = r->found;

	if (size > SLOT_SIZE - SLOT_FRAME)
		return fail_text(EOVERFLOW, "task %d has %zu bytes of registers: more than there is room for", r->tid, r->xstate_size);
	autofree void *frame = mem_zalloc(size);
	arch_restart_image(&regs, has_pending, r->tid);
	arch_frame_build(frame, at, &regs, r->mask, r->xstate, r->xstate_size);
	return remote_write(r, at, frame, size);
}

static bool all_idle(int mem, uint64_t area, uint64_t size)
{
	for (uint64_t at = area + PAGE; at < area + size - PAGE; at += SLOT_SIZE) {
		uint64_t busy = 1;
		if (fd_pread_all(mem, &busy, sizeof busy, at + SLOT_FRAME + arch_frame_busy()) < 0 || busy)
			return false;
	}
	return true;
}

static bool is_blank(const uint8_t *page)
{
	return !page[0] && !memcmp(page, page + 1, PAGE - 1);
}

/* What a killed engine left that begins in this mapping (others may have merged with it): the area's address and size, false if there is
 * nothing. Only what no thread of the task has still to go through is found: threads that stand in the loop were sent on when they were
 * seized, and a slot is marked as long as its thread may come back to it in another way. */
bool area_leftover(struct remote *r, const struct map_line *m, uint64_t *area, uint64_t *size)
{
	uint8_t page[PAGE];
	int mem = remote_mem_fd(r);
	uint64_t end = m->start + 2 * PAGE < m->end ? m->start + 2 * PAGE : m->end;

	if (m->inode || m->name_length || strncmp(m->perms, "r-xp", 4))
		return false;
	for (*area = m->start; *area < end; *area += PAGE) {
		if (fd_pread_all(mem, page, sizeof page, *area) < 0)
			return false;
		if (*area == m->start && is_window(*area) && is_blank(page)) {
			*size = m->end - m->start;
			return true;
		}
		if (memcmp(page, arch_loop().code, arch_loop().size))
			continue;
		memcpy(size, page + AREA_SIZE_AT, sizeof *size);
		if (*size >= 2 * PAGE + SLOT_SIZE && (*size - 2 * PAGE) % SLOT_SIZE == 0 && *size < 1ull << 40)
			return all_idle(mem, *area, *size);
	}
	return false;
}
