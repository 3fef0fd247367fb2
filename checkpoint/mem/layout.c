/* SPDX-License-Identifier: Apache-2.0 */
/* The address space of a husk, in four steps:
 *
 *   plan     which mappings of its parent it keeps (inherit.c), which files and segments it needs (objects.c)
 *   map      one batch: the rest unmapped, addresses and executable (PR_SET_MM_MAP), the vdso, new mappings, a userfaultfd
 *   fill     page content, from outside (fill.c)
 *   finish   one batch: advice, guard regions, locks; descriptors closed
 *
 * Invariants:
 * 1. Nothing is mapped over anything (MAP_FIXED_NOREPLACE): the batch pages, above all.
 * 2. The executable is set before its mappings are made: the kernel refuses to replace one that is still mapped. A husk's former one,
 *    the engine's own or its parent's, has gone by then.
 * 3. The vdso comes before other mappings: its address is a hint, which the kernel follows if it is free and no stack is close.
 * 4. Transparent huge pages are off while pages are filled, or one page of content would make 512.
 * 5. Advice comes last: MADV_DONTFORK and the like must not be in the way of the filling, and MAP_LOCKED would fill the memory with
 *    zeroes before we do.
 * 6. A userfaultfd is refused to a task in a user namespace; one made through a descriptor of /dev/userfaultfd is not. */
#define LOG_PREFIX "mem"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/prctl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "files/builder.h"
#include "mem/layout.h"
#include "mem/lazy.h"
#include "mem/mem.h"

#define ARCH_MAP_VDSO 0x2003
#define GUARD_INSTALL 102               /* MADV_GUARD_INSTALL, Linux 6.13 */
#define DEV_UFFD_NEW _IO(0xAA, 0x00)    /* USERFAULTFD_IOC_NEW, Linux 6.1 */
#define UFFD_FROM (1u << 20)            /* bytes of new memory that are worth a userfaultfd */

/* --- map --- */

static void unmap(struct layout *l, uint64_t start, uint64_t end)
{
	uint64_t area = remote_area(l->husk), area_end = area + REMOTE_AREA_SIZE;

	if (start < area_end && end > area) {
		if (start < area)
			unmap(l, start, area);
		start = area_end;
	}
	if (start < end)
		step_add(&l->map, "unmap", start, end, CALL(SYS_munmap, start, end - start));
}

/* What lies between the mappings that are kept. */
static void add_unmaps(struct layout *l)
{
	uint64_t at = 0;

	if (!l->parent)
		return;
	for (size_t i = 0; i < l->t->mm->n_vmas; i++)
		if (l->kept[i]) {
			unmap(l, at, l->t->mm->vmas[i]->start);
			at = l->t->mm->vmas[i]->end;
		}
	unmap(l, at, TASK_END);
}

static int add_numbers(struct layout *l)
{
	const MmEntry *m = l->t->mm;
	struct {
		struct prctl_mm_map map;
		uint64_t auxv[66];
	} block = { 0 };
	size_t auxv_size = (m->n_mm_saved_auxv + 2) * sizeof(uint64_t);   /* with its end mark */

	block.map = (struct prctl_mm_map){
		.start_code = m->mm_start_code, .end_code = m->mm_end_code, .start_data = m->mm_start_data, .end_data = m->mm_end_data,
		.start_brk = m->mm_start_brk, .brk = m->mm_brk, .start_stack = m->mm_start_stack, .arg_start = m->mm_arg_start,
		.arg_end = m->mm_arg_end, .env_start = m->mm_env_start, .env_end = m->mm_env_end,
		.auxv = (void *)(uintptr_t)(remote_scratch(l->husk) + sizeof block.map), .auxv_size = (uint32_t)auxv_size,
		.exe_fd = l->set_exe ? (uint32_t)l->objects.data[0].number : UINT32_MAX,
	};
	memcpy(block.auxv, m->mm_saved_auxv, m->n_mm_saved_auxv * sizeof(uint64_t));
	int e = remote_scratch_write(l->husk, 0, &block, sizeof block.map + auxv_size);
	step_add(&l->map, "set its addresses and executable (PR_SET_MM_MAP)", 0, 0,
		 CALL(SYS_prctl, PR_SET_MM, PR_SET_MM_MAP, remote_scratch(l->husk), sizeof block.map, 0));
	return e;
}

/* The second call fails if the kernel took another address. */
static void add_vdso(struct layout *l)
{
	uint64_t start, end;

	if (!vdso_range(l->t->mm, &start, &end))
		return;
	for (size_t i = 0; i < l->t->mm->n_vmas; i++)
		if (l->kept[i] && (l->t->mm->vmas[i]->status & VMA_VDSO))
			return;
	step_add(&l->map, "map the vdso at", start, end, CALL(SYS_arch_prctl, ARCH_MAP_VDSO, start));
	step_add(&l->map, "map the vdso at", start, end, CALL(SYS_msync, start, end - start, MS_ASYNC));
}

static const char *path_of(const struct layout *l, const struct object *o)
{
	const FileEntry *e = tree_file(l->r->tree, (uint32_t)o->id);

	return e && e->reg ? e->reg->name : NULL;
}

/* The whole segment, as sysv_check() knows; then the protection that it has by now. */
static void add_attach(struct layout *l, const VmaEntry *v)
{
	bool writable = (v->prot & PROT_WRITE) || (v->has_fdflags && (v->fdflags & O_ACCMODE) == O_RDWR);
	uint32_t given = PROT_READ | (writable ? PROT_WRITE : 0) | (v->prot & PROT_EXEC);

	step_add(&l->map, "attach System V memory at", v->start, v->end,
		 CALL(SYS_shmat, v->shmid, v->start, (writable ? 0 : SHM_RDONLY) | (v->prot & PROT_EXEC ? SHM_EXEC : 0)));
	if (given != v->prot)
		step_add(&l->map, "protect", v->start, v->end, CALL(SYS_mprotect, v->start, v->end - v->start, v->prot));
}

static void add_mappings(struct layout *l)
{
	const uint32_t keep = MAP_SHARED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_NORESERVE | HUGE_FLAGS;

	for (size_t i = 0; i < l->t->mm->n_vmas; i++) {
		const VmaEntry *v = l->t->mm->vmas[i];
		if (!is_new_mapping(l, i))
			continue;
		if (v->status & VMA_SYSVIPC) {
			add_attach(l, v);
			continue;
		}
		const struct object *o = v->status & VMA_ANON_PRIVATE ? NULL : layout_object(l, v);
		uint64_t flags = (v->flags & keep & (o ? ~(uint32_t)(MAP_ANONYMOUS | HUGE_FLAGS) : ~0u)) | MAP_FIXED_NOREPLACE;
		uint64_t prot = v->prot | (is_huge(v) ? PROT_READ | PROT_WRITE : 0);
		step_add(&l->map, "map", v->start, v->end,
			 CALL(SYS_mmap, v->start, v->end - v->start, prot, flags, o ? (uint64_t)o->number : ~0ull, o ? v->pgoff : 0))
			->object = flags_are_huge(v->flags) ? "huge pages" : o && !o->segment ? path_of(l, o) : NULL;
	}
}

/* A second, whole mapping of each segment that nobody has filled yet. */
static void add_segments(struct layout *l)
{
	for (size_t i = 0; i < l->objects.n; i++) {
		struct segment *s = l->objects.data[i].segment ? segment_find(l->r, l->objects.data[i].id) : NULL;
		if (!s || s->filled || !s->pages.size)
			continue;
		step_add(&l->map, "map a shared memory segment to fill it", 0, 0,
			 CALL(SYS_mmap, 0, s->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, (uint64_t)l->objects.data[i].number, 0));
		array_push(&l->fills) = (struct segment_step){ s, l->map.list.n - 1 };
	}
}

static void add_closes(struct layout *l)
{
	for (size_t i = 0; i < l->objects.n; i++)
		step_add(&l->map, "close a file", 0, 0, CALL(SYS_close, (uint64_t)l->objects.data[i].number));
}

static int map_all(struct layout *l)
{
	add_unmaps(l);
	step_add(&l->map, "turn huge pages off", 0, 0, CALL(SYS_prctl, PR_SET_THP_DISABLE, 1));
	int e = add_numbers(l);
	add_vdso(l);
	add_mappings(l);
	add_segments(l);
	add_closes(l);
	if (l->fill.uffd_size >= UFFD_FROM || l->r->o->lazy_pages) {
		step_add(&l->map, "make a userfaultfd", 0, 0, CALL(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK))->may_fail = true;
		l->uffd_step = l->map.list.n;
	}
	return e < 0 ? e : steps_run(&l->map, l->husk, l->who);
}

/* --- userfaultfd --- */

static int uffd_by_device(struct layout *l)
{
	int number;
	autoclose int dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);

	if (dev < 0)
		return -errno;
	int e = remote_open_channel(l->husk);
	if (e >= 0)
		e = remote_send_fds(l->husk, &dev, 1, &number);
	if (e < 0)
		return e;
	struct call calls[] = { CALL(SYS_ioctl, (uint64_t)number, DEV_UFFD_NEW, O_CLOEXEC | O_NONBLOCK), CALL(SYS_close, (uint64_t)number) };
	e = remote_batch(l->husk, calls, 2);
	return e < 0 ? e : (int)calls[0].ret;
}

static int uffd_register(struct layout *l, int fd)
{
	struct uffdio_api api = { .api = UFFD_API };

	if (ioctl(fd, UFFDIO_API, &api) < 0)
		return -errno;
	for (size_t i = 0; i < l->t->mm->n_vmas; i++) {
		const VmaEntry *v = l->t->mm->vmas[i];
		struct uffdio_register reg = { .range = { v->start, v->end - v->start }, .mode = UFFDIO_REGISTER_MODE_MISSING };
		if (is_new_mapping(l, i) && (v->status & VMA_ANON_PRIVATE) && !is_huge(v) && ioctl(fd, UFFDIO_REGISTER, &reg) < 0)
			return -errno;
	}
	return 0;
}

/* Without one, memory is filled in the slower ways. */
static void uffd_open(struct layout *l)
{
	if (!l->uffd_step)
		return;
	size_t mark = err_mark();
	int64_t number = l->map.list.data[l->uffd_step - 1].call.ret;
	if (number < 0)
		number = uffd_by_device(l);
	int e = (int)number;
	if (number >= 0) {
		l->uffd_number = (int)number;
		l->fill.uffd = remote_get_fd(l->husk, (int)number);
		if (l->r->o->lazy_pages) {
			l->own->uffd = l->fill.uffd;
			l->fill.uffd = -1;
			return;
		}
		e = l->fill.uffd < 0 ? l->fill.uffd : uffd_register(l, l->fill.uffd);
	}
	if (e < 0) {
		log_debug("%s: no userfaultfd (%s): memory is written by process_vm_writev", l->who, strerror(-e));
		fd_close(&l->fill.uffd);
		l->fill.uffd = -1;
		err_rewind(mark);
	}
}

/* --- fill --- */

static void plan_fill(struct layout *l)
{
	for (size_t i = 0; i < l->t->mm->n_vmas; i++) {
		const VmaEntry *v = l->t->mm->vmas[i];
		if (!vma_is_private(v) || vma_is_guard(v) || (v->status & VMA_VDSO))
			continue;
		bool writable = v->prot & PROT_WRITE || is_huge(v);
		struct fill_where w = { v->start, v->end, writable, !l->kept[i] && (v->status & VMA_ANON_PRIVATE) && !is_huge(v) };
		if (l->r->o->lazy_pages && vma_is_lazy(v))
			lazy_add_early(l->t, &l->fill, &w);
		else if (l->kept[i])
			fill_add_inherited(&l->fill, &w);
		else
			fill_add(&l->fill, &w, 0);
	}
}

static int fill_segments(struct layout *l)
{
	int e = 0;

	for (size_t i = 0; e == 0 && i < l->fills.n; i++) {
		const struct segment_step *f = &l->fills.data[i];
		uint64_t at = (uint64_t)l->map.list.data[f->step].call.ret;
		e = segment_fill(l->r, f->segment, l->husk, at);
		step_add(&l->finish, "unmap a shared memory segment", 0, 0, CALL(SYS_munmap, at, f->segment->size));
	}
	return e;
}

static int populate_huge(struct layout *l)
{
	int e = 0;

	for (size_t i = 0; e == 0 && i < l->t->mm->n_vmas; i++) {
		const VmaEntry *v = l->t->mm->vmas[i];
		if (is_new_mapping(l, i) && is_huge(v))
			e = huge_populate(l->husk, l->who, &l->own->pages, v->start, v->end, 0);
	}
	return e;
}

static int fill_all(struct layout *l)
{
	struct restore_stats *st = &l->r->stats;
	int e = pages_open(&l->own->pages);

	if (e == 0 && l->parent)
		e = pages_open(&l->parent->pages);
	if (e == 0)
		e = populate_huge(l);
	if (e == 0)
		e = fill_run(&l->fill, &memory(l->r)->pool);
	pages_close(&l->own->pages);
	if (l->parent)
		pages_close(&l->parent->pages);
	st->pages_restored += l->fill.restored;
	st->pages_compared += l->fill.compared;
	st->pages_skipped_cow += l->fill.skipped;
	return e < 0 ? e : fill_segments(l);
}

/* --- finish --- */

static void add_advice(struct layout *l, const VmaEntry *v)
{
	uint64_t size = v->end - v->start;

	if (is_huge(v) && !(v->prot & PROT_WRITE))
		step_add(&l->finish, "protect", v->start, v->end, CALL(SYS_mprotect, v->start, size, v->prot));
	for (unsigned bit = 0; bit < 64; bit++)
		if (v->madv >> bit & 1)
			step_add(&l->finish, "advise the kernel on", v->start, v->end, CALL(SYS_madvise, v->start, size, bit));
	/* Where there is no access the pages cannot be brought in, which is all that fails. */
	if (v->flags & MAP_LOCKED)
		step_add(&l->finish, "lock", v->start, v->end, CALL(SYS_mlock, v->start, size))->may_fail = !v->prot;
}

static int finish_all(struct layout *l)
{
	const MmEntry *m = l->t->mm;

	for (size_t i = 0; i < l->fill.drop.n; i++) {
		const struct image_run *d = &l->fill.drop.data[i];
		step_add(&l->finish, "drop", d->start, d->end, CALL(SYS_madvise, d->start, d->end - d->start, MADV_DONTNEED));
	}
	for (size_t i = 0; i < m->n_vmas; i++) {
		const VmaEntry *v = m->vmas[i];
		if (vma_is_guard(v))
			step_add(&l->finish, "guard", v->start, v->end, CALL(SYS_madvise, v->start, v->end - v->start, GUARD_INSTALL));
		else if (!(v->status & (VMA_VDSO | VMA_VVAR | VMA_VSYSCALL)))
			add_advice(l, v);
	}
	if (!(m->has_thp_disabled && m->thp_disabled))
		step_add(&l->finish, "turn huge pages on", 0, 0, CALL(SYS_prctl, PR_SET_THP_DISABLE, 0));
	if (l->uffd_number >= 0)
		step_add(&l->finish, "close the userfaultfd", 0, 0, CALL(SYS_close, (uint64_t)l->uffd_number));
	return steps_run(&l->finish, l->husk, l->who);
}

static int restore_all(struct layout *l)
{
	layout_plan_objects(l);
	plan_fill(l);
	int e = layout_receive_objects(l);
	if (e == 0)
		e = map_all(l);
	if (e < 0)
		return e;
	uffd_open(l);
	if (l->r->o->lazy_pages && l->own->uffd < 0)
		return fail_text(EPERM, "%s: its kernel gives it no userfaultfd, without which there is no lazy restore", l->who);
	e = fill_all(l);
	if (l->fill.uffd >= 0)
		fd_close(&l->fill.uffd);
	return e < 0 ? e : finish_all(l);
}

static void layout_done(struct layout *l)
{
	free(l->kept);
	array_free(&l->objects);
	array_free(&l->fills);
	array_free(&l->map.list);
	array_free(&l->finish.list);
	fill_done(&l->fill);
}

int mm_restore(struct restore *r, struct task *t, struct remote *husk)
{
	struct task_memory *own = task_memory(r, t), *parent = NULL;

	if (!own)
		return fail_text(EINVAL, "task %d: its memory images were not checked", t->pid);
	if (t->parent && restore_task(t)->inherits)
		parent = task_memory(r, t->parent);
	if (t->parent && restore_task(t)->inherits && !(parent && parent->filled))
		return fail_text(EINVAL, "task %d: its parent has no memory yet", t->pid);
	struct layout l = { .r = r, .t = t, .husk = husk, .own = own, .parent = parent, .uffd_number = -1 };
	snprintf(l.who, sizeof l.who, "task %d", t->pid);
	l.fill = (struct fill){
		.own = &own->pages, .parent = parent ? &parent->pages : NULL, .uffd = -1, .pid = remote_tid(husk),
		.mem_fd = remote_mem_fd(husk), .who = l.who,
	};
	l.kept = parent ? inherit_plan(t->mm, parent->task->mm) : mem_zalloc(t->mm->n_vmas + 1);
	own->pages.consume = consume_at_once(r, t);
	int e = restore_all(&l);
	own->filled = e == 0;
	if (e == 0)
		e = consume_after(r, t);
	log_debug("%s: %" PRIu64 " pages restored, %" PRIu64 " shared with its parent", l.who, l.fill.restored, l.fill.skipped);
	layout_done(&l);
	return e;
}
