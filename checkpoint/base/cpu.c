/* SPDX-License-Identifier: Apache-2.0 */
/* The processor's own tables, remembered for the process. */
#include "base/cpu.h"

#include <pthread.h>

#if defined __x86_64__
#include <cpuid.h>

#define LEAF_FEATURES 1
#define LEAF_XSAVE 0xd
#define FIRST_EXTENDED 2
#define COMPONENTS 63
#define X87_AND_SSE 3

static struct cpu_xsave components[COMPONENTS];
static uint64_t xcr0 = X87_AND_SSE;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void ask(void)
{
	unsigned a, b, c, d;

	if (!__get_cpuid(LEAF_FEATURES, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
		return;
	__asm__("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	xcr0 = (uint64_t)d << 32 | a;
	for (unsigned i = FIRST_EXTENDED; i < COMPONENTS; i++) {
		if (!(xcr0 >> i & 1))
			continue;
		__cpuid_count(LEAF_XSAVE, i, a, b, c, d);
		components[i] = (struct cpu_xsave){ a, b, c & 1 };
	}
}

bool cpu_xsave(unsigned number, struct cpu_xsave *c)
{
	pthread_once(&once, ask);
	if (number >= COMPONENTS || !components[number].size)
		return false;
	*c = components[number];
	return true;
}

uint64_t cpu_xcr0(void)
{
	pthread_once(&once, ask);
	return xcr0;
}
#else
bool cpu_xsave(unsigned number, struct cpu_xsave *c)
{
	(void)number, (void)c;
	return false;
}

uint64_t cpu_xcr0(void)
{
	return 0;
}
#endif
