/* SPDX-License-Identifier: Apache-2.0 */
/* The extended state of a thread (x87, SSE, AVX, AVX-512, protection keys) and its image, x86-64.
 *
 * ptrace's NT_X86_XSTATE is the standard (not compacted) XSAVE format: 512 bytes of FXSAVE, a header with XSTATE_BV (which components
 * differ from their initial values), then each component at the offset that CPUID leaf 0xD tells for this processor. The kernel puts
 * XCR0 (what the processor and the kernel have) into bytes 464…471. Setting needs a buffer of the whole size.
 *
 * The image has a field per component, so it does not depend on offsets. Written are all components that the processor has, as CRIU
 * does; read back are those that XSTATE_BV names. The image has no place for some components (AMX tiles, user interrupts, extended
 * general registers): if a thread uses one, the dump stops and says which. Shadow stack state (CET) is a supervisor component and not
 * in here; an image with a shadow stack is refused. */
#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#include "base/cpu.h"
#include "base/err.h"
#include "remote/arch/x86_64/xstate.h"
#include "remote/internal.h"

enum { FP = 0, SSE = 1, PKRU = 9 };
#define BIT(n) (1ull << (n))
#define LEGACY_SIZE 512u
#define XSTATE_BV 512u
#define HEADER_END 576u
#define SOFTWARE_BYTES 464u
#define MXCSR_KNOWN 0x2ffffu

/* A component as the image has it: an array of words of `width` bytes. */
struct component {
	unsigned number, width, words;
	size_t n_at, data_at;
	const char *name;
};
#define COMPONENT(number, width, words, field, name) \
	{ number, width, words, offsetof(UserX86XsaveEntry, n_##field), offsetof(UserX86XsaveEntry, field), name }
static const struct component components[] = {
	COMPONENT(2, 4, 64, ymmh_space, "AVX"),
	COMPONENT(3, 8, 8, bndreg_state, "MPX bounds"),
	COMPONENT(4, 8, 8, bndcsr_state, "MPX configuration"),
	COMPONENT(5, 8, 8, opmask_reg, "AVX-512 masks"),
	COMPONENT(6, 8, 64, zmm_upper, "AVX-512 upper halves"),
	COMPONENT(7, 8, 128, hi16_zmm, "AVX-512 upper registers"),
	COMPONENT(PKRU, 4, 2, pkru, "protection keys"),
};
#define COMPONENTS (sizeof components / sizeof *components)

static const char *const names[] = {
	[0] = "x87", [1] = "SSE", [2] = "AVX", [3] = "MPX bounds", [4] = "MPX configuration", [5] = "AVX-512 masks", [6] = "AVX-512 upper halves",
	[7] = "AVX-512 upper registers", [8] = "processor trace", [9] = "protection keys", [10] = "PASID", [11] = "user shadow stack",
	[12] = "supervisor shadow stack", [13] = "hardware duty cycling", [14] = "user interrupts", [15] = "last branch records",
	[16] = "hardware P-states", [17] = "AMX tile configuration", [18] = "AMX tile data", [19] = "APX general registers",
};

static const char *name_of(uint64_t bits)
{
	unsigned first = (unsigned)__builtin_ctzll(bits);

	return first < sizeof names / sizeof *names ? names[first] : "an unknown one";
}

static uint64_t image_can_hold(void)
{
	uint64_t bits = BIT(FP) | BIT(SSE);

	for (size_t i = 0; i < COMPONENTS; i++)
		bits |= BIT(components[i].number);
	return bits;
}

static uint64_t get_u64(const uint8_t *at)
{
	uint64_t v;

	memcpy(&v, at, sizeof v);
	return v;
}

/* Where a component lies; false if this processor or this buffer does not have it whole. */
static bool locate(const struct component *c, size_t limit, unsigned *offset)
{
	struct cpu_xsave x;

	if (!cpu_xsave(c->number, &x) || x.size < c->width * c->words || x.offset < HEADER_END || x.offset + x.size > limit)
		return false;
	*offset = x.offset;
	return true;
}

/* --- save --- */

static uint32_t *words32(struct arena *arena, const uint8_t *from, size_t n)
{
	return arena_dup(arena, from, n * sizeof(uint32_t));
}

static UserX86FpregsEntry *save_legacy(struct arena *arena, const uint8_t *x)
{
	UserX86FpregsEntry *f = arena_new(arena, UserX86FpregsEntry);
	struct user_fpregs_struct s;

	_Static_assert(sizeof s == LEGACY_SIZE, "the FXSAVE area");
	memcpy(&s, x, sizeof s);
	user_x86_fpregs_entry__init(f);
	f->cwd = s.cwd, f->swd = s.swd, f->twd = s.ftw, f->fop = s.fop;
	f->rip = s.rip, f->rdp = s.rdp;
	f->mxcsr = s.mxcsr, f->mxcsr_mask = s.mxcr_mask;
	f->n_st_space = sizeof s.st_space / sizeof(uint32_t);
	f->st_space = words32(arena, x + offsetof(struct user_fpregs_struct, st_space), f->n_st_space);
	f->n_xmm_space = sizeof s.xmm_space / sizeof(uint32_t);
	f->xmm_space = words32(arena, x + offsetof(struct user_fpregs_struct, xmm_space), f->n_xmm_space);
	return f;
}

static UserX86XsaveEntry *save_components(struct arena *arena, const uint8_t *x, size_t size)
{
	UserX86XsaveEntry *e = arena_new(arena, UserX86XsaveEntry);
	uint64_t xcr0 = get_u64(x + SOFTWARE_BYTES);
	unsigned offset;

	user_x86_xsave_entry__init(e);
	e->xstate_bv = get_u64(x + XSTATE_BV);
	for (size_t i = 0; i < COMPONENTS; i++) {
		const struct component *c = &components[i];
		if (!(xcr0 & BIT(c->number)) || !locate(c, size, &offset))
			continue;
		size_t n = c->words;
		void *data = arena_dup(arena, x + offset, (size_t)c->width * c->words);
		memcpy((char *)e + c->n_at, &n, sizeof n);
		memcpy((char *)e + c->data_at, &data, sizeof data);
	}
	return e;
}

int xstate_save(const struct remote *r, struct arena *arena, UserX86FpregsEntry **out)
{
	uint8_t buffer[ARCH_XSTATE_MAX];
	const uint8_t *x = r->xstate;
	ssize_t size = (ssize_t)r->xstate_size;

	if (!x) {
		size = arch_xstate_get(r->tid, buffer, sizeof buffer);
		x = buffer;
	}
	if (size < (ssize_t)LEGACY_SIZE)
		return fail(size < 0 ? (int)-size : EIO, "read the vector registers of task %d", r->tid);
	*out = save_legacy(arena, x);
	if (size < (ssize_t)HEADER_END)
		return 0;
	uint64_t unknown = get_u64(x + XSTATE_BV) & ~image_can_hold();
	if (unknown) {
		int e = fail_text(ENOTSUP, "task %d uses registers that the image format has no place for: %s", r->tid, name_of(unknown));
		fail_hint("components %#" PRIx64 " of its extended state", unknown);
		return e;
	}
	(*out)->xsave = save_components(arena, x, (size_t)size);
	return 0;
}

/* --- check, load --- */

static size_t field_count(const UserX86XsaveEntry *e, const struct component *c)
{
	size_t n;

	memcpy(&n, (const char *)e + c->n_at, sizeof n);
	return n;
}

static int check_components(const UserX86XsaveEntry *e, pid_t tid)
{
	uint64_t lacking = e->xstate_bv & ~cpu_xcr0(), unknown = e->xstate_bv & ~image_can_hold();

	if (unknown)
		return fail_text(ENOTSUP, "registers of thread %d: the image says that it uses %s, and has no place for that", tid, name_of(unknown));
	if (lacking) {
		int err = fail_text(ENOTSUP, "registers of thread %d: it uses %s, which this processor does not have", tid, name_of(lacking));
		fail_hint("restore on a processor with the features of the one it was dumped on (cpuinfo check)");
		return err;
	}
	for (size_t i = 0; i < COMPONENTS; i++) {
		const struct component *c = &components[i];
		size_t n = field_count(e, c);
		bool used = e->xstate_bv & BIT(c->number);
		if (n != c->words && (n || used))
			return fail_text(EINVAL, "registers of thread %d: %zu words of %s instead of %u", tid, n, c->name, c->words);
	}
	if (e->cet && (e->cet->cet || e->cet->ssp))
		return fail_text(ENOTSUP, "registers of thread %d: it has a shadow stack: not supported yet", tid);
	return 0;
}

int xstate_check(const UserX86FpregsEntry *f, pid_t tid)
{
	if (f->n_st_space != 32 || f->n_xmm_space != 64)
		return fail_text(EINVAL, "registers of thread %d: %zu words of x87 and %zu of SSE registers instead of 32 and 64", tid, f->n_st_space,
				 f->n_xmm_space);
	if (f->mxcsr & ~MXCSR_KNOWN)
		return fail_text(EINVAL, "registers of thread %d: reserved bits are set in MXCSR (%#x)", tid, f->mxcsr);
	return f->xsave ? check_components(f->xsave, tid) : 0;
}

static void load_legacy(uint8_t *x, const UserX86FpregsEntry *f)
{
	struct user_fpregs_struct s = {
		.cwd = (uint16_t)f->cwd, .swd = (uint16_t)f->swd, .ftw = (uint16_t)f->twd, .fop = (uint16_t)f->fop, .rip = f->rip, .rdp = f->rdp,
		.mxcsr = f->mxcsr, .mxcr_mask = f->mxcsr_mask,
	};

	memcpy(s.st_space, f->st_space, sizeof s.st_space);
	memcpy(s.xmm_space, f->xmm_space, sizeof s.xmm_space);
	memcpy(x, &s, SOFTWARE_BYTES);
}

static int load_components(uint8_t *x, size_t size, const UserX86XsaveEntry *e, pid_t tid)
{
	uint64_t bv = e->xstate_bv;
	unsigned offset;

	memcpy(x + XSTATE_BV, &bv, sizeof bv);
	for (size_t i = 0; i < COMPONENTS; i++) {
		const struct component *c = &components[i];
		const void *data;
		if (!(bv & BIT(c->number)))
			continue;
		if (!locate(c, size, &offset))
			return fail_text(ENOTSUP, "set the registers of task %d: this processor has no place for %s", tid, c->name);
		memcpy(&data, (const char *)e + c->data_at, sizeof data);
		memcpy(x + offset, data, (size_t)c->width * c->words);
	}
	return 0;
}

int xstate_load(struct remote *r, const UserX86FpregsEntry *f)
{
	uint8_t x[ARCH_XSTATE_MAX] __attribute__((aligned(64)));
	uint64_t legacy_only = BIT(FP) | BIT(SSE), header[8] = { 0 };
	ssize_t size = arch_xstate_get(r->tid, x, sizeof x);
	int e = 0;

	if (size < (ssize_t)LEGACY_SIZE)
		return fail(size < 0 ? (int)-size : EIO, "the vector registers of task %d", r->tid);
	load_legacy(x, f);
	if (size >= (ssize_t)HEADER_END) {
		memcpy(header, &legacy_only, sizeof legacy_only);
		memcpy(x + XSTATE_BV, header, sizeof header);
		e = f->xsave ? load_components(x, (size_t)size, f->xsave, r->tid) : 0;
	}
	if (e < 0)
		return e;
	struct iovec iov = { x, (size_t)size };
	if (ptrace(PTRACE_SETREGSET, r->tid, NT_X86_XSTATE, &iov) < 0)
		return fail(errno, "set the vector registers of task %d", r->tid);
	return 0;
}
