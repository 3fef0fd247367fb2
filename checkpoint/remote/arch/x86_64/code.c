/* SPDX-License-Identifier: Apache-2.0 */
/* Instructions that a program already has, x86-64: a system call, one that returns, the restorer of signal handlers.
 *
 * Every C library has a few wrappers that end in `syscall; ret`, and one restorer, `mov $15, %rax; syscall`, that it gives to
 * rt_sigaction with each handler. glibc, musl and the Go runtime write the move as 48 c7 c0 or b8. */
#include <string.h>

#include "remote/arch/arch.h"

const uint8_t arch_syscall_code[] = { 0x0f, 0x05 };
const size_t arch_syscall_code_size = sizeof arch_syscall_code;

static bool starts(const uint8_t *text, size_t size, const char *code, size_t length)
{
	return size >= length && !memcmp(text, code, length);
}

bool arch_code_is_syscall(const uint8_t *text, size_t size)
{
	return starts(text, size, "\x0f\x05", 2);
}

bool arch_code_is_call_return(const uint8_t *text, size_t size, unsigned *popped)
{
	if (starts(text, size, "\x0f\x05\xc3", 3)) {
		*popped = 0;
		return true;
	}
	*popped = 8;      /* pop %rbp, pop %rbx */
	return starts(text, size, "\x0f\x05\x5d\xc3", 4) || starts(text, size, "\x0f\x05\x5b\xc3", 4);
}

bool arch_code_is_restorer(const uint8_t *text, size_t size)
{
	return starts(text, size, "\x48\xc7\xc0\x0f\0\0\0\x0f\x05", 9) || starts(text, size, "\xb8\x0f\0\0\0\x0f\x05", 7);
}

/* A restorer is found by its system call: the move lies before it. */
static ssize_t restorer_before(const uint8_t *text, size_t at, size_t size)
{
	if (at >= 7 && arch_code_is_restorer(text + at - 7, size - at + 7))
		return (ssize_t)at - 7;
	if (at >= 5 && arch_code_is_restorer(text + at - 5, size - at + 5))
		return (ssize_t)at - 5;
	return ARCH_CODE_NONE;
}

void arch_code_find(struct arch_code *c, const uint8_t *text, size_t size, size_t base)
{
	const uint8_t *end = text + size, *p = text;
	unsigned popped;

	while ((p = memmem(p, (size_t)(end - p), arch_syscall_code, sizeof arch_syscall_code))) {
		size_t at = (size_t)(p - text);
		if (c->syscall == ARCH_CODE_NONE)
			c->syscall = (ssize_t)(base + at);
		if (c->call_return == ARCH_CODE_NONE && arch_code_is_call_return(p, size - at, &popped)) {
			c->call_return = (ssize_t)(base + at);
			c->popped = popped;
		}
		ssize_t restorer = c->restorer == ARCH_CODE_NONE ? restorer_before(text, at, size) : ARCH_CODE_NONE;
		if (restorer != ARCH_CODE_NONE)
			c->restorer = (ssize_t)base + restorer;
		if (c->call_return != ARCH_CODE_NONE && c->restorer != ARCH_CODE_NONE)
			return;
		p += sizeof arch_syscall_code;
	}
}
