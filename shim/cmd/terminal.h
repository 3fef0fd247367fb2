/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHIM_TERMINAL_H
#define SHIM_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <termios.h>

/* The relay between the caller's terminal and the container's. */
struct shim_flow {
	int from, to;
	char data[4096];
	size_t at, n;    /* what is still to be written */
	bool ended;
};

struct shim_terminal {
	int pty;         /* the container's, the other end; it stays the caller's */
	struct shim_flow in, out;
	bool raw;
	struct termios saved;
};

int shim_terminal_begin(struct shim_terminal *t, int pty);
/* Waits for anything to do and does it. 1: the descriptor `also` is readable. */
int shim_terminal_poll(struct shim_terminal *t, int also);
bool shim_terminal_size(unsigned short *rows, unsigned short *columns);   /* of the caller's terminal, if it has one */
void shim_terminal_resize(const struct shim_terminal *t);
/* Brings out what is left, and puts the caller's terminal back. */
void shim_terminal_end(struct shim_terminal *t);

#endif
