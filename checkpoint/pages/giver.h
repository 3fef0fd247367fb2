/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PAGES_GIVER_H
#define PAGES_GIVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "checkpoint.h"

/* The serving side of lazy memory: others fetch pages (GET), in any order, over any number of connections. */
struct giver {
	const struct ck_page_peer *where;   /* what it was told */
	uint64_t mark;               /* wire_mark() of the dump that is served */
	bool harmless;               /* nothing depends on who takes over: whoever closes has all, whoever breaks off may come again */
	int stop_fd;                 /* readable: give up; -1: none */
	/* How many of the pages of a task (at most so many) follow each other from an address on: 0, none is known there. Any thread. */
	uint64_t (*stretch)(void *arg, pid_t pid, uint64_t address, uint64_t pages);
	/* Their content, in one or more parts of a stretch. 0 or -errno, explained. Any thread, several at once. */
	int (*read)(void *arg, pid_t pid, uint64_t address, char *buffer, uint64_t size);
	/* Once, before the answer that lets the program run elsewhere; NULL: nothing. */
	void (*taken)(void *arg);
	void *arg;
};

/* Serves until a client has all it wants (0), or the program will not be taken over (-ECANCELED), or it is told to stop or cannot read
 * (-errno): explained. `sock` is taken: a listening socket, or a connected one. */
int giver_run(const struct giver *g, int sock, bool connected);

#endif
