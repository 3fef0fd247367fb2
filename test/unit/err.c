/* SPDX-License-Identifier: Apache-2.0 */
/* The error trail and what is printed of it. */
#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "harness.h"

static void root_cause_first(void)
{
	CHECK_EQ(fail(ENOENT, "open image %s", "core-1.img"), -ENOENT);
	CHECK_EQ(fail_text(EINVAL, "restore of task %d", 7), -EINVAL);
	fail_hint("take another directory");
	CHECK_EQ(err_count(), 3);
	CHECK_STR(err_line(0), "open image core-1.img: No such file or directory");
	CHECK_STR(err_line(1), "restore of task 7");
	CHECK_STR(err_line(2), "take another directory");
	CHECK(!err_line(3));
	CHECK_EQ(fail(0, "no number"), -EINVAL);
	CHECK_STR(err_line(3), "no number");
	err_clear();
	CHECK_EQ(err_count(), 0);
}

static void handled_failure(void)
{
	fail(EIO, "one");
	size_t mark = err_mark();
	fail(EIO, "two");
	err_rewind(mark);
	CHECK_EQ(err_count(), 1);
	CHECK_HAS(err_line(0), "one");
}

static void bounded(void)
{
	char text[5000];

	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = 0;
	fail(EIO, "first %s", text);
	for (int i = 0; i < 100; i++)
		fail(EIO, "line %d", i);
	CHECK(err_count() < 100);
	CHECK(strlen(err_line(0)) < 2000 && str_starts(err_line(0), "first xx"));
}

static void between_processes(void)
{
	int p[2];

	CHECK(pipe(p) == 0);
	fail(EBUSY, "in the child");
	fail_hint("wait");
	CHECK_OK(err_send(p[1]));
	err_clear();
	fail(EIO, "before");
	CHECK_OK(err_recv(p[0]));
	CHECK_EQ(err_count(), 3);
	CHECK_HAS(err_line(1), "in the child: ");
	CHECK_STR(err_line(2), "wait");
	close(p[1]);
	CHECK_EQ(err_recv(p[0]), -ENODATA);
}

static char *logged(enum log_format format)
{
	static char text[4096];
	autoclose int fd = memfd_create("log", MFD_CLOEXEC);

	memset(text, 0, sizeof text);
	log_open(fd, format, LOG_LEVEL_INFO);
	log_info("with \"quotes\" and %d", 3);
	log_debug("not shown");
	CHECK(pread(fd, text, sizeof text - 1, 0) > 0);
	log_open(2, LOG_TEXT, LOG_LEVEL_WARN);
	return text;
}

static void log_formats(void)
{
	CHECK_HAS(logged(LOG_TEXT), "with \"quotes\" and 3\n");
	char *json = logged(LOG_JSON);
	CHECK_HAS(json, "\"msg\":\"");
	CHECK_HAS(json, "with \\\"quotes\\\" and 3\"");
	CHECK_HAS(json, "\"level\":\"info\"");
	CHECK(!strstr(json, "not shown"));
	CHECK_HAS(logged(LOG_TIMESTAMPED), "(00.");
}

const struct test tests[] = {
	TEST(root_cause_first), TEST(handled_failure), TEST(bounded), TEST(between_processes), TEST(log_formats), {},
};
