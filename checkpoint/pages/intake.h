/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PAGES_INTAKE_H
#define PAGES_INTAKE_H

#include <stdint.h>

#include "pages/channel.h"

/* What a dump sends, on its way into pages files. Functions return 0 or -errno, explained. */
struct intake;

/* peer and path (of the directory, for messages) stay the caller's. */
struct intake *intake_new(struct channel *peer, const char *path);
void intake_free(struct intake **in);
int intake_header(struct intake *in, unsigned char *bytes, size_t size);
/* Content goes into this file, which is taken, from its beginning, until intake_close(): then all of it is on the disk. */
void intake_open(struct intake *in, int file);
int intake_content(struct intake *in, uint64_t size);
int intake_close(struct intake *in);

#endif
