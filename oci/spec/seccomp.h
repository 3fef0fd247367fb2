/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_SPEC_SECCOMP_H
#define OCI_SPEC_SECCOMP_H

#include <stdbool.h>

#include "spec/map.h"

/* The names that linux.seccomp may have, each table up to a NULL name; `features` prints them. */
extern const struct map_name spec_seccomp_actions[], spec_seccomp_operators[], spec_seccomp_flags[];
extern const struct map_name spec_memory_modes[], spec_memory_flags[];   /* linux.memoryPolicy */
/* Architectures of the specification, up to a NULL, and libseccomp's number for one (0: the installed library has it not). */
extern const char *const spec_seccomp_architectures[];
uint32_t spec_seccomp_architecture(const char *name);

#endif
