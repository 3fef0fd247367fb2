/* SPDX-License-Identifier: Apache-2.0 */
/* Cgroups: where they are, the eBPF device program, freezing, killing and removing on the layout of this machine. */
#include "cgroup/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "cgroup/internal.h"
#include "harness.h"

static struct arena arena;
static struct spec_pairs groups;

static void need_cgroups(void)
{
	if (geteuid() != 0)
		test_skip("needs root");
	if (cgroup_host_layout() == CGROUP_NONE)
		test_skip("no cgroups are mounted");
	if (access(cgroup_host_layout() == CGROUP_V2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory", W_OK) < 0)
		test_skip("cgroups cannot be written here");
}

static char *base(void)
{
	const char *test = getenv("TEST_CGROUP");
	return arena_str(&arena, test ? test : "/torpor-test");
}

static void plan(const char *path)
{
	struct spec s = { .cgroups_path = arena_str(&arena, path) };
	CHECK_OK(cgroup_plan(&arena, &s, "id", &groups));
}

static void paths(void)
{
	need_cgroups();
	plan("/a//b/./c/");
	CHECK(groups.n > 0);
	for (size_t i = 0; i < groups.n; i++)
		CHECK(str_ends(groups.data[i].value, "/a/b/c"));
	plan("x");
	CHECK(str_ends(groups.data[0].value, "/torpor/x"));
	plan("");
	CHECK(str_ends(groups.data[0].value, "/torpor/id"));
	struct spec up = { .cgroups_path = arena_str(&arena, "/a/../b") }, root = { .cgroups_path = arena_str(&arena, "//") };
	CHECK_EQ(cgroup_plan(&arena, &up, "id", &groups), -EINVAL);
	CHECK_EQ(cgroup_plan(&arena, &root, "id", &groups), -EINVAL);
}

/* A child in the group that runs a function and exits with its result. */
static pid_t inside(int (*run)(void))
{
	char path[PATH_MAX];
	int sync[2];
	CHECK(pipe2(sync, O_CLOEXEC) == 0);
	pid_t pid = fork();
	if (pid == 0) {
		const char *unified = cgroup_path(&groups, "");
		snprintf(path, sizeof path, "%s/cgroup.procs", unified ? unified : "");
		if (cgroup_join(&groups, NULL) < 0 || (unified && file_write(AT_FDCWD, path, "0") < 0))
			_exit(99);
		close(sync[1]);
		_exit(run());
	}
	close(sync[1]);
	char byte;
	CHECK_EQ(read(sync[0], &byte, 1), 0);
	close(sync[0]);
	return pid;
}

static int status_of(pid_t pid)
{
	int status;
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int wait_for_ever(void)
{
	while (pause() < 0)
		;
	return 0;
}

static int fork_for_ever(void)
{
	if (fork() == 0)
		return wait_for_ever();
	for (;;) {
		pid_t pid = fork();
		if (pid == 0)
			_exit(0);
		waitpid(pid, NULL, 0);
	}
}

static void life(void)
{
	static const struct spec_resources none;
	autofree pid_t *pids = NULL;

	need_cgroups();
	plan(base());
	CHECK_OK(cgroup_create(&groups, &none, false));
	CHECK_EQ(cgroup_pids(&groups, &pids), 0);
	pid_t pid = inside(wait_for_ever);
	CHECK_EQ(cgroup_pids(&groups, &pids), 1);
	CHECK_EQ(pids[0], pid);
	CHECK_EQ(cgroup_create(&groups, &none, false), -EBUSY);
	CHECK_HAS(err_line(err_count() - 2), "has processes already");
	err_clear();
	CHECK_OK(cgroup_freeze(&groups, true));
	CHECK_EQ(cgroup_frozen(&groups), 1);
	CHECK_OK(cgroup_freeze(&groups, false));
	CHECK_EQ(cgroup_frozen(&groups), 0);
	CHECK_OK(cgroup_kill(&groups, SIGTERM));
	CHECK_EQ(status_of(pid), 128 + SIGTERM);
	pid = inside(fork_for_ever);
	CHECK_OK(cgroup_kill(&groups, SIGKILL));
	CHECK_EQ(status_of(pid), 128 + SIGKILL);
	CHECK_OK(cgroup_remove(&groups));
	CHECK_OK(cgroup_remove(&groups));   /* missing is fine */
	for (size_t i = 0; i < groups.n; i++)
		CHECK(access(groups.data[i].value, F_OK) < 0);
}

static void limits(void)
{
	struct spec_resources r = { .has_pids_limit = true, .pids_limit = 17, .has_memory_limit = true, .memory_limit = 64 << 20 };
	autofree char *text = NULL;
	char path[PATH_MAX];

	need_cgroups();
	plan(base());
	CHECK_OK(cgroup_create(&groups, &r, false));
	bool v2 = cgroup_host_layout() == CGROUP_V2;
	snprintf(path, sizeof path, "%s/pids.max", cgroup_path(&groups, v2 ? "" : "pids"));
	CHECK(file_read(AT_FDCWD, path, &text, 100) > 0);
	CHECK_STR(text, "17\n");
	struct spec_resources more = { .has_pids_limit = true, .pids_limit = -1 };
	CHECK_OK(cgroup_apply(&groups, &more, NULL));
	free_pointer(&text);
	CHECK(file_read(AT_FDCWD, path, &text, 100) > 0);
	CHECK_STR(text, "max\n");
	CHECK_OK(cgroup_remove(&groups));
	struct spec_resources bad = { .has_cpu_quota = true, .cpu_quota = 1 };
	struct spec s = { .cgroups_path = base(), .resources = bad };
	CHECK_OK(cgroup_plan(&arena, &s, "id", &groups));
	CHECK(cgroup_create(&groups, &bad, false) < 0);
	CHECK_HAS(err_line(0), "linux.resources.cpu.quota");
	for (size_t i = 0; i < groups.n; i++)
		CHECK(access(groups.data[i].value, F_OK) < 0);
}

/* 1: /dev/null could be read, 2: written; 4: /dev/kmsg read (1:11); 8: a node made */
static int try_devices(void)
{
	char node[PATH_MAX];
	int done = 0;
	snprintf(node, sizeof node, "%s/node", test_dir());
	if (open("/dev/null", O_RDONLY) >= 0)
		done |= 1;
	if (open("/dev/null", O_WRONLY) >= 0)
		done |= 2;
	if (open("/dev/kmsg", O_RDONLY) >= 0)
		done |= 4;
	if (mknod(node, S_IFCHR | 0600, makedev(1, 11)) == 0)
		done |= 8;
	unlink(node);
	return done;
}

static int with_rules(const struct spec_device_rule *rules, size_t n)
{
	struct spec_resources r = { .n_devices = n };
	r.devices = mem_dup(rules, n * sizeof *rules);
	CHECK_OK(cgroup_bpf_devices(cgroup_path(&groups, ""), &r));
	int done = status_of(inside(try_devices));
	free(r.devices);
	return done;
}

static void device_program(void)
{
	char rwm[] = "rwm", read_only[] = "r";
	struct spec_device_rule all = { true, 'a', -1, -1, rwm }, none = { false, 'a', -1, -1, rwm }, kmsg = { true, 'c', 1, 11, read_only },
				no_kmsg = { false, 'c', 1, 11, read_only };

	need_cgroups();
	plan(base());
	if (!cgroup_path(&groups, ""))
		test_skip("no cgroup2 is mounted");
	groups = (struct spec_pairs){ .data = groups.data, .n = 1 };   /* only cgroup2, which is first */
	CHECK_EQ(cgroup_mkdir(groups.data[0].value, NULL, &(bool){ false }), 0);
	if (access("/dev/kmsg", R_OK) < 0)
		test_skip("/dev/kmsg cannot be read");
	CHECK_EQ(with_rules(NULL, 0), 1 | 2 | 8);
	CHECK_EQ(with_rules(&all, 1), 1 | 2 | 4 | 8);
	CHECK_EQ(with_rules(&none, 1), 1 | 2 | 8);
	CHECK_EQ(with_rules(&kmsg, 1), 1 | 2 | 4 | 8);
	CHECK_EQ(with_rules((struct spec_device_rule[]){ all, no_kmsg }, 2), 1 | 2 | 8);
	CHECK_EQ(with_rules((struct spec_device_rule[]){ no_kmsg, all }, 2), 1 | 2 | 4 | 8);
	CHECK_OK(cgroup_remove(&groups));
}

const struct test tests[] = { TEST(paths), TEST(life), TEST(limits), TEST(device_program), {} };
