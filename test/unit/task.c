/* SPDX-License-Identifier: Apache-2.0 */
/* What a task's images may say: every subject takes what a dump writes and refuses, by name, what cannot be restored. */
#include <errno.h>
#include <linux/filter.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "harness.h"
#include "task/subject.h"

static struct tree *tree;
static struct task *t;
static struct restore r;

static uint32_t *caps(uint64_t set)
{
	uint32_t *words = arena_array(&tree->arena, uint32_t, 2);

	words[0] = (uint32_t)set;
	words[1] = (uint32_t)(set >> 32);
	return words;
}

static CredsEntry *creds(void)
{
	CredsEntry *e = arena_new(&tree->arena, CredsEntry);

	creds_entry__init(e);
	e->n_cap_inh = e->n_cap_prm = e->n_cap_eff = e->n_cap_bnd = e->n_cap_amb = 2;
	e->cap_inh = caps(0);
	e->cap_prm = caps(0x1ffffffffff);
	e->cap_eff = caps(0x1ffffffffff);
	e->cap_bnd = caps(0x1ffffffffff);
	e->cap_amb = caps(0);
	return e;
}

static CoreEntry *core(bool leader)
{
	CoreEntry *c = arena_new(&tree->arena, CoreEntry);

	core_entry__init(c);
	c->thread_core = arena_new(&tree->arena, ThreadCoreEntry);
	thread_core_entry__init(c->thread_core);
	c->thread_core->creds = creds();
	if (!leader)
		return c;
	TaskCoreEntry *tc = c->tc = arena_new(&tree->arena, TaskCoreEntry);
	task_core_entry__init(tc);
	tc->comm = arena_str(&tree->arena, "program");
	tc->n_sigactions = 62;
	tc->sigactions = arena_array(&tree->arena, SaEntry *, 62);
	for (size_t i = 0; i < 62; i++) {
		tc->sigactions[i] = arena_new(&tree->arena, SaEntry);
		sa_entry__init(tc->sigactions[i]);
	}
	tc->timers = arena_new(&tree->arena, TaskTimersEntry);
	task_timers_entry__init(tc->timers);
	ItimerEntry **itimers[] = { &tc->timers->real, &tc->timers->virt, &tc->timers->prof };
	for (size_t i = 0; i < 3; i++) {
		*itimers[i] = arena_new(&tree->arena, ItimerEntry);
		itimer_entry__init(*itimers[i]);
	}
	return c;
}

/* A task 10 with the threads 10 and 11. */
static void begin(void)
{
	tree_free(tree);
	tree = tree_new();
	t = tree_add(tree, NULL, 10, 2);
	t->state = TASK_ALIVE;
	for (size_t i = 0; i < 2; i++) {
		t->threads[i].task = t;
		t->threads[i].tid = 10 + (pid_t)i;
		t->threads[i].core = core(i == 0);
	}
	r = (struct restore){ .tree = tree, .arena = &tree->arena };
	err_clear();
}

static void refused(int got, const char *text)
{
	CHECK(got < 0);
	CHECK(err_count() > 0);
	CHECK_HAS(err_line(0), text);
	err_clear();
}

static ThreadCoreEntry *tce(size_t i)
{
	return t->threads[i].core->thread_core;
}

static void status_text(void)
{
	static const char text[] = "Name:\tUid:\\n\nUmask:\t0027\nState:\tS (sleeping)\nUid:\t0\t1\t2\t4294967294\n"
				   "Gid:\t5\t6\t7\t8\nFDSize:\t64\nGroups:\t4 20 100000 \n"
				   "SigPnd:\t0000000000000001\nShdPnd:\t0000000000000002\nSigBlk:\t0000000000010000\n"
				   "SigIgn:\t0000000000001000\nSigCgt:\tffffffff00000000\n"
				   "CapInh:\t0\nCapPrm:\t000001ffffffffff\nCapEff:\t1\nCapBnd:\t3\nCapAmb:\t0\n"
				   "NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t3\n";
	struct task_status s;

	CHECK_EQ(task_status_parse(text, &s), 0);
	CHECK_EQ(s.umask, 027);
	CHECK_EQ(s.uid[3], 4294967294u);
	CHECK_EQ(s.gid[0], 5);
	CHECK_EQ(s.groups.n, 3);
	CHECK_EQ(s.groups.data[2], 100000);
	CHECK_EQ(s.pending, 1);
	CHECK_EQ(s.shared_pending, 2);
	CHECK_EQ(s.caught, 0xffffffff00000000u);
	CHECK_EQ(s.cap_prm, 0x1ffffffffff);
	CHECK_EQ(s.no_new_privs, 1);
	CHECK_EQ(s.seccomp_mode, 2);
	CHECK_EQ(s.seccomp_filters, 3);
	task_status_done(&s);
	CHECK_EQ(task_status_parse("Name:\tx\nUid:\t0\t0\t0\t0\n", &s), -EBADMSG);
	task_status_done(&s);
	CHECK_EQ(task_status_parse("Uid:\t0\t0\n", &s), -EBADMSG);
	task_status_done(&s);
}

static void own_status(void)
{
	struct task_status s;

	CHECK_EQ(task_status_read(getpid(), getpid(), &s), 0);
	CHECK_EQ(s.uid[0], getuid());
	CHECK_EQ(s.gid[1], getegid());
	task_status_done(&s);
	CHECK_EQ(task_status_read(getpid(), 1 << 22, &s), -ENOENT);
}

static void signals(void)
{
	begin();
	CHECK_EQ(signal_check(t), 0);
	t->threads[0].core->tc->n_sigactions = 61;
	refused(signal_check(t), "61 signal actions");
	begin();
	t->threads[0].core->tc->sigactions[5]->has_compat_sigaction = t->threads[0].core->tc->sigactions[5]->compat_sigaction = true;
	refused(signal_check(t), "32-bit");
}

static void queue(size_t thread, int signo, size_t size)
{
	SignalQueueEntry *q = arena_new(&tree->arena, SignalQueueEntry);
	siginfo_t *info = arena_alloc(&tree->arena, 128);

	signal_queue_entry__init(q);
	info->si_signo = signo;
	q->n_signals = 1;
	q->signals = arena_array(&tree->arena, SiginfoEntry *, 1);
	q->signals[0] = arena_new(&tree->arena, SiginfoEntry);
	siginfo_entry__init(q->signals[0]);
	q->signals[0]->siginfo.data = (uint8_t *)info;
	q->signals[0]->siginfo.len = size;
	tce(thread)->signals_p = q;
}

static void queues(void)
{
	begin();
	queue(1, SIGUSR1, 128);
	CHECK_EQ(signal_check(t), 0);
	queue(1, SIGUSR1, 48);
	refused(signal_check(t), "48 bytes");
	queue(1, SIGKILL, 128);
	refused(signal_check(t), "signal 9 cannot be pending");
	queue(1, 65, 128);
	refused(signal_check(t), "signal 65 cannot be pending");
	queue(1, SIGSTOP, 128);
	CHECK_EQ(signal_check(t), 1);
}

static void thread_values(void)
{
	begin();
	CHECK_EQ(thread_check(&t->threads[1]), 0);
	tce(1)->comm = arena_str(&tree->arena, "sixteen letters!");
	refused(thread_check(&t->threads[1]), "longer than 15 bytes");
	tce(1)->comm = NULL;
	tce(1)->futex_rla_len = 12;
	refused(thread_check(&t->threads[1]), "robust list");
	tce(1)->futex_rla_len = 24;
	tce(1)->has_pdeath_sig = true;
	tce(1)->pdeath_sig = 65;
	refused(thread_check(&t->threads[1]), "parent-death signal 65");
	tce(1)->pdeath_sig = 9;
	RseqEntry rseq = RSEQ_ENTRY__INIT;
	rseq.rseq_abi_pointer = 0x1010;
	rseq.rseq_abi_size = 32;
	tce(1)->rseq_entry = &rseq;
	refused(thread_check(&t->threads[1]), "rseq area 0x1010");
	rseq.rseq_abi_pointer = 0x1020;
	CHECK_EQ(thread_check(&t->threads[1]), 0);
}

static void scheduling(void)
{
	begin();
	ThreadCoreEntry *e = tce(0);
	CHECK_EQ(sched_check(&t->threads[0]), 0);
	e->sched_policy = 1;
	refused(sched_check(&t->threads[0]), "priority 0 does not fit");
	e->sched_prio = 99;
	CHECK_EQ(sched_check(&t->threads[0]), 0);
	e->sched_policy = 0x40000000;
	e->sched_prio = 0;
	CHECK_EQ(sched_check(&t->threads[0]), 0);
	e->sched_policy = 6;
	refused(sched_check(&t->threads[0]), "policy 6");
	e->sched_policy = 0;
	e->sched_nice = 20;
	refused(sched_check(&t->threads[0]), "nice value 20");
}

static void credentials(void)
{
	begin();
	CHECK_EQ(creds_check(&t->threads[0]), 0);
	tce(1)->creds = NULL;
	CHECK(creds_of(&t->threads[1]) == tce(0)->creds);
	CHECK_EQ(creds_caps(2, tce(0)->creds->cap_prm), 0x1ffffffffff);
	tce(0)->creds->cap_prm = caps(1);
	refused(creds_check(&t->threads[0]), "effective capabilities");
	tce(0)->creds = creds();
	tce(0)->creds->cap_amb = caps(1);
	refused(creds_check(&t->threads[0]), "ambient");
	tce(0)->creds = creds();
	tce(0)->creds->egid = UINT32_MAX;
	refused(creds_check(&t->threads[0]), "group id is -1");
	tce(0)->creds = creds();
	tce(0)->creds->secbits = 1 << 20;
	refused(creds_check(&t->threads[0]), "securebit");
	tce(0)->creds = creds();
	tce(0)->creds->lsm_profile = arena_str(&tree->arena, "docker-default");
	refused(creds_check(&t->threads[0]), "docker-default");
	tce(0)->creds = NULL;
	refused(creds_check(&t->threads[0]), "there are none");
}

static PosixTimerEntry *timer(uint32_t id)
{
	TaskTimersEntry *e = t->threads[0].core->tc->timers;
	PosixTimerEntry **more = arena_array(&tree->arena, PosixTimerEntry *, e->n_posix + 1);

	for (size_t i = 0; i < e->n_posix; i++)
		more[i] = e->posix[i];
	e->posix = more;
	PosixTimerEntry *p = more[e->n_posix++] = arena_new(&tree->arena, PosixTimerEntry);
	posix_timer_entry__init(p);
	p->it_id = id;
	p->si_signo = SIGALRM;
	return p;
}

static void timers(void)
{
	begin();
	timer(7);
	timer(3);
	CHECK_EQ(timer_check(t), 0);
	CHECK_EQ(t->threads[0].core->tc->timers->posix[0]->it_id, 3);   /* sorted, for the kernels that count ids up */
	PosixTimerEntry *p = timer(8);
	p->it_sigev_notify = 4;
	refused(timer_check(t), "a thread that the task does not have");
	p->has_notify_thread_id = true;
	p->notify_thread_id = 11;
	CHECK_EQ(timer_check(t), 0);
	p->vnsec = 1000000000;
	refused(timer_check(t), "times are out of range");
	p->vnsec = 0;
	p->si_signo = 0;
	refused(timer_check(t), "its signal is none");
	p->si_signo = 64;
	p->it_id = 7;
	refused(timer_check(t), "timer 7: its id is there twice");
	p->it_id = 1u << 31;
	refused(timer_check(t), "id is out of range");
	begin();
	t->threads[0].core->tc->timers->prof->vusec = 1000000;
	refused(timer_check(t), "interval timer");
}

static void limits(void)
{
	TaskRlimitsEntry e = TASK_RLIMITS_ENTRY__INIT;
	RlimitEntry one = RLIMIT_ENTRY__INIT, *list[17];

	begin();
	for (size_t i = 0; i < 17; i++)
		list[i] = &one;
	t->threads[0].core->tc->rlimits = &e;
	e.rlimits = list;
	e.n_rlimits = 16;
	one.cur = one.max = UINT64_MAX;
	CHECK_EQ(rlimit_check(t), 0);
	one.max = 5;
	refused(rlimit_check(t), "RLIMIT_CPU is above its hard limit");
	e.n_rlimits = 17;
	refused(rlimit_check(t), "17 resource limits");
}

static void process_values(void)
{
	begin();
	TaskCoreEntry *tc = t->threads[0].core->tc;
	tc->has_oom_score_adj = tc->has_membarrier_registration_mask = true;
	tc->oom_score_adj = -1000;
	tc->membarrier_registration_mask = 1 << 4;
	CHECK_EQ(process_check(t), 0);
	tc->membarrier_registration_mask = 1 << 5;
	refused(process_check(t), "membarrier registrations 0x20");
	tc->oom_score_adj = -1001;
	refused(process_check(t), "oom_score_adj -1001");
}

static struct sock_filter code[2] = { { BPF_RET | BPF_K, 0, 0, 0x7fff0000 }, { BPF_RET | BPF_K, 0, 0, 0 } };
static SeccompFilter filters[2], *filter_list[2] = { &filters[0], &filters[1] };
static SeccompEntry seccomp = SECCOMP_ENTRY__INIT;

static void seccomp_values(void)
{
	begin();
	for (size_t i = 0; i < 2; i++) {
		seccomp_filter__init(&filters[i]);
		filters[i].filter.data = (uint8_t *)&code[i];
		filters[i].filter.len = sizeof code[i];
	}
	filters[1].has_prev = true;
	seccomp.n_seccomp_filters = 2;
	seccomp.seccomp_filters = filter_list;
	r.seccomp = &seccomp;
	CHECK_EQ(seccomp_check_filters(&seccomp), 0);
	for (size_t i = 0; i < 2; i++) {
		tce(i)->has_seccomp_mode = tce(i)->has_seccomp_filter = true;
		tce(i)->seccomp_mode = SECCOMP_MODE__filter;
		tce(i)->seccomp_filter = 1;
	}
	CHECK_EQ(seccomp_check(&r, t), 0);
	tce(1)->seccomp_filter = 2;
	refused(seccomp_check(&r, t), "seccomp filter 2 is not in seccomp.img");
	tce(1)->seccomp_mode = 3;
	refused(seccomp_check(&r, t), "seccomp mode 3");
	filters[1].prev = 1;
	refused(seccomp_check_filters(&seccomp), "filter 1 follows filter 1");
	filters[1].prev = 0;
	filters[0].filter.len = 7;
	refused(seccomp_check_filters(&seccomp), "impossible size of 7 bytes");
	filters[0].filter.len = sizeof code[0];
	filters[0].has_flags = true;
	filters[0].flags = 8;
	refused(seccomp_check_filters(&seccomp), "unknown flags 0x8");
}

static void zombies(void)
{
	begin();
	TaskCoreEntry *tc = t->threads[0].core->tc;
	tc->exit_code = 3 << 8;
	CHECK_EQ(zombie_check(t), 0);
	tc->exit_code = SIGSEGV | 0x80;
	CHECK_EQ(zombie_check(t), 0);
	tc->exit_code = 0x7f;
	refused(zombie_check(t), "wait status 0x7f");
	tc->exit_code = 3 << 8 | SIGTERM;
	refused(zombie_check(t), "wait status");
	tc->exit_code = 1 << 16;
	refused(zombie_check(t), "wait status");
}

static void thread_ids(void)
{
	begin();
	struct task *child = tree_add(tree, t, 11, 1);
	child->threads[0].tid = 11;
	refused(task_check(&r, t), "thread id 11 twice");
}

const struct test tests[] = {
	TEST(status_text), TEST(own_status), TEST(signals), TEST(queues), TEST(thread_values), TEST(scheduling), TEST(credentials), TEST(timers),
	TEST(limits), TEST(process_values), TEST(seccomp_values), TEST(zombies), TEST(thread_ids), {},
};
