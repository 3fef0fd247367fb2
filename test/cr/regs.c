/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registers: one thread spins in user mode with a known value in every integer, mask and vector register, the x87
 * stack, MXCSR and the x87 control word; another computes an integer and a floating-point chain. Both are interrupted
 * at an arbitrary instruction. Afterwards each register is stored and compared, and the chains are computed again.
 * The widest vector set of the processor is used: SSE, AVX or AVX-512.
 */
#include "cr.h"

#include <pthread.h>
#include <stddef.h>

#define VECTORS 32
#define VECTOR 64

enum { SSE, AVX, AVX512 };
struct state {
	uint64_t gpr[15]; /* rax rbx rcx rdx rsi rdi rbp r8…r15 */
	uint64_t mask[8]; /* at 120 */
	uint8_t vector[VECTORS][VECTOR] __attribute__((aligned(64)));
	uint8_t x87[8][16];
	uint32_t mxcsr;
	uint16_t control;
};

extern struct state regs_in, regs_out;
extern int regs_level, regs_stop;
struct state regs_in, regs_out;
int regs_level, regs_stop;
void regs_spin(void);

/* clang-format off */
#define S(x) #x
#define LOAD(n, reg) "	mov regs_in+" S(n) "*8(%rip), %" reg "\n"
#define STORE(n, reg) "	mov %" reg ", regs_out+" S(n) "*8(%rip)\n"
#define GPRS(op) op(0, "rax") op(1, "rbx") op(2, "rcx") op(3, "rdx") op(4, "rsi") op(5, "rdi") op(6, "rbp") op(7, "r8") \
	op(8, "r9") op(9, "r10") op(10, "r11") op(11, "r12") op(12, "r13") op(13, "r14") op(14, "r15")
#define MASK_AT "120"
#define VECTOR_AT "192"
#define X87_AT "2240"
#define VLOAD(ins, reg, n) "	" ins " regs_in+" VECTOR_AT "+" S(n) "*64(%rip), %" reg S(n) "\n"
#define VSTORE(ins, reg, n) "	" ins " %" reg S(n) ", regs_out+" VECTOR_AT "+" S(n) "*64(%rip)\n"
#define V16(op, ins, reg) op(ins, reg, 0) op(ins, reg, 1) op(ins, reg, 2) op(ins, reg, 3) op(ins, reg, 4) op(ins, reg, 5) \
	op(ins, reg, 6) op(ins, reg, 7) op(ins, reg, 8) op(ins, reg, 9) op(ins, reg, 10) op(ins, reg, 11) op(ins, reg, 12) \
	op(ins, reg, 13) op(ins, reg, 14) op(ins, reg, 15)
#define V32(op, ins, reg) V16(op, ins, reg) op(ins, reg, 16) op(ins, reg, 17) op(ins, reg, 18) op(ins, reg, 19) \
	op(ins, reg, 20) op(ins, reg, 21) op(ins, reg, 22) op(ins, reg, 23) op(ins, reg, 24) op(ins, reg, 25) \
	op(ins, reg, 26) op(ins, reg, 27) op(ins, reg, 28) op(ins, reg, 29) op(ins, reg, 30) op(ins, reg, 31)
#define KLOAD(n) "	kmovq regs_in+" MASK_AT "+" S(n) "*8(%rip), %k" S(n) "\n"
#define KSTORE(n) "	kmovq %k" S(n) ", regs_out+" MASK_AT "+" S(n) "*8(%rip)\n"
#define K8(op) op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7)
#define FLOAD(n) "	fldt regs_in+" X87_AT "+" S(n) "*16(%rip)\n"
#define FSTORE(n) "	fstpt regs_out+" X87_AT "+" S(n) "*16(%rip)\n"

__asm__(".text\n.globl regs_spin\n.type regs_spin, @function\nregs_spin:\n"
	"	push %rbx\n	push %rbp\n	push %r12\n	push %r13\n	push %r14\n	push %r15\n"
	"	fninit\n	fldcw regs_in+2372(%rip)\n	ldmxcsr regs_in+2368(%rip)\n"
	K8(FLOAD)
	"	cmpl $2, regs_level(%rip)\n	je 2f\n	cmpl $1, regs_level(%rip)\n	je 1f\n"
	V16(VLOAD, "movdqa", "xmm") "	jmp 3f\n"
	"1:\n" V16(VLOAD, "vmovdqa", "ymm") "	jmp 3f\n"
	"2:\n" V32(VLOAD, "vmovdqa64", "zmm") K8(KLOAD)
	"3:\n" GPRS(LOAD)
	"4:	cmpl $0, regs_stop(%rip)\n	je 4b\n"
	GPRS(STORE)
	"	cmpl $2, regs_level(%rip)\n	je 2f\n	cmpl $1, regs_level(%rip)\n	je 1f\n"
	V16(VSTORE, "movdqa", "xmm") "	jmp 3f\n"
	"1:\n" V16(VSTORE, "vmovdqa", "ymm") "	vzeroupper\n	jmp 3f\n"
	"2:\n" V32(VSTORE, "vmovdqa64", "zmm") K8(KSTORE) "	vzeroupper\n"
	"3:	stmxcsr regs_out+2368(%rip)\n	fnstcw regs_out+2372(%rip)\n"
	FSTORE(7) FSTORE(6) FSTORE(5) FSTORE(4) FSTORE(3) FSTORE(2) FSTORE(1) FSTORE(0)
	"	fninit\n	ldmxcsr regs_plain_mxcsr(%rip)\n"
	"	pop %r15\n	pop %r14\n	pop %r13\n	pop %r12\n	pop %rbp\n	pop %rbx\n	ret\n"
	".size regs_spin, .-regs_spin\n"
	".section .rodata\nregs_plain_mxcsr: .long 0x1f80\n.text\n");
/* clang-format on */

_Static_assert(offsetof(struct state, mask) == 120, "masks");
_Static_assert(offsetof(struct state, vector) == 192, "vectors");
_Static_assert(offsetof(struct state, x87) == 2240, "x87");
_Static_assert(offsetof(struct state, mxcsr) == 2368, "mxcsr");
_Static_assert(offsetof(struct state, control) == 2372, "control word");

struct chain {
	uint64_t steps, integer;
	double real;
};

static void chain_step(struct chain *c)
{
	c->integer = c->integer * 6364136223846793005ULL + 1442695040888963407ULL;
	c->real = 3.9 * c->real * (1 - c->real);
	c->steps++;
}

static void *spin(void *arg)
{
	regs_spin();
	return arg;
}

static void *compute(void *arg)
{
	struct chain *c = arg;

	while (!__atomic_load_n(&regs_stop, __ATOMIC_RELAXED))
		for (int i = 0; i < 1000; i++)
			chain_step(c);
	return arg;
}

static void choose(void)
{
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw"))
		regs_level = AVX512;
	else if (__builtin_cpu_supports("avx"))
		regs_level = AVX;
	for (int i = 0; i < 15; i++)
		regs_in.gpr[i] = cr_pattern(1, i);
	for (int i = 0; i < 8; i++) {
		regs_in.mask[i] = cr_pattern(2, i);
		long double value = 1e300L / (i + 3);
		memcpy(regs_in.x87[i], &value, 10);
	}
	cr_fill(regs_in.vector, sizeof(regs_in.vector), 3);
	regs_in.mxcsr = 0x1f80 | 0x6000 | 0x8000; /* round toward zero, flush to zero */
	regs_in.control = 0x037f | 0x0c00;	  /* round toward zero */
}

static void check(void)
{
	static const int count[] = { 16, 16, 32 }, width[] = { 16, 32, 64 };

	for (int i = 0; i < 15; i++)
		expect(regs_in.gpr[i] == regs_out.gpr[i], "integer register %d: %#jx instead of %#jx", i,
		       (uintmax_t)regs_out.gpr[i], (uintmax_t)regs_in.gpr[i]);
	for (int i = 0; i < count[regs_level]; i++)
		expect(!memcmp(regs_in.vector[i], regs_out.vector[i], width[regs_level]), "vector register %d of %d bytes", i,
		       width[regs_level]);
	for (int i = 0; i < 8; i++) {
		expect(!memcmp(regs_in.x87[i], regs_out.x87[i], 10), "x87 register %d", i);
		expect(regs_level != AVX512 || regs_in.mask[i] == regs_out.mask[i], "mask register %d", i);
	}
	expect((regs_in.mxcsr ^ regs_out.mxcsr) == 0, "mxcsr %#x instead of %#x", regs_out.mxcsr, regs_in.mxcsr);
	expect(regs_in.control == regs_out.control, "x87 control word %#x instead of %#x", regs_out.control, regs_in.control);
}

int main(int argc, char **argv)
{
	struct chain c = { 0, 1, 0.3 }, again = c;
	pthread_t spinner, computer;

	cr_begin(argc, argv);
	choose();
	need(pthread_create(&spinner, NULL, spin, NULL) == 0 && pthread_create(&computer, NULL, compute, &c) == 0);
	cr_wait();
	cr_sleep_ms(10);
	__atomic_store_n(&regs_stop, 1, __ATOMIC_SEQ_CST);
	pthread_join(spinner, NULL);
	pthread_join(computer, NULL);
	check();
	while (again.steps < c.steps)
		chain_step(&again);
	expect(again.integer == c.integer, "integer chain of %ju steps", (uintmax_t)c.steps);
	expect(again.real == c.real, "floating-point chain of %ju steps: %.17g", (uintmax_t)c.steps, c.real);
	return cr_end();
}
