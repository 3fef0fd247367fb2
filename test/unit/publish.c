/* SPDX-License-Identifier: Apache-2.0 */
/* Events that wait for containerd: which of them are lost when there are too many, or when the shim ends, and that the log says so. */
#include "containerd/publish.c"

#include <fcntl.h>
#include <sys/mman.h>

#include "harness.h"

static int log_file;

static void begin(void)
{
	autofree char *path = str_printf("unix://%s/nobody", test_dir());

	log_file = memfd_create("log", MFD_CLOEXEC);
	log_open(log_file, LOG_TEXT, LOG_LEVEL_INFO);
	CHECK_OK(loop_begin());
	publish_begin(str_dup(path), "ns");
}

static void tell_exit(const char *id)
{
	Events__TaskExit e = EVENTS__TASK_EXIT__INIT;
	static char container[] = "c";
	autofree char *copy = str_dup(id);

	e.container_id = container;
	e.id = copy;
	publish("/tasks/exit", "TaskExit", &e.base);
}

static void tell_added(unsigned n)
{
	Events__TaskExecAdded e = EVENTS__TASK_EXEC_ADDED__INIT;
	static char container[] = "c";
	autofree char *id = str_printf("e%u", n);

	e.container_id = container;
	e.exec_id = id;
	publish("/tasks/exec-added", "TaskExecAdded", &e.base);
}

static char *logged(void)
{
	off_t size = lseek(log_file, 0, SEEK_END);
	char *text = mem_zalloc((size_t)size + 1);

	CHECK_EQ(pread(log_file, text, (size_t)size, 0), size);
	return text;
}

static size_t count(const char *text, const char *part)
{
	size_t n = 0;

	while ((text = strstr(text, part))) {
		text += strlen(part);
		n++;
	}
	return n;
}

/* Ends are kept before others, the newest before the oldest. */
static void full_queue(void)
{
	begin();
	tell_exit("c");
	for (unsigned n = 0; n < QUEUE_MAX + 5; n++)
		tell_added(n);
	tell_exit("last");
	autofree char *text = logged();
	CHECK_EQ(bus.n, QUEUE_MAX);
	CHECK_EQ(count(text, "lost: "), 7);
	CHECK_HAS(text, "lost: /tasks/exec-added of container c, e0\n");
	CHECK_HAS(text, "lost: /tasks/exec-added of container c, e6\n");
	CHECK_STR(bus.first->what, "/tasks/exit of container c");
	CHECK_STR(bus.first->next->what, "/tasks/exec-added of container c, e7");
	struct event *e = bus.first;
	while (e->next)
		e = e->next;
	CHECK_STR(e->what, "/tasks/exit of container c, last");
	CHECK(bus.last == &e->next);
}

static void full_of_ends(void)
{
	begin();
	tell_exit("c");
	for (unsigned n = 1; n < QUEUE_MAX; n++)
		tell_exit("e");
	tell_added(0);   /* it is the one to go */
	CHECK_EQ(bus.n, QUEUE_MAX);
	CHECK(*bus.last == NULL);
	tell_exit("e");
	autofree char *text = logged();
	CHECK_EQ(bus.n, QUEUE_MAX);
	CHECK_EQ(count(text, "lost: "), 2);
	CHECK_HAS(text, "lost: /tasks/exec-added of container c, e0\n");
	CHECK_HAS(text, "lost: /tasks/exit of container c\n");
}

static void the_end(void)
{
	begin();
	tell_added(1);
	tell_exit("c");
	publish_drain(10, loop_end);
	CHECK_OK(loop_run());
	autofree char *text = logged();
	CHECK_EQ(count(text, "lost: "), 2);
	CHECK_HAS(text, "lost: /tasks/exec-added of container c, e1\n");
	CHECK_HAS(text, "lost: /tasks/exit of container c\n");
}

/* Somebody is there, who does not answer: that takes four times as long. */
static void slow(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	begin();
	strcpy(at.sun_path, bus.address + 7);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(bind(fd, (struct sockaddr *)&at, sizeof at) == 0 && listen(fd, 1) == 0);
	tell_exit("c");
	CHECK(bus.under_way);
	publish_drain(5, loop_end);
	CHECK_OK(loop_run());
	autofree char *text = logged();
	CHECK_EQ(bus.patience, 0);
	CHECK_EQ(count(text, "lost: /tasks/exit of container c\n"), 1);
	close(fd);
}

const struct test tests[] = { TEST(full_queue), TEST(full_of_ends), TEST(the_end), TEST(slow), {} };
