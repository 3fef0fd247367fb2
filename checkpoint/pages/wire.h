/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PAGES_WIRE_H
#define PAGES_WIRE_H

#include <stdbool.h>
#include <stdint.h>

/* The messages of CRIU's page server protocol (wire.c). */
enum wire_command {
	WIRE_ADD = 1, WIRE_HOLE, WIRE_OPEN, WIRE_OPEN2, WIRE_PARENT, WIRE_ADD_F, WIRE_GET, WIRE_CLOSE = 0x1023, WIRE_FORCE_CLOSE = 0x1024,
	/* torpor's own, to a source whose images say that it knows them; each is answered with an i32, 0: yes */
	WIRE_SAME = 0x7401,          /* id: wire_mark() of the dump's id: is it yours? */
	WIRE_RUNS,                   /* the program is about to run here */
};

struct wire_message {
	enum wire_command command;
	uint32_t flags;              /* enum pagemap_flag; ADD and HOLE arrive as ADD_F with what they mean */
	uint64_t pages, address;
	uint64_t id;                 /* of a task (a pid) or of a shared segment */
	bool segment;
	bool bare;                   /* encoding: id is a bare pid, without a type (answers to GET) */
};

#define WIRE_SIZE 32
#define WIRE_OLD_SIZE 24      /* before CRIU 4 */
#define WIRE_PAGE UINT64_C(4096)
#define WIRE_TASK 1
#define WIRE_SEGMENT 2

uint64_t wire_mark(const char *run_id);
void wire_encode(const struct wire_message *m, unsigned char *bytes);
/* Checks all that can be checked of a message by itself: 0, or -EPROTO, explained. */
int wire_decode(const unsigned char *bytes, struct wire_message *m);
/* Whether the first message of a connection, of which WIRE_OLD_SIZE bytes are there, is an older CRIU's: all of them are, then. */
bool wire_is_old(const unsigned char *bytes);
/* From the old form to the present one and back, in place, of WIRE_SIZE bytes. */
void wire_widen(unsigned char *bytes);
void wire_narrow(unsigned char *bytes);
/* Bytes of content that follow. */
static inline uint64_t wire_content(const struct wire_message *m)
{
	return m->command == WIRE_ADD_F && m->flags & 4 ? m->pages * WIRE_PAGE : 0;
}

#endif
