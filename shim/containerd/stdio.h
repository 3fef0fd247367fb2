/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TASK_STDIO_H
#define TASK_STDIO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A process's standard streams: between what the process has (pipes, a terminal, a file, nothing) and what the client named (FIFOs, a
 * logging program, a file, nothing). */
struct stdio_options {
	const char *in, *out, *err;      /* the client's URIs; empty: none */
	bool terminal;
	uid_t uid;                       /* owner of the pipes */
	gid_t gid;
	const char *id, *ns;             /* for a logging program's environment */
};

struct stdio;
/* Opens what the client named, makes pipes. NULL: failed. changed(arg) is called when idle() may have become true. */
int stdio_open(const struct stdio_options *o, void (*changed)(void *arg), void *arg, struct stdio **out);
/* In the worker: the process's ends become 0, 1 and 2; a logging program is started and waited for until it is ready. */
int stdio_attach(struct stdio *s);
/* In the shim, when the worker is done: the process's ends are closed, copying begins. console: the terminal's other end, which is taken, or -1. */
void stdio_begin(struct stdio *s, int console);
void stdio_close_in(struct stdio *s);                 /* no more input than what has been sent */
int stdio_resize(struct stdio *s, uint32_t width, uint32_t height);
bool stdio_idle(const struct stdio *s);               /* all output has been handed on, and there will be no more */
void stdio_free(struct stdio *s);                     /* NULL is harmless */

#endif
