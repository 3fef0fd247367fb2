/* SPDX-License-Identifier: Apache-2.0 */
/* The messages of CRIU's page server protocol, as CRIU 4 speaks it: a header of 32 bytes in host byte order, and after some headers
 * content.
 *
 *   0 u32 command (low 16 bits), pagemap flags (high 16)    4 u32 anything    8 u64 pages    16 u64 address    24 u64 id
 *
 * An id is (id << 8 | type); the type tells tasks from shared segments and has numbers of older releases too. In GET it is the bare
 * pid. The server faces a network: nothing of a message is believed before it has been here. Whether it comes at a sensible
 * moment is the server's matter (server.c).
 *
 * There is no version in the protocol. Releases before 4 have headers of 24 bytes:
 *
 *   0 u32 command, flags    4 u32 pages    8 u64 address    16 u64 id
 *
 * Who answers tells them by the first message: OPEN, OPEN2, PARENT have no address (which is where the old form has the id), GET has one in
 * one of two places. Who asks cannot know: torpor's dumps and pagers speak to CRIU 4 and torpor only. */
#include "pages/wire.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "base/err.h"

#define ADDRESS_MIN 0x10000     /* mmap_min_addr, as everybody has it */
#define ADDRESS_END UINT64_C(0x7ffffffff000)   /* of user space; also more than a segment can have */
#define PID_END (UINT64_C(1) << 22)
#define FLAG_PARENT 1u
#define FLAG_LAZY 2u
#define FLAG_PRESENT 4u

static void put(unsigned char *at, const void *value, size_t size)
{
	memcpy(at, value, size);
}

uint64_t wire_mark(const char *run_id)
{
	uint64_t mark = UINT64_C(14695981039346656037);   /* FNV-1a */

	for (const char *c = run_id; c && *c; c++)
		mark = (mark ^ (unsigned char)*c) * UINT64_C(1099511628211);
	return mark;
}

void wire_encode(const struct wire_message *m, unsigned char *bytes)
{
	uint32_t command = (uint32_t)m->command | m->flags << 16;
	bool bare = m->bare || m->command == WIRE_GET || m->command == WIRE_SAME;
	uint64_t id = bare ? m->id : m->id << 8 | (m->segment ? WIRE_SEGMENT : WIRE_TASK);

	memset(bytes, 0, WIRE_SIZE);
	put(bytes, &command, sizeof command);
	if (m->command == WIRE_CLOSE || m->command == WIRE_FORCE_CLOSE)
		return;
	put(bytes + 8, &m->pages, sizeof m->pages);
	put(bytes + 16, &m->address, sizeof m->address);
	put(bytes + 24, &id, sizeof id);
}

static int decode_id(uint64_t id, struct wire_message *m)
{
	static const unsigned char tasks[] = { WIRE_TASK, 10, 11, 16, 17 }, segments[] = { WIRE_SEGMENT, 27, 28, 29, 32, 33, 34 };
	unsigned char type = id & 0xff;
	bool task = memchr(tasks, type, sizeof tasks);

	m->segment = memchr(segments, type, sizeof segments);
	m->id = id >> 8;
	if (!task && !m->segment)
		return fail_text(EPROTO, "a message about an object of the unknown type %u", type);
	if (task && (!m->id || m->id > PID_END))
		return fail_text(EPROTO, "a message about the impossible pid %" PRIu64, m->id);
	return 0;
}

static int check_range(const struct wire_message *m)
{
	if (m->address % WIRE_PAGE || !m->pages || m->pages > ADDRESS_END / WIRE_PAGE ||
	    m->address > ADDRESS_END - m->pages * WIRE_PAGE)
		return fail_text(EPROTO, "a message about %" PRIu64 " pages at %" PRIx64 ", which cannot be", m->pages, m->address);
	return 0;
}

static int decode_pages(uint32_t command, uint32_t flags, uint64_t id, struct wire_message *m)
{
	m->command = WIRE_ADD_F;
	m->flags = command == WIRE_ADD ? FLAG_PRESENT : command == WIRE_HOLE ? FLAG_PARENT : flags;
	if (m->flags & ~(FLAG_PARENT | FLAG_LAZY | FLAG_PRESENT))
		return fail_text(EPROTO, "pages with the unknown flags %x", m->flags);
	if ((m->flags & FLAG_PARENT) && (m->flags & FLAG_PRESENT))
		return fail_text(EPROTO, "pages at %" PRIx64 " that are both here and in the parent", m->address);
	int r = decode_id(id, m);
	return r < 0 ? r : check_range(m);
}

/* Neither a pid nor a number of pages that anybody asks for at once. */
static bool is_address(uint64_t word)
{
	return word >= ADDRESS_MIN && word % WIRE_PAGE == 0;
}

bool wire_is_old(const unsigned char *bytes)
{
	uint32_t word;
	uint64_t second, third;

	memcpy(&word, bytes, sizeof word);
	memcpy(&second, bytes + 8, sizeof second);
	memcpy(&third, bytes + 16, sizeof third);
	switch (word & 0xffff) {
	case WIRE_OPEN:
	case WIRE_OPEN2:
	case WIRE_PARENT: return third != 0;
	case WIRE_GET: return is_address(second) && !is_address(third);
	default: return false;
	}
}

void wire_widen(unsigned char *bytes)
{
	uint32_t pages;

	memcpy(&pages, bytes + 4, sizeof pages);
	memmove(bytes + 16, bytes + 8, 16);
	memset(bytes + 4, 0, 12);
	memcpy(bytes + 8, &pages, sizeof pages);
}

void wire_narrow(unsigned char *bytes)
{
	memcpy(bytes + 4, bytes + 8, 4);
	memmove(bytes + 8, bytes + 16, 16);
}

int wire_decode(const unsigned char *bytes, struct wire_message *m)
{
	uint32_t word;
	uint64_t id;

	*m = (struct wire_message){ 0 };
	memcpy(&word, bytes, sizeof word);
	memcpy(&m->pages, bytes + 8, sizeof m->pages);
	memcpy(&m->address, bytes + 16, sizeof m->address);
	memcpy(&id, bytes + 24, sizeof id);
	uint32_t command = word & 0xffff;
	m->command = (enum wire_command)command;
	switch (command) {
	case WIRE_ADD:
	case WIRE_HOLE:
	case WIRE_ADD_F:
		return decode_pages(command, word >> 16, id, m);
	case WIRE_OPEN:
	case WIRE_OPEN2:
	case WIRE_PARENT:
		return decode_id(id, m);
	case WIRE_GET:
		m->id = id;
		if (!id || id > PID_END)
			return fail_text(EPROTO, "a request for pages of the impossible pid %" PRIu64, id);
		return check_range(m);
	case WIRE_SAME:
		m->id = id;
		return 0;
	case WIRE_CLOSE:
	case WIRE_FORCE_CLOSE:
	case WIRE_RUNS:
		return 0;
	}
	fail_text(EPROTO, "a message with the unknown command %x", command);
	fail_hint("the other side must be torpor or CRIU");
	return -EPROTO;
}
