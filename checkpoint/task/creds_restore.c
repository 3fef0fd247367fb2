/* SPDX-License-Identifier: Apache-2.0 */
/* Putting credentials back, each thread its own, in the only order in which nothing is lost that a later step needs:
 *
 *  1. groups and ids, with securebits NO_SETUID_FIXUP | KEEP_CAPS, so that a change of uid leaves the capability sets alone;
 *  2. the inheritable set, with everything permitted still (a capability may be inheritable and not in the bounding set);
 *  3. the bounding set: what is not in the image's is dropped (needs CAP_SETPCAP);
 *  4. the ambient set (each must be permitted and inheritable, and securebits must not forbid it);
 *  5. the securebits of the image (need CAP_SETPCAP; locks may be among them);
 *  6. permitted and effective: from here on the thread has its own privileges only;
 *  7. no_new_privs. Seccomp filters are in place by then, installed with CAP_SYS_ADMIN: they do not need it;
 *  8. what every change of credentials resets: the parent-death signal, and, for the leader, the dumpable flag of the memory.
 *
 * A call may be refused to a husk without privileges and not matter, because the thread has that value already (a restore by the user whose
 * program it is). So refusals are only an error if what /proc shows afterwards is not what the image wants; the message names the call.
 *
 * The dumpable flag has a third value (2: readable by root only), which prctl cannot set: 0 is set for it. */
#define LOG_PREFIX "creds"
#include "task/subject.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/err.h"
#include "base/log.h"

struct cap_header {
	uint32_t version;
	int32_t pid;
};
struct cap_word {
	uint32_t effective, permitted, inheritable;
};
struct caps {
	struct cap_word word[2];   /* low, high */
};

static struct caps pack(uint64_t eff, uint64_t prm, uint64_t inh)
{
	return (struct caps){ { { (uint32_t)eff, (uint32_t)prm, (uint32_t)inh },
				{ (uint32_t)(eff >> 32), (uint32_t)(prm >> 32), (uint32_t)(inh >> 32) } } };
}

static void ask_ids(struct ask *a, const CredsEntry *e)
{
	uint64_t groups = e->n_groups ? ask_data(a, e->groups, e->n_groups * sizeof *e->groups) : 0;

	ask(a, "keep capabilities over a change of user (securebits)", SYS_prctl, PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP | SECBIT_KEEP_CAPS);
	ask(a, "set the supplementary groups", SYS_setgroups, e->n_groups, groups);
	ask(a, "set the group ids", SYS_setresgid, e->gid, e->egid, e->sgid);
	ask(a, "set the file system group id", SYS_setfsgid, e->fsgid);
	ask(a, "set the user ids", SYS_setresuid, e->uid, e->euid, e->suid);
	ask(a, "set the file system user id", SYS_setfsuid, e->fsuid);
}

static void ask_caps(struct ask *a, const CredsEntry *e, const struct task_status *now)
{
	struct cap_header h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	uint64_t inh = creds_caps(e->n_cap_inh, e->cap_inh), prm = creds_caps(e->n_cap_prm, e->cap_prm);
	uint64_t eff = creds_caps(e->n_cap_eff, e->cap_eff), bnd = creds_caps(e->n_cap_bnd, e->cap_bnd);
	uint64_t amb = creds_caps(e->n_cap_amb, e->cap_amb);
	struct caps with = pack(now->cap_prm, now->cap_prm, inh), final = pack(eff, prm, inh);
	uint64_t header = ask_data(a, &h, sizeof h);

	ask(a, "set the inheritable capabilities", SYS_capset, header, ask_data(a, &with, sizeof with));
	for (uint64_t cap = 0; cap < 64; cap++)
		if (now->cap_bnd & ~bnd & 1ull << cap)
			ask(a, "drop from the capability bounding set", SYS_prctl, PR_CAPBSET_DROP, cap);
	ask(a, "clear the ambient capabilities", SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL);
	for (uint64_t cap = 0; cap < 64; cap++)
		if (amb & 1ull << cap)
			ask(a, "raise an ambient capability", SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap);
	ask(a, "set the securebits", SYS_prctl, PR_SET_SECUREBITS, e->secbits);
	ask(a, "set the capabilities", SYS_capset, header, ask_data(a, &final, sizeof final));
}

/* What a change of credentials has reset. */
static void ask_after(struct ask *a, const CredsEntry *e)
{
	const struct thread *th = a->th;
	const MmEntry *mm = th->task->mm;
	const ThreadCoreEntry *tce = th->core->thread_core;

	if (e->has_no_new_privs && e->no_new_privs)
		ask(a, "set no_new_privs", SYS_prctl, PR_SET_NO_NEW_PRIVS, 1);
	if (tce->has_pdeath_sig && tce->pdeath_sig)
		ask(a, "set the parent-death signal", SYS_prctl, PR_SET_PDEATHSIG, tce->pdeath_sig);
	if (th == &th->task->threads[0])
		ask(a, "set the dumpable flag", SYS_prctl, PR_SET_DUMPABLE, mm && mm->has_dumpable ? mm->dumpable == 1 : 1);
}

static bool same_groups(const struct task_status *now, const CredsEntry *e)
{
	if (now->groups.n != e->n_groups)
		return false;
	for (size_t i = 0; i < e->n_groups; i++) {   /* the kernel sorts them */
		bool found = false;
		for (size_t k = 0; k < now->groups.n && !found; k++)
			found = now->groups.data[k] == e->groups[i];
		if (!found)
			return false;
	}
	return true;
}

static bool as_wanted(const struct task_status *now, uint32_t secbits, const CredsEntry *e)
{
	const uint32_t uid[4] = { e->uid, e->euid, e->suid, e->fsuid }, gid[4] = { e->gid, e->egid, e->sgid, e->fsgid };

	return memcmp(now->uid, uid, sizeof uid) == 0 && memcmp(now->gid, gid, sizeof gid) == 0 && same_groups(now, e) && secbits == e->secbits &&
	       now->cap_inh == creds_caps(e->n_cap_inh, e->cap_inh) && now->cap_prm == creds_caps(e->n_cap_prm, e->cap_prm) &&
	       now->cap_eff == creds_caps(e->n_cap_eff, e->cap_eff) && (now->cap_bnd & ~creds_caps(e->n_cap_bnd, e->cap_bnd)) == 0 &&
	       now->cap_amb == creds_caps(e->n_cap_amb, e->cap_amb) && now->no_new_privs == (e->has_no_new_privs && e->no_new_privs);
}

static int refused(struct ask *a, size_t i)
{
	int r = fail((int)-a->calls[i].ret, "%s of " THREAD_FMT, a->what[i], THREAD_ARG(a->th));

	if (r == -EPERM)
		fail_hint("restore as root, with the capabilities that the task had (CAP_SETUID, CAP_SETGID, CAP_SETPCAP among them)");
	return r;
}

/* The first call that failed, a->n if none did. setfsuid and setfsgid return the old id, never an error. */
static size_t first_refused(const struct ask *a)
{
	for (size_t i = 0; i < a->n; i++)
		if (a->calls[i].ret < 0 && a->calls[i].nr != SYS_setfsuid && a->calls[i].nr != SYS_setfsgid)
			return i;
	return a->n;
}

/* Some call was refused: does it matter? */
static int verify(struct ask *a, size_t bad, const CredsEntry *e)
{
	struct thread *th = a->th;
	auto_task_status struct task_status now;
	int64_t bits = remote_call(th->remote, SYS_prctl, PR_GET_SECUREBITS, 0, 0, 0, 0, 0);
	int r = task_status_read(th->task->host_pid, th->host_tid, &now);

	if (r < 0)
		return fail(-r, "read the status of " THREAD_FMT, THREAD_ARG(th));
	return bits >= 0 && as_wanted(&now, (uint32_t)bits, e) ? 0 : refused(a, bad);
}

/* Nobody can add to a bounding set. The task would only see it in an exec of a program with file capabilities. */
static void tell_lost(const struct thread *th, uint64_t lost)
{
	if (lost)
		log_warn(THREAD_FMT ": the capabilities %#llx of its bounding set are not in that of the process which restores it", THREAD_ARG(th),
			 (unsigned long long)lost);
}

int creds_restore(struct thread *th)
{
	const CredsEntry *e = creds_of(th);
	auto_task_status struct task_status now;
	struct ask a;
	int r = task_status_read(th->task->host_pid, th->host_tid, &now);

	if (r < 0)
		return fail(-r, "read the status of " THREAD_FMT, THREAD_ARG(th));
	if (now.no_new_privs && !(e->has_no_new_privs && e->no_new_privs))
		return fail_text(EPERM, THREAD_FMT " had no no_new_privs, but the process it is restored in has it, and it cannot be cleared",
				 THREAD_ARG(th));
	ask_begin(&a, th, false);
	if (e->n_groups * sizeof *e->groups + 1024 > ASK_DATA)
		return fail_text(E2BIG, THREAD_FMT " has too many supplementary groups: %zu", THREAD_ARG(th), e->n_groups);
	tell_lost(th, creds_caps(e->n_cap_bnd, e->cap_bnd) & ~now.cap_bnd);
	ask_ids(&a, e);
	ask_caps(&a, e, &now);
	ask_after(&a, e);
	r = ask_run(&a);
	size_t bad = r < 0 ? a.n : first_refused(&a);
	return r < 0 || bad == a.n ? r : verify(&a, bad, e);
}
