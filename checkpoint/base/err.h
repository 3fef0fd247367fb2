/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stddef.h>

/* The error trail: one per thread. The place that fails explains itself once with fail(); callers pass its -errno on and
 * add a line only where they know more. Line 0 is therefore the root cause, later lines are context. Only the outermost
 * caller (a command, an RPC reply) prints the trail. */

/* Adds one line, "<text>: <strerror(err)>" (err 0 or ECANCELED: the text alone), and returns -err (-EINVAL for err 0). */
int fail(int err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* As fail(), without the strerror part: for a text that already says why. */
int fail_text(int err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Adds a line of advice ("what to do") to the trail; returns nothing to pass on. */
void fail_hint(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

size_t err_count(void);
const char *err_line(size_t i);    /* owned by the trail; NULL beyond the end */
void err_clear(void);
size_t err_mark(void);             /* remember the length of the trail … */
void err_rewind(size_t mark);      /* … and drop what came after it: a failure that was handled */

/* Carries a trail between processes over a pipe or socket: lines with their lengths, then an end mark.
 * err_recv() appends what it reads to this thread's trail. Both return 0 or -errno (and add nothing on their own). */
int err_send(int fd);
int err_recv(int fd);

#endif
