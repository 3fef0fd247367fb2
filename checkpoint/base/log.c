/* SPDX-License-Identifier: Apache-2.0 */
/* The log sink of a process. Every message is one write() of one line, so that lines of several processes which share the
 * file do not mix. JSON is written by hand here (one flat object of strings): the library's generator is for documents. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/json_escape.h"

#define MESSAGE 8192

static struct {
	int fd;
	enum log_format format;
	enum log_level level;
	struct timespec start;
	int tee;
} sink = { .tee = -1, .fd = 2, .format = LOG_TEXT, .level = LOG_LEVEL_WARN };

static const char *const level_names[] = { "error", "warning", "info", "debug" };

void log_open(int fd, enum log_format format, enum log_level level)
{
	sink.fd = fd;
	sink.format = format;
	sink.level = level;
	clock_gettime(CLOCK_MONOTONIC, &sink.start);
}

void log_set_level(enum log_level level)
{
	sink.level = level;
}

int log_swap(int fd)
{
	int before = sink.fd;

	sink.fd = fd;
	return before;
}

bool log_enabled(enum log_level level)
{
	return level <= sink.level || sink.tee >= 0;
}

int log_fd(void)
{
	return sink.fd;
}

static size_t format_json(char *out, size_t size, enum log_level level, const char *text)
{
	struct timespec now;
	struct tm tm;
	char when[64], zone[64];

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(zone, sizeof zone, ".%09ldZ", now.tv_nsec);
	int n = snprintf(out, size, "{\"level\":\"%s\",\"msg\":\"", level_names[level]);
	size_t at = (size_t)n;
	at += json_escape(out + at, size - at - 128, text);
	at += (size_t)snprintf(out + at, size - at, "\",\"time\":\"%s%s\"}\n", when, zone);
	return at;
}

static size_t format_timestamped(char *out, size_t size, enum log_level level, const char *prefix, const char *text)
{
	static const char *const marks[] = { "Error (", "Warn  (", "", "" };
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	long us = (now.tv_sec - sink.start.tv_sec) * 1000000 + (now.tv_nsec - sink.start.tv_nsec) / 1000;
	int n = snprintf(out, size, "(%02ld.%06ld) %s%s%s%s\n", us / 1000000, us % 1000000, marks[level], prefix,
			 level <= LOG_LEVEL_WARN ? "): " : ": ", text);
	return (size_t)n < size ? (size_t)n : size - 1;
}

static void emit(enum log_level level, const char *prefix, const char *text)
{
	char out[MESSAGE + 512];
	size_t n;

	if (sink.format == LOG_JSON) {
		n = format_json(out, sizeof out, level, text);
	} else if (sink.format == LOG_TIMESTAMPED) {
		n = format_timestamped(out, sizeof out, level, prefix, text);
	} else if (level == LOG_LEVEL_ERROR) {
		n = (size_t)snprintf(out, sizeof out, "%s\n", text);
	} else {
		n = (size_t)snprintf(out, sizeof out, "%s: %s: %s\n", level_names[level], prefix, text);
	}
	if (n >= sizeof out)
		n = sizeof out - 1;
	fd_write_all(sink.fd, out, n);
}

static void emit_tee(enum log_level level, const char *prefix, const char *text)
{
	char out[MESSAGE + 512];

	fd_write_all(sink.tee, out, format_timestamped(out, sizeof out, level, prefix, text));
}

void log_write(enum log_level level, const char *prefix, const char *fmt, ...)
{
	char text[MESSAGE];
	va_list ap;

	if (!log_enabled(level))
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (sink.tee >= 0)
		emit_tee(level, prefix, text);
	if (level <= sink.level)
		emit(level, prefix, text);
}

void log_tee(int fd)
{
	sink.tee = fd;
	if (fd >= 0)
		clock_gettime(CLOCK_MONOTONIC, &sink.start);
}

int log_tee_fd(void)
{
	return sink.tee;
}

void log_trail_tee(void)
{
	for (size_t i = 0; sink.tee >= 0 && i < err_count(); i++)
		emit_tee(LOG_LEVEL_ERROR, "torpor", err_line(i));
}

void log_trail(void)
{
	char joined[MESSAGE];
	size_t at = 0;

	joined[0] = 0;
	for (size_t i = 0; i < err_count(); i++) {
		if (sink.format != LOG_JSON)
			emit(LOG_LEVEL_ERROR, "torpor", err_line(i));
		int n = snprintf(joined + at, sizeof joined - at, "%s%s", i ? "; " : "", err_line(i));
		if (n < 0 || (size_t)n >= sizeof joined - at)
			break;
		at += (size_t)n;
	}
	if (err_count() && sink.format == LOG_JSON)
		emit(LOG_LEVEL_ERROR, "torpor", joined);
	if (sink.fd != 2)
		for (size_t i = 0; i < err_count(); i++)
			dprintf(2, "%s\n", err_line(i));
	err_clear();
}
