/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

/* One log sink per process, text or JSON lines. A file that logs defines LOG_PREFIX before including this header. */
#ifndef LOG_PREFIX
#define LOG_PREFIX "torpor"
#endif

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format {
	LOG_TEXT,        /* level and prefix before the message */
	LOG_JSON,        /* {"level":…,"msg":…,"time":…}, as runc and crun write it */
	LOG_TIMESTAMPED, /* "(SS.UUUUUU) " since the sink was opened, as CRIU's log files have it */
};

/* Sends what follows to fd, which the caller keeps open (the default is stderr, text, warnings). */
void log_open(int fd, enum log_format format, enum log_level level);
void log_set_level(enum log_level level);
/* From here on every message also goes to fd, with CRIU's time stamps and everything included (a dump.log); -1: no longer. While it
 * is set, log_trail_tee() puts the error trail there without clearing it. */
void log_tee(int fd);
void log_trail_tee(void);
int log_swap(int fd);       /* the same sink on another descriptor; returns the one before */
bool log_enabled(enum log_level level);
int log_fd(void);
int log_tee_fd(void);   /* -1: none */

void log_write(enum log_level level, const char *prefix, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
#define log_error(...) log_write(LOG_LEVEL_ERROR, LOG_PREFIX, __VA_ARGS__)
#define log_warn(...) log_write(LOG_LEVEL_WARN, LOG_PREFIX, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, LOG_PREFIX, __VA_ARGS__)
#define log_debug(...) (log_enabled(LOG_LEVEL_DEBUG) ? log_write(LOG_LEVEL_DEBUG, LOG_PREFIX, __VA_ARGS__) : (void)0)

/* Prints the error trail, root cause first: to the sink as one error message (lines joined by "; " in JSON, one line each
 * in text), and, when the sink is not stderr, to stderr as text lines as well. Clears the trail. */
void log_trail(void);

#endif
