/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FILES_PIPE_DATA_H
#define FILES_PIPE_DATA_H

#include "files/kinds.h"

/* What pipes and fifos hold: pipes-data.img and fifo-data.img. */

/* Stores what a pipe holds without taking it out. fd is readable. */
int pipe_data_dump(struct dump *d, const struct file_info *f, enum image_kind kind, int fd, uint32_t pipe_id);
/* In the builder: capacity and contents of pipe_id into a pipe whose writing end is fd (blocking or not). packets: writing makes
 * packets (O_DIRECT). */
int pipe_data_restore(struct restore *r, enum image_kind kind, uint32_t pipe_id, int fd, bool packets);

#endif
