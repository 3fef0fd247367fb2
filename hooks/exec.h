/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOKS_EXEC_H
#define HOOKS_EXEC_H

#include <stddef.h>

/* A program that an administrator wants run at some point, and its input. */
struct hook {
	const char *path;
	char *const *args;            /* NULL-terminated; NULL or empty: the path alone */
	char *const *env;             /* NULL-terminated; NULL: none. Nothing else is handed on */
	unsigned timeout;             /* seconds; 0: none */
	const char *directory;        /* to start in; NULL, or one that is not there: / */
	int (*confine)(void *arg);    /* called in the child as the last thing before the program; may be NULL */
	void *arg;
};

/* Runs it with the text as its standard input and waits for its end. 0 when it exits with status 0; else the trail says what became of
 * it, with the last of what it printed. */
int hook_exec(const struct hook *h, const char *input, size_t size);

#endif
