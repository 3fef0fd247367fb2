/* SPDX-License-Identifier: Apache-2.0 */
/* The flags of a task's mappings, without smaps.
 *
 * /proc/PID/smaps counts the pages of each mapping, which takes 20 ms for each GiB, with the lock held that mmap() of the task waits for. Of
 * all this a dump needs flags: they are in the kernel's struct vm_area_struct, which programs of the kernel's own kind may read: an
 * iterator (BPF, task_vma, Linux 6.1 for one process) calls ours once for each mapping, and it writes what it found where we read it.
 *
 * 1. Where the members are comes from the kernel's own description of its types (base/btf.c). The bits of vm_flags are not described
 *    there: those used below have been the same since Linux 5.7. That they are is looked at once in our own process, against smaps. A
 *    mapping with a bit that is not known makes the caller read smaps.
 * 2. Pages of a mapping are in no other address space if its anon_vma, the list of all mappings that may have them, is its own root and
 *    has no child but itself: a fork makes a child. Merged pages (KSM) are shared without that.
 * 3. The kernel loads programs that use this only if they are under a license that goes with its own: these twenty instructions are, at
 *    the choice of who uses them, under the MIT license or the GPL.
 *
 * Needs CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN. Loading takes a few milliseconds: for tasks with little memory smaps is faster. */
#define LOG_PREFIX "mem"
#include "mem/vmflags.h"

#include <errno.h>
#include <linux/bpf.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/btf.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/proc.h"

struct vmflags {
	int program;
};

/* What the program writes for each mapping. */
struct fact {
	uint64_t start, end, flags;
	uint64_t anonymous;   /* it has had pages of its own */
	uint64_t alone;       /* anonymous: nobody else has any of them */
};

static const struct {
	unsigned bit;
	uint32_t flag;
	int advice;           /* a MADV_ value, 0: none */
} bits[] = {
	{ 5, SMAPS_MAYWRITE, 0 },   { 8, SMAPS_GROWSDOWN, 0 },   { 9, SMAPS_UFFD, 0 },       { 10, SMAPS_DEVICE, 0 },
	{ 12, SMAPS_UFFD, 0 },      { 13, SMAPS_LOCKED, 0 },     { 14, SMAPS_DEVICE, 0 },    { 15, 0, MADV_SEQUENTIAL },
	{ 16, 0, MADV_RANDOM },     { 17, 0, MADV_DONTFORK },    { 21, SMAPS_NORESERVE, 0 }, { 22, SMAPS_HUGETLB, 0 },
	{ 25, 0, MADV_WIPEONFORK }, { 26, 0, MADV_DONTDUMP },    { 29, 0, MADV_HUGEPAGE },   { 30, 0, MADV_NOHUGEPAGE },
	{ 31, 0, MADV_MERGEABLE },
};
#define MERGEABLE (UINT64_C(1) << 31)
#define UNKNOWN (~UINT64_C(0) << 36)   /* 32 to 35: protection keys */

/* --- the program --- */

enum { R0, R1, R2, R3, R6 = 6, R7, R8, R9, STACK };

#define LOAD(to, from, offset) ((struct bpf_insn){ BPF_LDX | BPF_MEM | BPF_DW, to, from, (int16_t)(offset), 0 })
#define STORE(member, from) ((struct bpf_insn){ BPF_STX | BPF_MEM | BPF_DW, STACK, from, FACT(member), 0 })
#define STORE_NUMBER(member, n) ((struct bpf_insn){ BPF_ST | BPF_MEM | BPF_DW, STACK, 0, FACT(member), n })
#define FACT(member) ((int16_t)(offsetof(struct fact, member) - sizeof(struct fact)))
#define MOVE(to, from) ((struct bpf_insn){ BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0 })
#define SET(to, n) ((struct bpf_insn){ BPF_ALU64 | BPF_MOV | BPF_K, to, 0, 0, n })
#define ADD(to, n) ((struct bpf_insn){ BPF_ALU64 | BPF_ADD | BPF_K, to, 0, 0, n })
#define SKIP_IF(op, reg, n, count) ((struct bpf_insn){ BPF_JMP | (op) | BPF_K, reg, 0, count, n })
#define SKIP_IF_REG(op, a, b, count) ((struct bpf_insn){ BPF_JMP | (op) | BPF_X, a, b, count, 0 })
#define CALL(function) ((struct bpf_insn){ BPF_JMP | BPF_CALL, 0, 0, 0, function })
#define EXIT ((struct bpf_insn){ BPF_JMP | BPF_EXIT, 0, 0, 0, 0 })

struct offsets {
	int start, end, flags, anon, root, children;
};

static int find_offsets(const struct btf *b, struct offsets *o)
{
	*o = (struct offsets){
		.start = btf_member(b, "vm_area_struct", "vm_start"), .end = btf_member(b, "vm_area_struct", "vm_end"),
		.flags = btf_member(b, "vm_area_struct", "vm_flags"), .anon = btf_member(b, "vm_area_struct", "anon_vma"),
		.root = btf_member(b, "anon_vma", "root"), .children = btf_member(b, "anon_vma", "num_children"),
	};
	return o->start < 0 || o->end < 0 || o->flags < 0 || o->anon < 0 || o->root < 0 || o->children < 0 ? -EOPNOTSUPP : 0;
}

/* R1 is the context: { meta, task, vma }; the first member of meta is the file to write to. */
static int load(const struct offsets *o, uint32_t target)
{
	const struct bpf_insn code[] = {
		MOVE(R6, R1),
		LOAD(R7, R1, 16),
		SKIP_IF(BPF_JEQ, R7, 0, 22),
		LOAD(R1, R7, o->start),
		STORE(start, R1),
		LOAD(R1, R7, o->end),
		STORE(end, R1),
		LOAD(R1, R7, o->flags),
		STORE(flags, R1),
		STORE_NUMBER(anonymous, 0),
		STORE_NUMBER(alone, 0),
		LOAD(R8, R7, o->anon),
		SKIP_IF(BPF_JEQ, R8, 0, 6),
		STORE_NUMBER(anonymous, 1),
		LOAD(R9, R8, o->root),
		LOAD(R1, R8, o->children),
		SKIP_IF_REG(BPF_JNE, R8, R9, 2),
		SKIP_IF(BPF_JGT, R1, 1, 1),
		STORE_NUMBER(alone, 1),
		LOAD(R6, R6, 0),
		LOAD(R1, R6, 0),
		MOVE(R2, STACK),
		ADD(R2, -(int)sizeof(struct fact)),
		SET(R3, sizeof(struct fact)),
		CALL(BPF_FUNC_seq_write),
		SET(R0, 0),
		EXIT,
	};
	static const char license[] = "Dual MIT/GPL";
	union bpf_attr a = {
		.prog_type = BPF_PROG_TYPE_TRACING, .insn_cnt = sizeof code / sizeof *code, .insns = (uintptr_t)code,
		.license = (uintptr_t)license, .expected_attach_type = BPF_TRACE_ITER, .attach_btf_id = target,
	};
	int fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &a, sizeof a);

	return fd < 0 ? -errno : fd;
}

static int make_program(void)
{
	struct btf *b = NULL;
	struct offsets o;
	int r = btf_load(&b);

	if (r < 0)
		return r;
	uint32_t target = btf_function(b, "bpf_iter_task_vma");
	r = target ? find_offsets(b, &o) : -EOPNOTSUPP;
	if (r == 0)
		r = load(&o, target);
	btf_free(b);
	return r;
}

/* --- reading --- */

struct facts {
	ARRAY(struct fact) list;
};

/* A descriptor that gives the facts of one process. */
static int iterator_open(int program, pid_t pid)
{
	union bpf_iter_link_info which = { .task.pid = (uint32_t)pid };
	union bpf_attr link = { .link_create = { .prog_fd = (uint32_t)program, .attach_type = BPF_TRACE_ITER,
						 .iter_info = (uintptr_t)&which, .iter_info_len = sizeof which } };
	autoclose int fd = (int)syscall(SYS_bpf, BPF_LINK_CREATE, &link, sizeof link);
	if (fd < 0)
		return -errno;
	union bpf_attr iter = { .iter_create.link_fd = (uint32_t)fd };
	int r = (int)syscall(SYS_bpf, BPF_ITER_CREATE, &iter, sizeof iter);
	return r < 0 ? -errno : r;
}

static int facts_read(int program, pid_t pid, struct facts *out)
{
	enum { AT_ONCE = 512 };
	autofree struct fact *buffer = mem_alloc(AT_ONCE * sizeof *buffer);
	autoclose int fd = iterator_open(program, pid);
	size_t have = 0;
	ssize_t got;

	if (fd < 0)
		return fd;
	while ((got = read(fd, (char *)buffer + have, AT_ONCE * sizeof *buffer - have)) != 0) {
		if (got < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (got < 0)
			return -errno;
		have += (size_t)got;
		for (size_t i = 0; i < have / sizeof *buffer; i++)
			array_push(&out->list) = buffer[i];
		memmove(buffer, buffer + have / sizeof *buffer, have % sizeof *buffer);
		have %= sizeof *buffer;
	}
	return have ? -EPROTO : 0;
}

/* The kernel's own mappings: their flags do not matter (and vsyscall, which belongs to no process, has no facts). */
static bool is_special(const struct smaps_vma *v)
{
	return !v->inode && (str_starts(v->name, "[v") || !strcmp(v->name, "[uprobes]"));
}

static int fact_apply(const struct fact *f, struct smaps_vma *v)
{
	if (f->flags & UNKNOWN && !is_special(v))
		return -EOPNOTSUPP;
	v->flags = 0;
	v->madv = 0;
	for (size_t i = 0; i < sizeof bits / sizeof *bits; i++)
		if (f->flags >> bits[i].bit & 1) {
			v->flags |= bits[i].flag;
			v->madv |= bits[i].advice ? 1ull << bits[i].advice : 0;
		}
	v->mapped_elsewhere = (f->anonymous && !f->alone) || f->flags & MERGEABLE;
	return 0;
}

int vmflags_read(struct vmflags *f, pid_t pid, struct smaps *maps)
{
	struct facts facts = { 0 };
	int r = facts_read(f->program, pid, &facts);

	for (size_t i = 0, k = 0; r == 0 && i < maps->vmas.n; i++) {
		struct smaps_vma *v = &maps->vmas.data[i];
		while (k < facts.list.n && facts.list.data[k].end <= v->start)
			k++;
		if (k < facts.list.n && facts.list.data[k].start == v->start && facts.list.data[k].end == v->end)
			r = fact_apply(&facts.list.data[k], v);
		else if (!is_special(v))
			r = -ESTALE;
	}
	array_free(&facts.list);
	return r;
}

/* --- are the bits what they are taken for? --- */

static bool is_same(const struct smaps_vma *a, const struct smaps_vma *b)
{
	return a->start == b->start && a->end == b->end && (is_special(a) || (a->flags == b->flags && a->madv == b->madv));
}

/* A private page with advice, which smaps and the program should tell in the same way. */
static bool tells_as_smaps(struct vmflags *f)
{
	static const int advice[] = { MADV_DONTFORK, MADV_DONTDUMP, MADV_SEQUENTIAL, MADV_WIPEONFORK, MADV_NOHUGEPAGE };
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *p = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct smaps full = { 0 }, lean = { 0 };
	autofree char *text = NULL, *copy = NULL;

	if (p == MAP_FAILED)
		return false;
	for (size_t i = 0; i < sizeof advice / sizeof *advice; i++)
		madvise(p, page, advice[i]);
	ssize_t n = proc_read(getpid(), "smaps", &text);
	copy = n < 0 ? NULL : mem_dup(text, (size_t)n + 1);
	bool same = n > 0 && smaps_parse(text, &full) == 0 && smaps_parse(copy, &lean) == 0 && vmflags_read(f, getpid(), &lean) == 0;
	for (size_t i = 0, k = 0; same && i < full.vmas.n; i++, k++)
		same = is_same(&full.vmas.data[i], &lean.vmas.data[k]);
	munmap(p, page);
	array_free(&full.vmas);
	array_free(&lean.vmas);
	return same;
}

struct vmflags *vmflags_begin(void)
{
	struct vmflags *f = mem_zalloc(sizeof *f);

	f->program = make_program();
	if (f->program >= 0 && tells_as_smaps(f))
		return f;
	log_debug("mappings are read from smaps: %s", f->program < 0 ? strerror(-f->program) : "their flags are not the ones that are known");
	vmflags_end(f);
	return NULL;
}

void vmflags_end(struct vmflags *f)
{
	if (!f)
		return;
	fd_close(&f->program);
	free(f);
}
