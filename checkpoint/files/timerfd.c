/* SPDX-License-Identifier: Apache-2.0 */
/* timerfd_create(2): clock, remaining time, interval and expirations that were not read are in fdinfo (since 3.17).
 *
 * The remaining time goes on where it stopped. A timer that was set to an absolute time (TFD_TIMER_ABSTIME) is set to an absolute one
 * again, now plus what remained, so that later steps of that clock move it (or cancel it) as before. Expirations that nobody has
 * read are put back with the ioctl TFD_IOC_SET_TICKS (CONFIG_CHECKPOINT_RESTORE). Timers are armed last (finish). */
#include "files/timerfd.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/proc.h"
#include "base/str.h"

#ifndef TFD_IOC_SET_TICKS
#define TFD_IOC_SET_TICKS _IOW('T', 0, uint64_t)
#endif
#define NS_PER_S 1000000000u

static bool timerfd_match(const struct file_info *f)
{
	return strcmp(f->link, "anon_inode:[timerfd]") == 0;
}

static bool read_time(const char *text, const char *key, uint64_t *seconds, uint64_t *nanoseconds)
{
	const char *at = proc_field(text, key);

	return at && sscanf(at, "(%" SCNu64 ", %" SCNu64 ")", seconds, nanoseconds) == 2;
}

/* An interval timer that has expired stands still until somebody reads it or asks for its time: fdinfo shows no remaining time and
 * one expiration. Asking makes it go on by its interval, as the program would see it. */
static int wake_up(const struct file_info *f, TimerfdEntry *t)
{
	struct itimerspec now;
	char name[64];
	autofree char *text = NULL;

	if (timerfd_gettime(f->local, &now) < 0)
		return fail(errno, FILE_FMT ": ask for its time", FILE_ARG(f));
	t->vsec = (uint64_t)now.it_value.tv_sec;
	t->vnsec = (uint64_t)now.it_value.tv_nsec;
	snprintf(name, sizeof name, "fdinfo/%d", f->local);
	ssize_t n = proc_read(getpid(), name, &text);
	if (n < 0 || !proc_field_u64(text, "ticks", 10, &t->ticks))
		return fail(n < 0 ? (int)-n : EPROTO, FILE_FMT ": read its expirations", FILE_ARG(f));
	return 0;
}

static int timerfd_dump(struct dump *d, const struct file_info *f, FileEntry *e)
{
	TimerfdEntry *t = e->tfd = ARENA_MESSAGE(d->arena, TimerfdEntry, TIMERFD_ENTRY__INIT);
	uint64_t clockid, flags;

	t->id = e->id;
	t->flags = f->flags;
	if (!proc_field_u64(f->fdinfo, "clockid", 10, &clockid) || !proc_field_u64(f->fdinfo, "ticks", 10, &t->ticks) ||
	    !proc_field_u64(f->fdinfo, "settime flags", 8, &flags) || !read_time(f->fdinfo, "it_value", &t->vsec, &t->vnsec) ||
	    !read_time(f->fdinfo, "it_interval", &t->isec, &t->insec))
		return fail_text(EPROTO, FILE_FMT ": the timer is not in fdinfo", FILE_ARG(f));
	t->clockid = (uint32_t)clockid;
	t->settime_flags = (uint32_t)flags;
	int r = !t->vsec && !t->vnsec && (t->isec || t->insec) ? wake_up(f, t) : 0;
	return r < 0 ? r : file_fown(d, f, &t->fown);
}

/* --- restore --- */

static int timerfd_open(struct restore *r, const FileEntry *e)
{
	const TimerfdEntry *t = e->tfd;

	(void)r;
	if (t->vnsec >= NS_PER_S || t->insec >= NS_PER_S || t->vsec > INT64_MAX / NS_PER_S || t->isec > INT64_MAX / NS_PER_S)
		return fail_text(EBADMSG, ENTRY_FMT ": its times are out of range", ENTRY_ARG(e));
	autoclose int fd = timerfd_create((clockid_t)t->clockid, TFD_CLOEXEC);
	if (fd < 0)
		return fail(errno, ENTRY_FMT ": make it for clock %u", ENTRY_ARG(e), t->clockid);
	int ret = file_set_flags(e, fd, t->flags);
	return ret < 0 ? ret : take_fd(&fd);
}

static int arm(const FileEntry *e, int fd)
{
	const TimerfdEntry *t = e->tfd;
	struct itimerspec value = { .it_interval = { (time_t)t->isec, (long)t->insec }, .it_value = { (time_t)t->vsec, (long)t->vnsec } };
	struct timespec now;

	if (!t->vsec && !t->vnsec)
		value.it_value = value.it_interval;
	if (t->settime_flags & TFD_TIMER_ABSTIME) {
		if (clock_gettime((clockid_t)t->clockid, &now) < 0)
			return fail(errno, ENTRY_FMT ": read clock %u", ENTRY_ARG(e), t->clockid);
		value.it_value.tv_sec += now.tv_sec;
		value.it_value.tv_nsec += now.tv_nsec;
		if (value.it_value.tv_nsec >= (long)NS_PER_S) {
			value.it_value.tv_nsec -= (long)NS_PER_S;
			value.it_value.tv_sec++;
		}
	}
	if (timerfd_settime(fd, (int)t->settime_flags, &value, NULL) < 0)
		return fail(errno, ENTRY_FMT ": set it", ENTRY_ARG(e));
	return 0;
}

/* CRIU stores an expired interval timer as it stands, without remaining time: the best that can be done is the next interval. */
static bool armed(const TimerfdEntry *t)
{
	return t->vsec || t->vnsec || (t->ticks && (t->isec || t->insec));
}

static int timerfd_finish(struct restore *r, const FileEntry *e, int fd)
{
	const TimerfdEntry *t = e->tfd;
	int ret = armed(t) ? arm(e, fd) : 0;

	(void)r;
	if (ret >= 0 && t->ticks && ioctl(fd, TFD_IOC_SET_TICKS, &t->ticks) < 0)
		return fail(errno, ENTRY_FMT ": put back its %" PRIu64 " expirations", ENTRY_ARG(e), t->ticks);
	return ret;
}

const struct file_kind timerfd_kind = {
	.name = "timerfd",
	.type = FD_TYPES__TIMERFD,
	.match = timerfd_match,
	.dump = timerfd_dump,
	.open = timerfd_open,
	.finish = timerfd_finish,
};
