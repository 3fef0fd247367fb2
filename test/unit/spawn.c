/* SPDX-License-Identifier: Apache-2.0 */
/* The husk that restore works on: where it waits, what it holds, that it ends with the runtime, and what a failure leaves. */
#include "init/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/proc.h"
#include "cgroup/cgroup.h"
#include "harness.h"

static struct container *c;
static struct spec *spec;
static char calls[8];

static void setup(const char *mounts)
{
	const char *group = getenv("TEST_CGROUP");

	if (geteuid() != 0)
		test_skip("needs root");
	if (cgroup_host_layout() == CGROUP_NONE)
		test_skip("no cgroups are mounted");
	autofree char *root = str_printf("%s/rootfs", test_dir()), *state = str_printf("%s/state", test_dir());
	autofree char *text = str_printf("{\"ociVersion\":\"1.1.0\",\"root\":{\"path\":\"rootfs\"},\"process\":{\"args\":[\"x\"],\"cwd\":\"/\"},"
					 "\"hostname\":\"husk\",\"mounts\":[%s],\"linux\":{\"cgroupsPath\":\"%s/husk\","
					 "\"namespaces\":[{\"type\":\"pid\"},"
					 "{\"type\":\"mount\"},{\"type\":\"uts\"},{\"type\":\"network\"}]}}",
		mounts, group ? group : "/torpor-test");
	mkdir(root, 0755);
	CHECK_OK(spec_parse(test_dir(), NULL, text, strlen(text), &spec));
	CHECK_OK(container_new(state, "husk", spec, &c));
}

static int before(void *arg)
{
	strcat(arg, "b");
	return 0;
}

static int after(void *arg)
{
	strcat(arg, "a");
	return 0;
}

static int spawn(pid_t set_pid, pid_t *pid, int *park)
{
	struct oci_spawn_options o = {
		.restore = true, .set_pid = set_pid, .before_clone = before, .after_clone = after, .arg = calls, .park_fd = park,
	};
	return oci_spawn_init(c, spec, &o, pid);
}

static void waits_and_ends(void)
{
	autofree char *status = NULL;
	autofree int *fds = NULL;
	pid_t pid;
	int park = -1;

	setup("");
	CHECK_OK(spawn(1, &pid, &park));
	CHECK_STR(calls, "ba");
	CHECK_EQ(container_init_pid(c), pid);
	CHECK(proc_read(pid, "status", &status) > 0);
	CHECK_HAS(status, "\t1\n");   /* NSpid */
	ssize_t n = proc_numbers(pid, "fd", &fds);
	CHECK(n >= 1 && n <= 4);
	CHECK(n < 3 || fds[2] <= 2);
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	CHECK(kill(pid, SIGCHLD) == 0);   /* a signal that nobody handles changes nothing */
	CHECK_EQ(poll(&p, 1, 50), 0);
	close(park);
	CHECK_EQ(poll(&p, 1, 60000), 1);
	CHECK_OK(oci_spawn_undo(c));
	for (size_t i = 0; i < c->cgroups.n; i++)
		CHECK(access(c->cgroups.data[i].value, F_OK) < 0);
	CHECK_OK(container_remove(c));
}

static void undone(void)
{
	pid_t pid;
	int park = -1;

	setup("");
	CHECK_OK(spawn(0, &pid, &park));
	CHECK_OK(oci_spawn_undo(c));
	CHECK(kill(pid, 0) < 0 && errno == ESRCH);
	CHECK_OK(container_remove(c));
}

static void fails_and_leaves_nothing(void)
{
	pid_t pid = -1;
	int park = -1;

	setup("{\"destination\":\"/x\",\"type\":\"tmpfs\",\"source\":\"x\",\"options\":[\"size=much\"]}");
	CHECK(spawn(0, &pid, &park) < 0);
	CHECK_HAS(err_line(0), "mount /x: option \"size=much\"");
	CHECK_STR(calls, "ba");
	CHECK_EQ(pid, -1);
	CHECK_EQ(park, -1);
	CHECK_EQ(waitpid(-1, NULL, WNOHANG), -1);   /* no child is left */
	err_clear();
	CHECK(spawn(7, &pid, &park) < 0);
	CHECK_HAS(err_line(0), "it can only be 1");
	for (size_t i = 0; i < c->cgroups.n; i++)
		CHECK(access(c->cgroups.data[i].value, F_OK) < 0);
	CHECK_OK(container_remove(c));
}

const struct test tests[] = { TEST(waits_and_ends), TEST(undone), TEST(fails_and_leaves_nothing), {} };
