/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_BTF_H
#define BASE_BTF_H

#include <stdint.h>

/* The running kernel's description of its own types (/sys/kernel/btf/vmlinux). */
struct btf;

int btf_load(struct btf **out);   /* 0 or a bare -errno: there is none, or it is in no form that is known */
void btf_free(struct btf *b);
/* The number of a function; 0: there is none of that name. */
uint32_t btf_function(const struct btf *b, const char *name);
/* Bytes from the start of a struct to a member of it, also of an unnamed struct or union within; -1: there is none. */
int btf_member(const struct btf *b, const char *type, const char *member);

#endif
