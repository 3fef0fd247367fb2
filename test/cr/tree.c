/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tree of processes. Every node notes its pid, parent (the root has none in the tree), process group and session, and finds the same afterwards:
 *
 *	root (session leader, subreaper)
 *	├── child           in a process group of its own
 *	│   ├── grandchild  in its parent's group
 *	│   └── member      in the root's group
 *	├── daemon          session leader, with a child in a group of its own
 *	├── orphan          its parent is dead: reparented to the root
 *	├── leaderless      in a group whose leader is dead and reaped
 *	├── sessionless     in a session whose leader is dead and reaped
 *	└── twelve plain children
 */
#include "cr.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#define CHILDREN 12
/* Descendants tell the root their pids here (they may not be its own children). */
static struct shared {
	pid_t orphan, leaderless, sessionless;
} *shared;

static pid_t root;

struct ids {
	pid_t pid, parent, group, session;
};

static struct ids ids(void)
{
	return (struct ids){ getpid(), getppid(), getpgrp(), getsid(0) };
}

/* What every node does once it is in its place. */
static void stay(const char *name)
{
	struct ids was = ids(), is;

	cr_child_ready();
	cr_wait_go();
	is = ids();
	expect(was.pid == is.pid, "%s: pid %d instead of %d", name, is.pid, was.pid);
	expect(was.parent == is.parent || was.pid == root, "%s: parent %d instead of %d", name, is.parent, was.parent);
	expect(was.group == is.group, "%s: process group %d instead of %d", name, is.group, was.group);
	expect(was.session == is.session, "%s: session %d instead of %d", name, is.session, was.session);
}

static int plain(void *arg)
{
	stay(arg);
	return 0;
}

static int member(void *arg)
{
	need(setpgid(0, getsid(0)) == 0);
	stay(arg);
	return 0;
}

static int own_group(void *arg)
{
	need(setpgid(0, 0) == 0);
	stay(arg);
	return 0;
}

static int child(void *arg)
{
	need(setpgid(0, 0) == 0);
	pid_t a = cr_fork(plain, "grandchild"), b = cr_fork(member, "member");
	stay(arg);
	cr_join(a);
	cr_join(b);
	return 0;
}

static int daemon_leader(void *arg)
{
	need(setsid() > 0);
	pid_t a = cr_fork(own_group, "the daemon's child");
	stay(arg);
	cr_join(a);
	return 0;
}

/* A process whose parent ends after it was put in its place. */
static int deserted(pid_t *where, pid_t parent)
{
	*where = getpid();
	while (getppid() == parent)
		cr_sleep_ms(1);
	stay(where == &shared->orphan ? "orphan" : where == &shared->leaderless ? "leaderless" : "sessionless");
	return 0;
}

/* Leader of a new group or session, or neither, that leaves a child behind and ends. The child gets ready afterwards,
 * through the descriptor that it inherits. */
static int desert(void *arg)
{
	if (arg == &shared->leaderless)
		need(setpgid(0, 0) == 0);
	if (arg == &shared->sessionless)
		need(setsid() > 0);
	pid_t leader = getpid(), pid = fork();
	need(pid >= 0);
	if (!pid)
		_exit(deserted(arg, leader) || cr_faults);
	return 0;
}

static pid_t make_deserted(pid_t *where)
{
	pid_t leader = cr_fork(desert, where); /* returns when the deserted one is ready */

	cr_join(leader);
	return *where;
}

int main(int argc, char **argv)
{
	pid_t pids[5 + CHILDREN];
	int n = 0;

	cr_begin(argc, argv);
	root = getpid();
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	need(shared != MAP_FAILED && prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	pids[n++] = cr_fork(child, "child");
	pids[n++] = cr_fork(daemon_leader, "daemon");
	pids[n++] = make_deserted(&shared->orphan);
	pids[n++] = make_deserted(&shared->leaderless);
	pids[n++] = make_deserted(&shared->sessionless);
	for (int i = 0; i < CHILDREN; i++)
		pids[n++] = cr_fork(plain, "one of many");
	cr_ready();
	stay("root");
	for (int i = 0; i < n; i++)
		cr_join(pids[i]);
	expect(waitpid(-1, NULL, 0) < 0 && errno == ECHILD, "a child too many");
	return cr_end();
}
