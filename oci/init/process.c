/* SPDX-License-Identifier: Apache-2.0 */
/* From a process of the runtime to one of the container: the attributes of `process`, in the order in which privileges allow.
 *
 *   process_prepare()                          process_exec()
 *   1. session keyring, owner of stdio         6. seccomp, if there is no no_new_privs (needs CAP_SYS_ADMIN)
 *   2. limits, scheduling and the like         7. last capabilities, no_new_privs
 *   3. bounding set; groups, gid, uid          8. seccomp, if there is: nothing but execve() follows it
 *   4. working directory, umask                9. execve()
 *   5. the program is there                     startContainer hooks, each confined by 6 to 8, come before 6
 *
 * Between the two init waits for start. Everything that can fail for a reason in the configuration is before that, so that create
 * reports it. While init waits, it holds no capability beyond the container's, but for CAP_SYS_ADMIN in case 6: a filter without
 * no_new_privs must then allow capset and prctl, as those of all engines do.
 *
 * The working directory is entered as the runtime first and, if that is refused (a home on a network filesystem that trusts only the
 * user), as the user. Afterwards getcwd() must give a path: a directory outside the container's root has none (CVE-2024-21626).
 *
 * Descriptors: everything from 3 on is closed but what the caller asked to preserve, before the program of the container runs. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/close_range.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "container/hooks.h"
#include "init/internal.h"

/* What a session keyring has, and that its owner may find it by name: exec joins that of the container. */
#define SEARCHABLE 0x3f1b0000u

static int new_keyring(const struct init *i)
{
	autofree char *name = str_printf("_ses.%s", i->id);
	long key = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name);

	if (key < 0 && errno != ENOSYS) {
		int r = fail(errno, "make the session keyring %s", name);
		fail_hint("--no-new-keyring keeps the caller's");
		return r;
	}
	if (key >= 0 && i->target < 0 && syscall(SYS_keyctl, KEYCTL_SETPERM, key, SEARCHABLE) < 0)
		return fail(errno, "make the session keyring %s known to exec", name);
	return 0;
}

/* The files of a process that is not dumpable are root's: a user's process, or one of a root in a user namespace, cannot write them. For the
 * first process of a new user namespace the runtime does it (userns.c). */
static bool inherits_oom_score(const struct init *i)
{
	return i->unprivileged && (i->target >= 0 || !i->spec->namespaces[NS_USER].wanted);
}

int oom_score_set(int dir, const char *file, const struct spec_process *p)
{
	char text[16];

	if (!p->has_oom_score_adj)
		return 0;
	snprintf(text, sizeof text, "%d", p->oom_score_adj);
	int r = file_write(dir, file, text);
	if (r >= 0)
		return 0;
	r = fail(-r, "process.oomScoreAdj: set it to %d", p->oom_score_adj);
	if (r == -EACCES || r == -EPERM)
		fail_hint("a value below the caller's own needs CAP_SYS_RESOURCE");
	return r;
}

int oom_score_lend(const struct init *i, char **saved)
{
	static const char own[] = "/proc/self/oom_score_adj";

	if (!i->process->has_oom_score_adj || !inherits_oom_score(i))
		return 0;
	return file_read(AT_FDCWD, own, saved, 32) < 0 ? fail(EIO, "process.oomScoreAdj: read %s", own) : oom_score_set(AT_FDCWD, own, i->process);
}

void oom_score_return(const char *saved)
{
	if (saved)
		file_write(AT_FDCWD, "/proc/self/oom_score_adj", saved);
}

int process_oom_score(const struct init *i)
{
	bool not_here = inherits_oom_score(i) || (i->target < 0 && i->spec->namespaces[NS_USER].wanted);

	return not_here ? 0 : oom_score_set(i->proc, "self/oom_score_adj", i->process);
}

static int compare(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

int process_close_others(const struct init *i, const int *keep, size_t n)
{
	int sorted[8];
	unsigned from = 3 + i->preserve_fds;

	memcpy(sorted, keep, n * sizeof *keep);
	qsort(sorted, n, sizeof *sorted, compare);
	for (size_t k = 0; k <= n; k++) {
		unsigned to = k < n ? (unsigned)sorted[k] : UINT_MAX;
		if (k < n && (sorted[k] < 0 || to < from))
			continue;
		if (to > from && syscall(SYS_close_range, from, k < n ? to - 1 : to, 0) < 0)
			return fail(errno, "close the runtime's descriptors");
		from = to + 1;
	}
	return 0;
}

void process_reset_signals(void)
{
	static const struct {
		void *handler;
		unsigned long flags, restorer, mask;
	} standard;   /* the kernel's struct: the C library keeps two signals to itself, which a caller may have ignored all the same */
	sigset_t none;

	for (int sig = 1; sig < 65; sig++)
		syscall(SYS_rt_sigaction, sig, &standard, NULL, sizeof standard.mask);   /* ignored signals would stay so over execve() */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* True: it could be entered and is inside the root. */
static bool enter_directory(const char *path)
{
	return chdir(path) == 0;
}

static int check_directory(const char *path)
{
	char at[PATH_MAX];
	long n = syscall(SYS_getcwd, at, sizeof at);   /* the kernel's word: "(unreachable)/…" if it is outside */

	if (n < 0)
		return fail(errno, "process.cwd: where %s leads", path);
	return *at == '/' ? 0 : fail_text(EPERM, "process.cwd: %s is outside the container's root filesystem", path);
}

static bool late_capabilities(const struct init *i)
{
	return i->filter.n && !i->process->no_new_privileges;
}

static int become_user(struct init *i)
{
	const struct spec_process *p = i->process;
	const char *cwd = p->cwd ? p->cwd : "/";
	bool entered = enter_directory(cwd);
	int r = caps_bound(&p->capabilities);

	if (r >= 0)
		r = caps_user(p, late_capabilities(i) ? 1ull << CAP_SYS_ADMIN : 0, i->unprivileged);
	if (r >= 0 && !late_capabilities(i))
		r = caps_final(&p->capabilities);
	if (r < 0)
		return r;
	if (!entered && !enter_directory(cwd))
		return fail(errno, "process.cwd: enter %s", cwd);
	return check_directory(cwd);
}

/* A pipe or socket belongs to who made it: a container's user could not open it again as /dev/stdout. Regular files are the caller's
 * own, and stay so; the null device is everybody's. */
int process_give_stdio(uint32_t uid)
{
	for (int fd = 0; fd < 3; fd++) {
		struct stat st;
		if (fstat(fd, &st) < 0 || st.st_uid == uid || S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode))
			continue;
		if (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3))
			continue;
		if (fchown(fd, uid, (gid_t)-1) < 0 && errno != EPERM && errno != EINVAL && errno != EROFS)
			return fail(errno, "give descriptor %d to user %u", fd, uid);
	}
	return 0;
}

int process_prepare(struct init *i)
{
	const struct spec_process *p = i->process;
	autofree char *path = NULL;
	int r = i->new_keyring ? new_keyring(i) : 0;

	if (r >= 0)
		r = process_give_stdio(p->uid);
	if (r >= 0)
		r = rlimits_apply(p);
	if (r >= 0)
		r = attributes_apply(i);
	if (r >= 0)
		r = become_user(i);
	if (r < 0)
		return r;
	umask(p->has_umask ? (mode_t)p->umask : 022);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);   /* changing the user may have set it */
	return program_find(p, &path);
}

/* Also in the process of each startContainer hook: the image chooses what runs there. */
static int confine(void *arg)
{
	const struct init *i = arg;
	const struct spec_process *p = i->process;
	int r = 0;

	if (late_capabilities(i)) {
		r = filter_install(i);
		if (r >= 0)
			r = caps_final(&p->capabilities);
	}
	if (r >= 0 && p->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = fail(errno, "process.noNewPrivileges");
	if (r >= 0 && !late_capabilities(i))
		r = filter_install(i);
	return r;
}

static int start_hooks(struct init *i, int (*how)(void *))
{
	const struct hook_call call = {
		.spec = i->spec,
		.id = i->id,
		.status = "created",
		.pid = getpid(),
		.directory = i->process->cwd,
		.confine = how,
		.arg = i,
	};

	return i->target < 0 ? hooks_run(&call, HOOK_START_CONTAINER) : 0;
}

int process_exec(struct init *i)
{
	const struct spec_process *p = i->process;
	autofree char *path = NULL;
	char **env = program_environment(i);
	int r = program_find(p, &path);

	if (r >= 0 && i->lsm >= 0)
		r = lsm_apply(i->lsm, p);
	if (r >= 0 && !i->filter.notify)
		r = start_hooks(i, confine);
	if (r >= 0)
		r = confine(i);
	if (r >= 0 && i->filter.notify)   /* one listener for all: they inherit the filter */
		r = start_hooks(i, NULL);
	if (r < 0)
		return r;
	execve(path, p->args.data, env);
	return fail(errno, "exec: \"%s\": execute %s", p->args.data[0], path);
}
