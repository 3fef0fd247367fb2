/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials of a thread: ids, groups, the five capability sets, securebits, no_new_privs. Saving and checking them; how they are put back is
 * in creds_restore.c.
 *
 * Kernel facts:
 * - /proc/PID/task/TID/status has all but the securebits, which the thread tells itself (prctl).
 * - Its ids are those of the reader's user namespace; an image has those of the tree's: for a tree with a user namespace of its own
 *   they are taken back through /proc/PID/uid_map and gid_map. An id that is not mapped there cannot be set there: refused.
 * - The image has each capability set as two words, the low one first.
 *
 * LSM labels: a tree confined by AppArmor or SELinux is refused by the name of its label; "unconfined" is none. */
#include "task/subject.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/err.h"
#include "base/proc.h"

#define GROUPS_MAX 65536
#define CAP_WORDS 2
#define SECUREBITS_ALL 0xfffu   /* with SECBIT_EXEC_* of Linux 6.14 */
#define ID_NONE UINT32_MAX

struct id_range {
	uint32_t inside, outside, count;
};
struct id_map {
	size_t n;
	struct id_range *ranges;
};
struct user_map {
	struct id_map uid, gid;
	bool no_labels;   /* the kernel has no LSM with labels for tasks */
};

/* --- dump --- */

void creds_ask(struct ask *a, struct ask_slot *s)
{
	s->at = 0;
	s->first = a->n;
	ask(a, "read the securebits", SYS_prctl, PR_GET_SECUREBITS);
}

static int map_read(struct dump *d, const char *name, struct id_map *m)
{
	pid_t root = tree_root(d->tree)->host_pid;
	autofree char *text = NULL;
	ssize_t len = proc_read(root, name, &text);

	if (len < 0)
		return fail((int)-len, "read /proc/%d/%s", root, name);
	size_t lines = 0;
	for (const char *at = text; (at = strchr(at, '\n')); at++)
		lines++;
	m->ranges = arena_array(d->arena, struct id_range, lines + 1);
	for (const char *at = text; m->n < lines; at = strchr(at, '\n') + 1) {
		struct id_range *g = &m->ranges[m->n++];
		if (sscanf(at, "%u %u %u", &g->inside, &g->outside, &g->count) != 3)
			return fail_text(EBADMSG, "/proc/%d/%s is not understood", root, name);
	}
	return 0;
}

static int users(struct dump *d, struct user_map **out)
{
	struct task_facts *f = task_facts(d);
	char *label = NULL;
	int r = 0;

	if (!f->users) {
		f->users = arena_new(d->arena, struct user_map);
		r = (int)proc_read(tree_root(d->tree)->host_pid, "attr/current", &label);
		f->users->no_labels = r < 0;
		free(label);
		r = d->own_user_ns ? map_read(d, "uid_map", &f->users->uid) : 0;
		if (r >= 0 && d->own_user_ns)
			r = map_read(d, "gid_map", &f->users->gid);
	}
	*out = f->users;
	return r;
}

static int to_inside(const struct id_map *m, const char *what, const struct thread *th, uint32_t id, uint32_t *out)
{
	*out = id;
	if (!m->ranges)
		return 0;
	for (size_t i = 0; i < m->n; i++) {
		const struct id_range *g = &m->ranges[i];
		if (id >= g->outside && id - g->outside < g->count) {
			*out = g->inside + (id - g->outside);
			return 0;
		}
	}
	return fail_text(ENOTSUP, "%s id %u of " THREAD_FMT " is not mapped in its user namespace", what, id, THREAD_ARG(th));
}

static int take_ids(struct dump *d, const struct user_map *u, const struct thread *th, const struct task_status *st, CredsEntry *e)
{
	uint32_t *const uids[4] = { &e->uid, &e->euid, &e->suid, &e->fsuid }, *const gids[4] = { &e->gid, &e->egid, &e->sgid, &e->fsgid };
	int r = 0;

	for (size_t i = 0; i < 4 && r >= 0; i++) {
		r = to_inside(&u->uid, "user", th, st->uid[i], uids[i]);
		if (r >= 0)
			r = to_inside(&u->gid, "group", th, st->gid[i], gids[i]);
	}
	e->n_groups = st->groups.n;
	e->groups = arena_array(d->arena, uint32_t, st->groups.n ? st->groups.n : 1);
	for (size_t i = 0; i < st->groups.n && r >= 0; i++)
		r = to_inside(&u->gid, "group", th, st->groups.data[i], &e->groups[i]);
	return r;
}

static void take_caps(struct dump *d, uint64_t set, size_t *n, uint32_t **words)
{
	*n = CAP_WORDS;
	*words = arena_array(d->arena, uint32_t, CAP_WORDS);
	(*words)[0] = (uint32_t)set;
	(*words)[1] = (uint32_t)(set >> 32);
}

static int refuse_label(const struct user_map *u, const struct thread *th)
{
	char name[64];
	autofree char *label = NULL;

	if (u->no_labels)
		return 0;
	snprintf(name, sizeof name, "task/%d/attr/current", th->host_tid);
	ssize_t n = proc_read(th->task->host_pid, name, &label);
	while (n > 0 && (isspace((unsigned char)label[n - 1]) || !label[n - 1]))
		label[--n] = 0;
	if (n <= 0 || strcmp(label, "unconfined") == 0)
		return 0;
	fail_text(ENOTSUP, THREAD_FMT " is confined by the security label \"%s\": labels cannot be saved yet", THREAD_ARG(th), label);
	fail_hint("run it unconfined to be able to checkpoint it");
	return -ENOTSUP;
}

int creds_take(struct dump *d, struct ask *a, const struct ask_slot *s, const struct task_status *st, ThreadCoreEntry *tce)
{
	CredsEntry *e = tce->creds = arena_new(d->arena, CredsEntry);
	int64_t bits = a->calls[s->first].ret;
	struct user_map *u;

	creds_entry__init(e);
	if (bits < 0)
		return fail((int)-bits, "read the securebits of " THREAD_FMT, THREAD_ARG(a->th));
	int r = users(d, &u);
	if (r >= 0)
		r = take_ids(d, u, a->th, st, e);
	if (r < 0)
		return r;
	e->secbits = (uint32_t)bits;
	take_caps(d, st->cap_inh, &e->n_cap_inh, &e->cap_inh);
	take_caps(d, st->cap_prm, &e->n_cap_prm, &e->cap_prm);
	take_caps(d, st->cap_eff, &e->n_cap_eff, &e->cap_eff);
	take_caps(d, st->cap_bnd, &e->n_cap_bnd, &e->cap_bnd);
	take_caps(d, st->cap_amb, &e->n_cap_amb, &e->cap_amb);
	e->has_no_new_privs = st->no_new_privs != 0;
	e->no_new_privs = st->no_new_privs;
	return refuse_label(u, a->th);
}

/* --- check --- */

const CredsEntry *creds_of(const struct thread *th)
{
	const CredsEntry *own = th->core->thread_core->creds;

	return own ? own : th->task->threads[0].core->thread_core->creds;
}

uint64_t creds_caps(size_t n, const uint32_t *words)
{
	return n ? words[0] | (n > 1 ? (uint64_t)words[1] << 32 : 0) : 0;
}

static bool ids_set(const CredsEntry *e)
{
	const uint32_t ids[] = { e->uid, e->euid, e->suid, e->fsuid, e->gid, e->egid, e->sgid, e->fsgid };

	for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
		if (ids[i] == ID_NONE)
			return false;
	for (size_t i = 0; i < e->n_groups; i++)
		if (e->groups[i] == ID_NONE)
			return false;
	return true;
}

static const char *judge(const CredsEntry *e)
{
	uint64_t prm = creds_caps(e->n_cap_prm, e->cap_prm), amb = creds_caps(e->n_cap_amb, e->cap_amb);

	if (!ids_set(e))
		return "a user or group id is -1";
	if (e->n_groups > GROUPS_MAX)
		return "it has too many supplementary groups";
	if (e->n_cap_inh > CAP_WORDS || e->n_cap_prm > CAP_WORDS || e->n_cap_eff > CAP_WORDS || e->n_cap_bnd > CAP_WORDS || e->n_cap_amb > CAP_WORDS)
		return "a capability set has more than 64 bits";
	if (creds_caps(e->n_cap_eff, e->cap_eff) & ~prm)
		return "the effective capabilities are not all permitted";
	if (amb & ~(prm & creds_caps(e->n_cap_inh, e->cap_inh)))
		return "the ambient capabilities are not all permitted and inheritable";
	if (e->secbits & ~SECUREBITS_ALL)
		return "a securebit is unknown";
	if (e->has_no_new_privs && e->no_new_privs > 1)
		return "no_new_privs is neither 0 nor 1";
	return NULL;
}

int creds_check(const struct thread *th)
{
	const CredsEntry *e = creds_of(th);
	const char *why = e ? judge(e) : "there are none";

	if (why)
		return fail_text(EBADMSG, "core-%d.img: credentials: %s", th->tid, why);
	if ((e->lsm_profile && strcmp(e->lsm_profile, "unconfined") != 0) || e->lsm_sockcreate || e->has_apparmor_data)
		return fail_text(ENOTSUP, "core-%d.img: " THREAD_FMT " has the security label \"%s\": labels cannot be restored yet", th->tid,
				 THREAD_ARG(th), e->lsm_profile ? e->lsm_profile : "?");
	return 0;
}
