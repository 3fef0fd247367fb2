/* SPDX-License-Identifier: Apache-2.0 */
/* Reading /proc, and whole files. */
#include "base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "harness.h"

static void stat_line(void)
{
	struct proc_stat s;
	const char *line = "4242 (a) R (b c) S 7 8 9 34816 8 4194560 100 0 0 0 1 2 0 0 20 -5 3 0 123456 1000000 100 "
			   "18446744073709551615 94000 95000 140000 0 0 0 0 4096 81921 0 0 0 17 1 0 0 0 0 0 96000 97000 98000 141000 "
			   "141010 141010 141020 256\n";

	CHECK_OK(proc_stat_parse(line, &s));
	CHECK_STR(s.comm, "a) R (b c");
	CHECK_EQ(s.state, 'S');
	CHECK_EQ(s.ppid, 7);
	CHECK_EQ(s.pgrp, 8);
	CHECK_EQ(s.session, 9);
	CHECK_EQ(s.tty_nr, 34816);
	CHECK_EQ(s.nice, -5);
	CHECK_EQ(s.starttime, 123456);
	CHECK_EQ(s.start_code, 94000);
	CHECK_EQ(s.end_code, 95000);
	CHECK_EQ(s.start_stack, 140000);
	CHECK_EQ(s.start_data, 96000);
	CHECK_EQ(s.start_brk, 98000);
	CHECK_EQ(s.env_end, 141020);
	CHECK_EQ(s.exit_code, 256);
	CHECK(proc_stat_parse("4242 (x", &s) < 0);
	CHECK(proc_stat_parse("", &s) < 0);
	CHECK(proc_stat_parse("1 (x) S 1 2", &s) < 0);
}

static void own_stat(void)
{
	struct proc_stat s;

	CHECK(prctl(PR_SET_NAME, "na me) \n(") == 0);
	CHECK_OK(proc_stat_read(getpid(), &s));
	CHECK_STR(s.comm, "na me) \n(");
	CHECK_EQ(s.ppid, getppid());
	CHECK_EQ(proc_stat_read(0x3fffffff, &s), -ENOENT);
}

static void fields(void)
{
	const char *text = "Name:\tx\nNSpid:\t77\t1\nCapEff:\t000001ffffffffff\nSigQ:\t3/100\n";
	uint64_t v;

	CHECK_HAS(proc_field(text, "NSpid"), "77\t1\n");
	CHECK(!proc_field(text, "pid") && !proc_field(text, "Cap"));
	CHECK(proc_field_u64(text, "CapEff", 16, &v));
	CHECK(v == 0x1ffffffffff);
	CHECK(!proc_field_u64(text, "Nope", 10, &v));
}

static void numbers_and_links(void)
{
	int *list = NULL;
	ssize_t n = CHECK_OK(proc_numbers(getpid(), "fd", &list));
	autofree char *exe = NULL;
	uint64_t inode;

	CHECK(n >= 3);
	for (ssize_t i = 1; i < n; i++)
		CHECK(list[i - 1] < list[i]);
	free_pointer(&list);
	CHECK_OK(proc_readlink(getpid(), "exe", &exe));
	CHECK_HAS(exe, "test/unit/proc");
	CHECK_OK(proc_ns_inode(getpid(), "net", &inode));
	CHECK(inode > 0);
	CHECK_EQ(proc_readlink(getpid(), "fd/9999", &exe), -ENOENT);
}

static void children(void)
{
	pid_t *list = NULL, child[3];

	for (int i = 0; i < 3; i++)
		if ((child[i] = fork()) == 0)
			for (;;)
				pause();
	ssize_t n = proc_children(getpid(), &list);
	for (int i = 0; i < 3; i++)
		kill(child[i], SIGKILL), waitpid(child[i], NULL, 0);
	CHECK_EQ(n, 3);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(list[i], child[i]);
	free_pointer(&list);
}

static void whole_files(void)
{
	autoclose int dir = open(test_dir(), O_PATH | O_DIRECTORY | O_CLOEXEC);
	autofree char *text = NULL;
	struct stat st;

	CHECK_OK(file_replace(dir, "state", "one", 3, 0600));
	CHECK_OK(file_replace(dir, "state", "second", 6, 0640));
	CHECK_EQ(file_read(dir, "state", &text, 100), 6);
	CHECK_STR(text, "second");
	CHECK(fstatat(dir, "state", &st, 0) == 0);
	CHECK_EQ(st.st_mode & 0777, 0640);
	free_pointer(&text);
	CHECK_EQ(file_read(dir, "state", &text, 5), -EFBIG);
	CHECK_EQ(file_read(dir, "none", &text, 5), -ENOENT);
	CHECK(file_replace(dir, "no/such", "x", 1, 0600) < 0);
	autofree char *early = str_printf("state.tmp.%d", getpid()), *kept = NULL;
	CHECK_OK(file_swap(dir, "other", "x", 1, 0600));
	CHECK(symlinkat("other", dir, early) == 0);
	CHECK_OK(file_swap(dir, "state", "third", 5, 0600));   /* not through somebody's link */
	CHECK_EQ(file_read(dir, "other", &kept, 100), 1);
	CHECK(faccessat(dir, early, F_OK, AT_SYMLINK_NOFOLLOW) < 0);
}

static void passing_descriptors(void)
{
	int pair[2], sent[3] = { 0, 1, 2 }, got[8];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	CHECK_OK(fd_send(pair[0], sent, 3));
	CHECK_EQ(fd_recv(pair[1], got, 8), 3);
	CHECK(fcntl(got[0], F_GETFD) & FD_CLOEXEC);
	close(pair[0]);
	CHECK_EQ(fd_recv(pair[1], got, 8), -ENODATA);
}

const struct test tests[] = {
	TEST(stat_line), TEST(own_stat), TEST(fields), TEST(numbers_and_links), TEST(children), TEST(whole_files),
	TEST(passing_descriptors), {},
};
