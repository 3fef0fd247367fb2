/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_CPU_H
#define BASE_CPU_H

#include <stdbool.h>
#include <stdint.h>

/* What the processor says of itself, asked once: in a virtual machine every CPUID instruction goes to the hypervisor (9 µs
 * measured, more than forty system calls). x86 only; elsewhere there is nothing. */

/* A component of the extended state (XSAVE, standard format). false: this processor does not have it. */
struct cpu_xsave {
	uint32_t size, offset;
	bool supervisor;        /* kept by the kernel for itself (IA32_XSS): has no place in the standard format */
};
bool cpu_xsave(unsigned number, struct cpu_xsave *c);
/* The components that the kernel has switched on (XGETBV); x87 and SSE where there is no XSAVE. */
uint64_t cpu_xcr0(void);

#endif
