/* SPDX-License-Identifier: Apache-2.0 */
/* Collecting a task's address space: its mappings (maps.c), one batch for what only the task can tell (break, dumpable, huge
 * pages off; made by task/), /proc/PID/stat and auxv, and a scan for the pages to be saved.
 *
 * Facts relied on:
 * 1. A shared anonymous mapping is a file of the kernel's own tmpfs, "/dev/zero (deleted)"; its inode names the segment, in the
 *    image (shmid) as well.
 * 2. The page cache of a mapped file is not content of the task. Pages of a private file mapping that the task has written are.
 * 3. A shared mapping may become writable, and so needs a descriptor open for writing, exactly if VM_MAYWRITE is set.
 * 4. The batch pages are ordinary anonymous memory, which the kernel may have merged with a mapping of the task beside them: they
 *    are cut out by address, not recognised as a whole.
 * 5. [vvar] and [vvar_vclock] (6.13) lie side by side and are one entry in the image, as CRIU writes it. The stack is an ordinary
 *    private mapping that grows down: CRIU has no mark on it, nor have we.
 * 6. Guard regions are written behind the mappings, as entries of their own with the status bit for guards.
 *
 * Not handled, and refused by name: huge pages of files (huge.c), asynchronous I/O rings, io_uring, devices, mapped
 * sockets, shadow stacks, sealed mappings, mappings with a userfaultfd, perf, uprobes. The names given to anonymous memory with
 * PR_SET_VMA have no place in the format and are lost. */
#define LOG_PREFIX "mem"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/proc.h"
#include "base/stage.h"
#include "files/kinds.h"
#include "files/table.h"
#include "mem/dumping.h"
#include "mem/huge.h"
#include "mem/maps.h"
#include "mem/mem.h"
#include "mem/smaps.h"
#include "mem/sysv.h"
#include "remote/ahead.h"

struct collector {
	struct dump *d;
	struct task *t;
	pid_t pid;                   /* host */
	const char *comm;
	uint64_t area, area_end;     /* the batch pages */
	struct task_pages *pages;
	ARRAY(VmaEntry *) vmas;
};

static int refuse(const struct collector *c, const struct smaps_vma *v, const char *reason)
{
	return fail_text(EOPNOTSUPP, "task %d (%s): mapping %" PRIx64 "-%" PRIx64 " of %s: %s", c->t->pid, c->comm, v->start, v->end,
			 *v->name ? v->name : "anonymous memory", reason);
}

static const struct {
	uint32_t flag;
	const char *reason;
} refused_flags[] = {
	{ SMAPS_UFFD, "it is registered with a userfaultfd, which is not supported" },
	{ SMAPS_SHADOW_STACK, "shadow stacks are not supported" },
	{ SMAPS_SEALED, "it is sealed (mseal), which is not supported" },
	{ SMAPS_DEVICE, "memory of a device cannot be saved" },
};

static const struct {
	const char *name;      /* how the mapping's name begins */
	const char *reason;
} refused_names[] = {
	{ "/[aio]", "asynchronous I/O rings (io_setup) are not supported" },
	{ "anon_inode:[io_uring]", "io_uring is not supported" },
	{ "anon_inode:[perf_event]", "perf event buffers are not supported" },
	{ "anon_inode:", "this kind of kernel object is not supported in memory" },
	{ "socket:[", "mapped sockets (packet rings) are not supported" },
	{ "[uprobes]", "the program is being probed (uprobes)" },
};

static int check_supported(const struct collector *c, const struct smaps_vma *v)
{
	for (size_t i = 0; i < sizeof refused_names / sizeof *refused_names; i++)
		if (str_starts(v->name, refused_names[i].name))
			return refuse(c, v, refused_names[i].reason);
	for (size_t i = 0; i < sizeof refused_flags / sizeof *refused_flags; i++)
		if ((v->flags & refused_flags[i].flag) &&
		    !(refused_flags[i].flag == SMAPS_UFFD && tracker_owns(c->d, c->t, v->start, v->end)))
			return refuse(c, v, refused_flags[i].reason);
	return 0;
}

/* The kernel's own mappings, by name. */
static const struct {
	const char *name;
	uint32_t status;
} special[] = {
	{ "[vdso]", VMA_REGULAR | VMA_VDSO | VMA_ANON_PRIVATE },
	{ "[vvar]", VMA_REGULAR | VMA_VVAR | VMA_ANON_PRIVATE },
	{ "[vvar_vclock]", VMA_REGULAR | VMA_VVAR | VMA_ANON_PRIVATE },
	{ "[vsyscall]", VMA_VSYSCALL | VMA_ANON_PRIVATE },
};

static uint32_t special_status(const struct smaps_vma *v)
{
	if (v->inode || v->name[0] != '[')
		return 0;
	for (size_t i = 0; i < sizeof special / sizeof *special; i++)
		if (!strcmp(v->name, special[i].name))
			return special[i].status;
	return 0;
}

static bool is_shared_anonymous(const struct smaps_vma *v)
{
	return v->shared && v->inode && v->major == 0 &&
	       (!strcmp(v->name, "/dev/zero (deleted)") || str_starts(v->name, "[anon_shmem:"));
}

/* --- files --- */

/* The path as it is: smaps is ambiguous where there is a backslash. */
static int file_name(const struct collector *c, const char *link, const struct smaps_vma *v, char **name)
{
	if (!strchr(v->name, '\\')) {
		*name = str_dup(v->name);
		return 0;
	}
	return proc_readlink(c->pid, link, name);
}

static const struct seen_file *seen_find(const struct collector *c, const struct seen_file *f)
{
	const struct shmem_table *t = shmem_table(c->d);

	for (size_t i = 0; i < t->seen.n; i++) {
		const struct seen_file *s = &t->seen.data[i];
		if (s->inode == f->inode && s->device == f->device && s->flags == f->flags && !strcmp(s->name, f->name))
			return s;
	}
	return NULL;
}

static void seen_add(const struct collector *c, struct seen_file f)
{
	f.name = arena_str(c->d->arena, f.name);
	array_push(&shmem_table(c->d)->seen) = f;
}

static int file_lookup(struct collector *c, const struct smaps_vma *v, uint32_t flags, uint32_t *id)
{
	struct seen_file f = { .device = makedev(v->major, v->minor), .inode = v->inode, .name = v->name, .flags = flags };
	const struct seen_file *known = seen_find(c, &f);
	autofree char *name = NULL;
	char link[64], path[96];

	if (known) {
		*id = known->id;
		return 0;
	}
	snprintf(link, sizeof link, "map_files/%" PRIx64 "-%" PRIx64, v->start, v->end);
	snprintf(path, sizeof path, "/proc/%d/%s", c->pid, link);
	autoclose int fd = open(path, O_PATH | O_CLOEXEC);
	int r = fd < 0 ? -errno : file_name(c, link, v, &name);
	if (r < 0)
		return fail(-r, "task %d (%s): open the mapped file %s through %s", c->t->pid, c->comm, v->name, path);
	r = files_dump_path(c->d, c->t, FILE_MAP, fd, name, flags, id);
	if (r < 0)
		return r;
	f.id = *id;
	seen_add(c, f);
	return 0;
}

/* --- mappings --- */

static VmaEntry *entry_add(struct collector *c, const struct smaps_vma *v, uint64_t start, uint64_t end)
{
	VmaEntry *e = arena_new(c->d->arena, VmaEntry);

	vma_entry__init(e);
	e->start = start;
	e->end = end;
	e->prot = v->prot;
	e->fd = -1;
	e->flags = (v->flags & SMAPS_GROWSDOWN ? MAP_GROWSDOWN : 0) | (v->flags & SMAPS_LOCKED ? MAP_LOCKED : 0) |
		   (v->flags & SMAPS_NORESERVE ? MAP_NORESERVE : 0);
	e->has_madv = v->madv != 0;
	e->madv = v->madv;
	array_push(&c->vmas) = e;
	return e;
}

static void add_area(struct collector *c, const struct smaps_vma *v, uint64_t start, uint64_t end, bool anonymous)
{
	array_push(&c->pages->areas.list) = (struct scan_area){
		.start = start, .end = end, .anonymous = anonymous, .registered = v->flags & SMAPS_UFFD, .mergeable = v->madv >> MADV_MERGEABLE & 1,
	};
	c->d->stats.pages_scanned += (end - start) / 4096;
}

static int add_anonymous(struct collector *c, const struct smaps_vma *v, uint64_t start, uint64_t end, uint32_t status)
{
	VmaEntry *last = c->vmas.n ? c->vmas.data[c->vmas.n - 1] : NULL;

	if ((status & VMA_VVAR) && last && (last->status & VMA_VVAR) && last->end == start) {
		last->end = end;
		return 0;
	}
	VmaEntry *e = entry_add(c, v, start, end);
	e->flags |= MAP_PRIVATE | MAP_ANONYMOUS;
	e->status = status;
	if (!v->mapped_elsewhere)
		ranges_add(&c->pages->sole, start, end);
	if (!(status & (VMA_VDSO | VMA_VVAR | VMA_VSYSCALL)))
		add_area(c, v, start, end, true);
	return 0;
}

static int add_segment(struct collector *c, const struct smaps_vma *v)
{
	VmaEntry *e = entry_add(c, v, v->start, v->end);

	e->flags |= MAP_SHARED | MAP_ANONYMOUS;
	e->status = VMA_REGULAR | VMA_ANON_SHARED;
	e->shmid = v->inode;
	e->pgoff = v->pgoff;
	return shmem_found(c->d, c->t, v);
}

static int add_huge(struct collector *c, const struct smaps_vma *v)
{
	uint32_t flags = 0;
	int r = huge_is_anonymous(v) ? huge_flags(c->pid, v, &flags) : 0;

	if (!huge_is_anonymous(v))
		return refuse(c, v, "huge pages (hugetlb) of files, memfds and System V segments are not supported");
	if (r < 0)
		return fail(-r, "task %d (%s): look at its huge pages at %" PRIx64, c->t->pid, c->comm, v->start);
	if (v->shared) {
		r = add_segment(c, v);
	} else {
		VmaEntry *e = entry_add(c, v, v->start, v->end);
		e->flags |= MAP_PRIVATE | MAP_ANONYMOUS;
		e->status = VMA_REGULAR | VMA_ANON_PRIVATE;
		add_area(c, v, v->start, v->end, false);
	}
	c->vmas.data[c->vmas.n - 1]->flags |= flags;
	return r;
}

static bool is_sysv(const struct smaps_vma *v)
{
	return v->shared && v->major == 0 && str_starts(v->name, "/SYSV") && str_ends(v->name, " (deleted)");
}

static int add_sysv(struct collector *c, const struct smaps_vma *v)
{
	const char *reason = sysv_refused(c->d, c->t, v->inode, v->pgoff, v->end - v->start);

	if (reason)
		return refuse(c, v, reason);
	VmaEntry *e = entry_add(c, v, v->start, v->end);
	e->flags |= MAP_SHARED | MAP_ANONYMOUS;
	e->status = VMA_REGULAR | VMA_ANON_SHARED | VMA_SYSVIPC;
	e->shmid = v->inode;
	e->has_fdflags = true;
	e->fdflags = v->flags & SMAPS_MAYWRITE ? O_RDWR : O_RDONLY;
	return 0;
}

static int add_file(struct collector *c, const struct smaps_vma *v)
{
	uint32_t id, flags = v->shared && (v->flags & SMAPS_MAYWRITE) ? O_RDWR : O_RDONLY;
	int r = file_lookup(c, v, flags, &id);

	if (r < 0)
		return r;
	VmaEntry *e = entry_add(c, v, v->start, v->end);
	e->flags |= v->shared ? MAP_SHARED : MAP_PRIVATE;
	e->status = VMA_REGULAR | (v->shared ? VMA_FILE_SHARED : VMA_FILE_PRIVATE);
	if (str_starts(v->name, "/memfd:"))
		e->status |= VMA_MEMFD;
	e->shmid = id;
	e->pgoff = v->pgoff;
	e->has_fdflags = true;
	e->fdflags = flags;
	if (!v->shared)
		add_area(c, v, v->start, v->end, false);
	return 0;
}

static int add_mapping(struct collector *c, const struct smaps_vma *v)
{
	uint32_t status = special_status(v);

	if (status)
		return add_anonymous(c, v, v->start, v->end, status);
	int r = check_supported(c, v);
	if (r < 0)
		return r;
	if (v->flags & SMAPS_HUGETLB)
		return add_huge(c, v);
	if (is_shared_anonymous(v))
		return add_segment(c, v);
	if (is_sysv(v))
		return add_sysv(c, v);
	if (v->inode || v->name[0] == '/')
		return add_file(c, v);
	status = VMA_REGULAR | VMA_ANON_PRIVATE | (!strcmp(v->name, "[heap]") ? VMA_HEAP : 0);
	/* The part before the batch pages, and the part behind them. */
	if (v->start < c->area && v->start < v->end)
		r = add_anonymous(c, v, v->start, v->end < c->area ? v->end : c->area, status);
	if (r == 0 && v->end > c->area_end)
		r = add_anonymous(c, v, v->start > c->area_end ? v->start : c->area_end, v->end, status);
	return r;
}

static bool in_area(const struct collector *c, const struct smaps_vma *v)
{
	return v->start >= c->area && v->end <= c->area_end;
}

static int collect_mappings(struct collector *c)
{
	autofree char *text = NULL;
	struct smaps maps = { 0 };
	int r = maps_read(c->d, c->t, &text, &maps);

	if (r == -EINVAL)
		fail_text(EINVAL, "task %d (%s): its smaps file is not in a form that is known", c->t->pid, c->comm);
	else if (r < 0)
		fail(-r, "task %d (%s): read its mappings", c->t->pid, c->comm);
	for (size_t i = 0; r == 0 && i < maps.vmas.n; i++)
		if (!in_area(c, &maps.vmas.data[i]))
			r = add_mapping(c, &maps.vmas.data[i]);
	if (r == 0 && !c->vmas.n)
		r = fail_text(EOPNOTSUPP, "task %d (%s): it has no memory: its first thread has ended before the others, which is not supported",
			      c->t->pid, c->comm);
	array_free(&maps.vmas);
	return r;
}

/* --- pages and guard regions --- */

static int collect_pages(struct collector *c)
{
	struct task_pages *p = c->pages;
	const struct smaps_vma none = { 0 };
	uint64_t begin = clock_us();

	tracker_mark(c->d, c->t, &p->areas);
	int r = scan_areas(c->pid, &p->areas, true, &shmem_table(c->d)->pool, &p->found);
	if (r < 0)
		return fail(-r, "read the page map of process %d", c->pid);
	for (size_t i = 0; i < p->found.guards.list.n; i++)
		entry_add(c, &none, p->found.guards.list.data[i].start, p->found.guards.list.data[i].end)->status = VMA_GUARD;
	r = tracker_clean(c->d, c->t, &p->areas, &p->found.clean);
	c->d->stats.memdump_us += clock_us() - begin;
	return r;
}

/* --- the rest of mm_entry --- */

static void fill_numbers(MmEntry *m, const struct proc_stat *st)
{
	m->mm_start_code = st->start_code;
	m->mm_end_code = st->end_code;
	m->mm_start_data = st->start_data;
	m->mm_end_data = st->end_data;
	m->mm_start_stack = st->start_stack;
	m->mm_start_brk = st->start_brk;
	m->mm_arg_start = st->arg_start;
	m->mm_arg_end = st->arg_end;
	m->mm_env_start = st->env_start;
	m->mm_env_end = st->env_end;
}

void mm_ask(struct call calls[MM_QUESTIONS])
{
	calls[0] = (struct call){ .nr = SYS_brk };
	calls[1] = (struct call){ .nr = SYS_prctl, .arg = { PR_GET_DUMPABLE } };
	calls[2] = (struct call){ .nr = SYS_prctl, .arg = { PR_GET_THP_DISABLE } };
}

int mm_take(struct task *t, const struct call calls[MM_QUESTIONS])
{
	static const char *const what[MM_QUESTIONS] = { "break", "dumpable flag", "setting of huge pages" };
	MmEntry *m = t->mm;

	for (size_t i = 0; i < MM_QUESTIONS; i++)
		if (calls[i].ret < 0 && calls[i].ret >= -4095)
			return fail((int)-calls[i].ret, "task %d: ask for its %s", t->pid, what[i]);
	m->mm_brk = (uint64_t)calls[0].ret;
	m->has_dumpable = true;
	m->dumpable = (int32_t)calls[1].ret;
	m->has_thp_disabled = true;
	m->thp_disabled = calls[2].ret & 1;
	return 0;
}

/* The auxiliary vector without its end mark. */
static int collect_auxv(struct collector *c, MmEntry *m)
{
	autofree char *text = NULL;
	ssize_t n = ahead_read(c->d, c->t, AHEAD_AUXV, &text);

	if (n < 0)
		return fail((int)-n, "task %d (%s): read its auxiliary vector", c->t->pid, c->comm);
	size_t words = (size_t)n / sizeof(uint64_t) & ~(size_t)1;
	m->mm_saved_auxv = arena_dup(c->d->arena, text, words * sizeof(uint64_t));
	while (words >= 2 && !m->mm_saved_auxv[words - 2])
		words -= 2;
	m->n_mm_saved_auxv = words;
	return 0;
}

/* The executable is known by its device as stat(2) tells it, mapped files by the one in smaps: they need not be the same number. */
static int collect_exe(struct collector *c, MmEntry *m)
{
	autofree char *link = NULL;
	char path[64];
	struct stat st;
	int r = proc_readlink(c->pid, "exe", &link);

	snprintf(path, sizeof path, "/proc/%d/exe", c->pid);
	if (r == 0 && stat(path, &st) < 0)
		r = -errno;
	if (r < 0)
		return fail(-r, "task %d (%s): look at its executable", c->t->pid, c->comm);
	struct seen_file f = { .device = st.st_dev, .inode = st.st_ino, .name = link, .flags = O_RDONLY };
	const struct seen_file *known = seen_find(c, &f);
	if (known) {
		m->exe_file_id = known->id;
		return 0;
	}
	autoclose int fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return fail(errno, "task %d (%s): open its executable", c->t->pid, c->comm);
	r = files_dump_path(c->d, c->t, FILE_EXE, fd, link, O_RDONLY, &m->exe_file_id);
	f.id = m->exe_file_id;
	if (r == 0)
		seen_add(c, f);
	return r;
}

static int collect_all(struct collector *c)
{
	MmEntry *m = arena_new(c->d->arena, MmEntry);

	c->pages = task_pages_add(c->d, c->t);
	mm_entry__init(m);
	fill_numbers(m, c->t->stat);
	int e = collect_auxv(c, m);
	if (e == 0)
		e = collect_exe(c, m);
	if (e == 0)
		e = collect_mappings(c);
	if (e == 0)
		e = collect_pages(c);
	if (e < 0)
		return e;
	m->n_vmas = c->vmas.n;
	m->vmas = arena_dup(c->d->arena, c->vmas.data, c->vmas.n * sizeof *c->vmas.data);
	c->t->mm = m;
	return 0;
}

int mm_collect(struct dump *d, struct task *t, struct remote *r)
{
	int e = ahead_stat(d, t);

	if (e < 0)
		return fail(-e, "task %d: read /proc/%d/stat", t->pid, t->host_pid);
	struct collector c = {
		.d = d, .t = t, .pid = t->host_pid, .comm = t->stat->comm,
		.area = remote_area(r), .area_end = remote_area(r) + remote_area_size(r),
	};
	e = collect_all(&c);
	array_free(&c.vmas);
	log_debug("task %d (%s): %zu mappings", t->pid, t->stat->comm, t->mm ? t->mm->n_vmas : 0);
	return e;
}
