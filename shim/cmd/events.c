/* SPDX-License-Identifier: Apache-2.0 */
/* events: one JSON object a line: statistics at an interval (or once, with --stats), and a line each time the container is out of memory. It
 * ends with the container's first process; what that process's end itself says (killed for want of memory) comes before. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "cgroup/stats.h"
#include "cmd/cmd.h"
#include "container/container.h"
#include "spec/json.h"

/* "5s", "1m30s", "100ms", "1.5h" in milliseconds, rounded up; -EINVAL. */
int64_t shim_duration(const char *text)
{
	static const struct {
		const char *name;
		double ms;
	} units[] = { { "ns", 1e-6 }, { "us", 1e-3 }, { "µs", 1e-3 }, { "ms", 1 }, { "s", 1e3 }, { "m", 6e4 }, { "h", 3.6e6 } };
	double sum = 0;

	if (!*text)
		return -EINVAL;
	while (*text) {
		size_t digits = strspn(text, "0123456789."), unit = 0;
		if (!digits || digits > 15)
			return -EINVAL;
		double number = strtod(text, NULL);
		text += digits;
		size_t letters = strcspn(text, "0123456789.");
		while (unit < sizeof units / sizeof *units && (strlen(units[unit].name) != letters || strncmp(units[unit].name, text, letters) != 0))
			unit++;
		if (unit == sizeof units / sizeof *units)
			return -EINVAL;
		sum += number * units[unit].ms;
		text += letters;
	}
	if (sum > 1e12)
		return -EINVAL;
	int64_t whole = (int64_t)sum;
	return whole < sum ? whole + 1 : whole;
}

static int print_event(struct container *c, const char *type)
{
	struct json_out o = { 0 };
	int r = 0;

	json_open_object(&o, NULL);
	json_add_string(&o, "type", type);
	json_add_string(&o, "id", container_id(c));
	if (!strcmp(type, "stats"))
		r = container_stats_json(c, &o);
	json_close_object(&o);
	autofree char *text = json_take(&o);
	if (r < 0)
		return r;
	puts(text);
	return fflush(stdout) == EOF ? fail(errno, "write an event") : 0;
}

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int print_oom(struct container *c, struct cgroup_oom *oom)
{
	int n = cgroup_oom_count(oom), r = n < 0 ? n : 0;

	for (; n > 0 && r == 0; n--)
		r = print_event(c, "oom");
	return r;
}

/* 1: its first process has ended. A container that goes while it is asked is at its end too. */
static int wait_tick(struct container *c, struct cgroup_oom *oom, int pidfd, int64_t until)
{
	struct pollfd p[] = { { .fd = oom->fd, .events = POLLIN }, { .fd = pidfd, .events = POLLIN }, { .fd = STDOUT_FILENO } };

	for (;;) {
		int64_t left = until - now_ms();
		int r = poll(p, 3, left > 3600000 ? 3600000 : left > 0 ? (int)left : 0);
		if (r < 0 && errno != EINTR)
			return fail(errno, "wait for events");
		int done = r > 0 ? print_oom(c, oom) : 0;
		if (done < 0)
			return done == -ENOENT ? 1 : done;
		if (r > 0 && (p[1].revents || p[2].revents & (POLLERR | POLLHUP | POLLNVAL)))
			return 1;
		if (left <= 0)
			return 0;
	}
}

/* 1: its groups have gone meanwhile, as its first process has. */
static int print_stats(struct container *c, int pidfd)
{
	struct pollfd end = { .fd = pidfd, .events = POLLIN };
	size_t mark = err_mark();
	int r = print_event(c, "stats");

	if (r >= 0 || poll(&end, 1, 0) <= 0)
		return r;
	err_rewind(mark);
	return 1;
}

static int follow(struct container *c, int pidfd, int64_t interval)
{
	struct cgroup_oom oom;
	int r = cgroup_oom_open(&c->cgroups, &oom);

	for (int64_t next = now_ms() + interval; r == 0; next += interval) {
		r = wait_tick(c, &oom, pidfd, next);
		if (r == 0)
			r = print_stats(c, pidfd);
		if (next < now_ms())   /* what could not be kept up with is left out */
			next = now_ms();
	}
	fd_close(&oom.fd);
	return r > 0 ? 0 : r;
}

int shim_events(struct shim_call *c)
{
	struct container *container;
	int64_t interval = c->o->interval ? shim_duration(c->o->interval) : 5000;

	if (interval <= 0)
		return fail_text(EINVAL, "--interval %s: expected a duration above 0, such as 5s or 1m30s", c->o->interval);
	int r = container_open(&c->oci, c->argv[0], &container);
	if (r < 0)
		return r;
	autoclose int pidfd = (int)syscall(SYS_pidfd_open, container_init_pid(container), 0);
	if (container_status(container) == OCI_STOPPED || pidfd < 0)
		r = fail_text(ESRCH, "container not running: %s", container_id(container));
	else
		r = c->o->stats ? print_event(container, "stats") : follow(container, pidfd, interval);
	container_free(container);
	return r;
}
