/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file creation mask and the current directory of a process; a child with another mask, another directory and a
 * root directory of its own (chroot).
 */
#include "cr.h"

static void expect_cwd(const char *who, const char *wanted)
{
	char path[PATH_MAX] = "";

	expect(getcwd(path, sizeof(path)) && !strcmp(path, wanted), "%s: current directory '%s' instead of '%s'", who, path,
	       wanted);
}

static void expect_mask(const char *who, mode_t wanted)
{
	mode_t mask = umask(0);

	expect(mask == wanted, "%s: umask %04o instead of %04o", who, mask, wanted);
}

static int child(void *arg)
{
	(void)arg;
	umask(0137);
	need(mkdir(cr_path("jail"), 0755) == 0 || errno == EEXIST);
	/* The protocol's files stay in reach: DIR is bound to nothing, it is the root itself. */
	need(chroot(cr_dir) == 0 && chdir("/jail") == 0);
	cr_dir[0] = 0;
	cr_child_ready();
	cr_wait_go();
	expect_cwd("child", "/jail");
	expect_mask("child", 0137);
	expect(access("/ready", F_OK) == 0, "child: another root directory");
	return 0;
}

int main(int argc, char **argv)
{
	char inside[PATH_MAX];

	cr_begin(argc, argv);
	if (geteuid() != 0)
		cr_skip("chroot needs root");
	pid_t pid = cr_fork(child, NULL);
	strcpy(inside, cr_path("a folder"));
	need((mkdir(inside, 0755) == 0 || errno == EEXIST) && chdir(inside) == 0);
	umask(0026);
	cr_wait();
	expect_cwd("parent", inside);
	expect_mask("parent", 0026);
	cr_join(pid);
	return cr_end();
}
