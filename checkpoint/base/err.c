/* SPDX-License-Identifier: Apache-2.0 */
/* The error trail of a thread: a short list of lines, root cause first.
 *
 * The trail is bounded (LINES lines of LINE bytes, no allocation), so that failing is possible at any time, out of memory
 * included. When it is full, the first lines stay and later context is dropped: the root cause is what matters. */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"

#define LINES 16
#define LINE 1024

static _Thread_local struct {
	size_t n;
	char line[LINES][LINE];
} trail;

static char *next_line(void)
{
	return trail.n < LINES ? trail.line[trail.n++] : NULL;
}

int fail(int err, const char *fmt, ...)
{
	char *line = next_line();
	va_list ap;

	if (line) {
		va_start(ap, fmt);
		int n = vsnprintf(line, LINE, fmt, ap);
		va_end(ap);
		if (err && err != ECANCELED && n >= 0 && n < LINE)
			snprintf(line + n, LINE - (size_t)n, ": %s", strerror(err));
	}
	return err ? -err : -EINVAL;
}

int fail_text(int err, const char *fmt, ...)
{
	char *line = next_line();
	va_list ap;

	if (line) {
		va_start(ap, fmt);
		vsnprintf(line, LINE, fmt, ap);
		va_end(ap);
	}
	return err ? -err : -EINVAL;
}

void fail_hint(const char *fmt, ...)
{
	char *line = next_line();
	va_list ap;

	if (!line)
		return;
	va_start(ap, fmt);
	vsnprintf(line, LINE, fmt, ap);
	va_end(ap);
}

size_t err_count(void)
{
	return trail.n;
}

const char *err_line(size_t i)
{
	return i < trail.n ? trail.line[i] : NULL;
}

void err_clear(void)
{
	trail.n = 0;
}

size_t err_mark(void)
{
	return trail.n;
}

void err_rewind(size_t mark)
{
	if (mark < trail.n)
		trail.n = mark;
}

int err_send(int fd)
{
	for (size_t i = 0; i < trail.n; i++) {
		uint32_t len = (uint32_t)strnlen(trail.line[i], LINE - 1);
		int r = fd_write_all(fd, &len, sizeof len);
		if (r >= 0)
			r = fd_write_all(fd, trail.line[i], len);
		if (r < 0)
			return r;
	}
	uint32_t end = UINT32_MAX;
	return fd_write_all(fd, &end, sizeof end);
}

int err_recv(int fd)
{
	for (;;) {
		uint32_t len;
		char text[LINE];
		int r = fd_read_all(fd, &len, sizeof len);
		if (r < 0)
			return r;
		if (len == UINT32_MAX)
			return 0;
		if (len >= LINE)
			return -EBADMSG;
		r = fd_read_all(fd, text, len);
		if (r < 0)
			return r;
		text[len] = 0;
		fail_hint("%s", text);
	}
}
