/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TASK_FRAME_H
#define TASK_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ttrpc's framing (github.com/containerd/ttrpc, PROTOCOL.md): a header of ten bytes, big-endian, and the payload. */
#define FRAME_HEADER 10
#define FRAME_MAX (4u << 20)   /* bytes of payload */

enum { FRAME_REQUEST = 1, FRAME_RESPONSE = 2, FRAME_DATA = 3 };

struct frame {
	uint32_t size, stream;
	uint8_t type, flags;
};
void frame_put(uint8_t header[FRAME_HEADER], const struct frame *f);

/* Puts frames together from pieces as they arrive. Zeroed to begin with. */
struct frame_reader {
	uint8_t header[FRAME_HEADER];
	size_t have;             /* bytes of the header, then of the payload behind it */
	struct frame frame;
	uint8_t *payload;        /* as large as what has arrived of it, not as what was announced; NULL: skipped */
	size_t room;
};
/* Takes bytes from *data until a frame is whole (1: r->frame and r->payload have it until the next call) or all are taken (0). A frame
 * that is too large is reported when its header is there (-EMSGSIZE, once); its payload is skipped. */
int frame_read(struct frame_reader *r, const uint8_t **data, size_t *size);
void frame_reader_free(struct frame_reader *r);

#endif
