/* SPDX-License-Identifier: Apache-2.0 */
/* Live programs that check themselves while they are seized, worked on and released, or while the engine is killed over it.
 *
 * A program is a fork of the test; each of its threads counts its rounds and what it found wrong in shared memory. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/err.h"
#include "base/proc.h"
#include "base/str.h"
#include "harness.h"
#include "remote/regs.h"
#include "remote/remote.h"

#define THREADS 16
struct shared {
	struct {
		atomic_ulong rounds, wrong;
	} thread[THREADS];
	atomic_ulong signals, queued, interrupted;
};
static struct shared *shared;

struct program {
	unsigned threads;
	void (*run)(void);
};
struct live {
	pid_t pid;              /* the program */
	pid_t outer;            /* what is waited for: the same, or the parent in between of a pid namespace */
	const struct program *program;
};

/* --- programs --- */

static void wrong(unsigned i, bool is)
{
	if (is)
		shared->thread[i].wrong++;
	shared->thread[i].rounds++;
}

/* Integer, floating-point and vector registers, and the red zone of leaf functions. */
typedef uint64_t vector __attribute__((vector_size(64)));

__attribute__((noinline, target("avx2"))) static uint64_t vector_chain(uint64_t seed)
{
	vector v = { seed, seed + 1, seed + 2, seed + 3, seed + 4, seed + 5, seed + 6, seed + 7 }, w = v * 3;

	for (int i = 0; i < 2000; i++) {
		v ^= v << 13, v ^= v >> 7, v ^= v << 17;
		w += v;
	}
	return v[0] ^ v[7] ^ w[3];
}

__attribute__((noinline)) static uint64_t scalar_chain(uint64_t seed)
{
	uint64_t r[8], sum[8];

	for (unsigned k = 0; k < 8; k++) {
		uint64_t x = seed + k, s = x * 3;
		for (int i = 0; i < 2000; i++) {
			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			s += x;
		}
		r[k] = x, sum[k] = s;
	}
	return r[0] ^ r[7] ^ sum[3];
}

static double float_chain(void)
{
	double a = 1.5;

	for (int i = 0; i < 5000; i++)
		a = a * 1.0000001 + 2.25 * 0.125 - 0.28125;
	return a;
}

static bool chain_is_wrong(uint64_t seed, double want)
{
	bool vectors = __builtin_cpu_supports("avx2") && vector_chain(seed) != scalar_chain(seed);
	return vectors || float_chain() != want;
}

static void compute(unsigned i)
{
	double want = float_chain();

	for (uint64_t n = 1;; n++) {
		wrong(i, chain_is_wrong(n * 77777, want));
		if (n % 20 == 0)
			usleep(200);
	}
}

static void run_compute(void)
{
	compute(0);
}

static void *compute_thread(void *i)
{
	compute((unsigned)(uintptr_t)i);
	return NULL;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn = PTHREAD_COND_INITIALIZER;
static unsigned holder;

/* Hands a turn around, by mutex and condition variable. */
static void *turn_thread(void *arg)
{
	unsigned i = (unsigned)(uintptr_t)arg;

	for (;;) {
		pthread_mutex_lock(&lock);
		while (holder != i)
			pthread_cond_wait(&turn, &lock);
		wrong(i, holder != i);
		holder = i == 7 ? 4 : i + 1;
		pthread_cond_broadcast(&turn);
		pthread_mutex_unlock(&lock);
		usleep(50);
	}
	return NULL;
}

static void run_threads(void)
{
	pthread_t t;

	holder = 4;
	for (uintptr_t i = 1; i < 8; i++)
		pthread_create(&t, NULL, i < 4 ? compute_thread : turn_thread, (void *)i);
	compute(0);
}

/* Sleeping calls, which must never say EINTR: no signal comes. */
static int event, queue;

static long sleep_epoll(void)
{
	struct epoll_event e;
	uint64_t v;

	if (epoll_wait(queue, &e, 1, -1) != 1)
		return -1;
	return read(event, &v, sizeof v) == sizeof v ? 0 : -1;
}

static long sleep_nanosleep(void)
{
	return nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
}

static long sleep_nanosleep_same(void)
{
	struct timespec t = { .tv_nsec = 2000000 };

	return nanosleep(&t, &t);
}

static long sleep_poll(void)
{
	return poll(NULL, 0, 2);
}

static long sleep_absolute(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_nsec += 2000000;
	t.tv_sec += t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static long sleep_sigtimedwait(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return sigtimedwait(&set, NULL, &(struct timespec){ .tv_nsec = 2000000 }) < 0 && errno == EAGAIN ? 0 : -1;
}

static long sleep_futex(void)
{
	sem_t s;
	struct timespec t;

	sem_init(&s, 0, 0);
	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_nsec += 2000000;
	t.tv_sec += t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	return sem_timedwait(&s, &t) < 0 && errno == ETIMEDOUT ? 0 : -1;
}

static long (*const sleeps[])(void) = {
	sleep_epoll, sleep_nanosleep, sleep_nanosleep_same, sleep_poll, sleep_absolute, sleep_sigtimedwait, sleep_futex,
};
#define SLEEPS (sizeof sleeps / sizeof *sleeps)
/* The kernel does not restart them: they say EINTR if the engine is killed after it has stopped the thread, and before it has looked. */
static const bool sleeps_once[SLEEPS] = { [0] = true, [5] = true };

static void *sleep_thread(void *arg)
{
	unsigned i = (unsigned)(uintptr_t)arg;

	for (;;) {
		long r = sleeps[i]();
		bool interrupted = r && errno == EINTR;
		if (interrupted)
			shared->interrupted++;
		wrong(i, r && (!interrupted || !sleeps_once[i]));
	}
	return NULL;
}

static void run_asleep(void)
{
	struct epoll_event e = { .events = EPOLLIN };
	uint64_t one = 1;
	pthread_t t;

	event = eventfd(0, EFD_NONBLOCK);
	queue = epoll_create1(0);
	epoll_ctl(queue, EPOLL_CTL_ADD, event, &e);
	for (uintptr_t i = 0; i < SLEEPS; i++)
		pthread_create(&t, NULL, sleep_thread, (void *)i);
	for (;;) {
		wrong(SLEEPS, nanosleep(&(struct timespec){ .tv_nsec = 3000000 }, NULL) != 0);
		if (write(event, &one, sizeof one) != sizeof one)
			abort();
	}
}

static void count_signal(int signal)
{
	if (signal == SIGRTMIN)
		shared->queued++;
	else
		shared->signals++;
}

static void run_handler(void)
{
	struct sigaction a = { .sa_handler = count_signal, .sa_flags = SA_RESTART };

	sigaction(SIGURG, &a, NULL);
	sigaction(SIGRTMIN, &a, NULL);
	compute(0);
}

/* As a Go program: every signal is caught, and it runs on a small stack in the heap, with other objects just below. */
static ucontext_t main_context, small_context;
static struct {
	uint8_t object[8192];
	uint8_t stack[3072];
} *heap;

static void on_small_stack(void)
{
	for (uint64_t n = 1;; n++) {
		uint64_t x = n, y = n;
		for (int i = 0; i < 3000; i++)
			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		for (int i = 0; i < 3000; i++)
			y ^= y << 13, y ^= y >> 7, y ^= y << 17;
		bool bad = x != y;
		for (size_t i = 0; i < sizeof heap->object; i++)
			bad = bad || heap->object[i] != 0x5a;
		wrong(0, bad);
	}
}

static void run_small_stack(void)
{
	static uint8_t alternate[65536];
	struct sigaction a = { .sa_handler = count_signal, .sa_flags = SA_RESTART | SA_ONSTACK };

	sigaltstack(&(stack_t){ .ss_sp = alternate, .ss_size = sizeof alternate }, NULL);
	for (int i = 1; i <= SIGRTMAX; i++)
		sigaction(i, &a, NULL);
	heap = malloc(sizeof *heap);
	memset(heap->object, 0x5a, sizeof heap->object);
	getcontext(&small_context);
	small_context.uc_stack = (stack_t){ .ss_sp = heap->stack, .ss_size = sizeof heap->stack };
	makecontext(&small_context, on_small_stack, 0);
	swapcontext(&main_context, &small_context);
}

/* Below a filter that allows little, and refuses or kills. */
static void filter(unsigned action)
{
	static const int allowed[] = { SYS_nanosleep, SYS_clock_nanosleep, SYS_rt_sigreturn, SYS_exit_group, SYS_getpid, SYS_gettid, SYS_tgkill,
				       SYS_restart_syscall };
	enum { N = sizeof allowed / sizeof *allowed };
	struct sock_filter f[2 * N + 2] = { BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)) };

	for (int i = 0; i < N; i++) {
		f[1 + 2 * i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)allowed[i], 0, 1);
		f[2 + 2 * i] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	}
	f[2 * N + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action);
	struct sock_fprog p = { 2 * N + 2, f };
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p))
		abort();
}

static void run_refusing_filter(void)
{
	filter(SECCOMP_RET_ERRNO | EPERM);
	compute(0);
}

static void run_killing_filter(void)
{
	filter(SECCOMP_RET_KILL_PROCESS);
	compute(0);
}

static void run_other_user(void)
{
	if (syscall(SYS_setresgid, 12345, 12345, 12345) || syscall(SYS_setresuid, 12345, 12345, 12345))
		abort();
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	compute(0);
}

static const struct program compute_program = { 1, run_compute }, threads_program = { 8, run_threads }, asleep_program = { SLEEPS + 1, run_asleep },
			    handler_program = { 1, run_handler }, small_stack_program = { 1, run_small_stack },
			    refusing_program = { 1, run_refusing_filter }, killing_program = { 1, run_killing_filter },
			    other_user_program = { 1, run_other_user };

/* --- around them --- */

static bool goes_on(const struct live *l)
{
	for (unsigned i = 0; i < l->program->threads; i++) {
		unsigned long before = shared->thread[i].rounds;
		unsigned w;
		for (w = 0; w < 20000 && shared->thread[i].rounds == before; w++)
			usleep(100);
		if (shared->thread[i].rounds == before) {
			fprintf(stderr, "thread %u stands still\n", i);
			return false;
		}
	}
	return true;
}

static unsigned long found_wrong(const struct live *l)
{
	unsigned long n = 0;

	for (unsigned i = 0; i < l->program->threads; i++) {
		if (shared->thread[i].wrong)
			fprintf(stderr, "thread %u found %lu things wrong\n", i, shared->thread[i].wrong);
		n += shared->thread[i].wrong;
	}
	return n;
}

static void no_sanitizer(void)
{
#ifdef __SANITIZE_ADDRESS__
	test_skip("the sanitizer's own system calls do not pass the program's filter");
#endif
}

static struct live start_flags(const struct program *p, bool pid_namespace)
{
	struct live l = { .program = p };
	atomic_int *number;

	shared = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(shared != MAP_FAILED);
	number = (atomic_int *)((char *)shared + 4096);
	l.outer = fork();
	if (!l.outer && !pid_namespace)
		p->run();
	if (!l.outer) {
		if (unshare(CLONE_NEWPID))
			abort();
		pid_t inner = fork();
		if (!inner)
			p->run();
		*number = inner;
		waitpid(inner, NULL, 0);
		_exit(0);
	}
	for (int i = 0; pid_namespace && !*number && i < 1000; i++)
		usleep(1000);
	l.pid = pid_namespace ? *number : l.outer;
	CHECK(goes_on(&l));
	return l;
}

static struct live start(const struct program *p)
{
	return start_flags(p, false);
}

static void end(struct live *l)
{
	int status;

	CHECK(goes_on(l));
	CHECK_EQ(found_wrong(l), 0);
	CHECK_EQ(waitpid(l->outer, &status, WNOHANG), 0);
	kill(l->pid, SIGKILL);
	waitpid(l->outer, &status, 0);
}

static int work(struct remote *r, unsigned rounds)
{
	struct call c[20];

	for (unsigned n = 0; n < rounds; n++) {
		for (int i = 0; i < 20; i++)
			c[i] = (struct call){ .nr = i % 2 ? SYS_gettid : SYS_sched_yield, .must = 1 };
		int e = remote_batch_checked(r, c, 20, "work");
		if (e < 0)
			return e;
	}
	return 0;
}

/* Seizes all threads, works in each, and lets all go. */
static int visit(pid_t pid, unsigned rounds)
{
	struct remote *r[THREADS] = { NULL };
	autofree int *tids = NULL;
	ssize_t n = proc_numbers(pid, "task", &tids);
	int e = 0, signal;

	if (n <= 0)
		return -ESRCH;
	CHECK(n <= THREADS);
	for (ssize_t i = 0; e == 0 && i < n; i++)
		e = remote_seize(tids[i], &r[i]);
	for (ssize_t i = 0; e == 0 && i < n; i++)
		e = remote_wait_stop(r[i], &signal, 0);
	for (ssize_t i = 0; e == 0 && i < n; i++)
		e = remote_prepare(r[i], i ? remote_get_mm(r[0]) : NULL);
	for (ssize_t i = 0; e == 0 && i < n; i++)
		e = work(r[i], rounds);
	for (ssize_t i = n - 1; i >= 0; i--)
		remote_release(&r[i], 0);
	return e;
}

static void visits(const struct program *p, unsigned n)
{
	struct live l = start(p);

	for (unsigned i = 0; i < n; i++) {
		CHECK_OK(visit(l.pid, 2));
		if (i % 10 == 0)
			CHECK(goes_on(&l));
	}
	CHECK_EQ(shared->interrupted, 0);
	end(&l);
}

static void one_thread(void)
{
	visits(&compute_program, 500);
}

static void eight_threads(void)
{
	visits(&threads_program, 300);
}

static void asleep(void)
{
	visits(&asleep_program, 300);
}

static void small_stack(void)
{
	visits(&small_stack_program, 300);
}

static void below_a_filter(void)
{
	no_sanitizer();
	visits(&refusing_program, 50);
	visits(&killing_program, 50);
}

static void other_user(void)
{
	visits(&other_user_program, 50);
}

static void pid_namespace(void)
{
	struct live l = start_flags(&compute_program, true);

	for (unsigned i = 0; i < 50; i++)
		CHECK_OK(visit(l.pid, 2));
	end(&l);
}

/* Nothing is left in the address space. */
static void leaves_nothing(void)
{
	struct live l = start(&threads_program);
	autofree char *before = NULL, *after = NULL;

	CHECK_OK(visit(l.pid, 1));
	CHECK_OK(proc_read(l.pid, "maps", &before));
	for (int i = 0; i < 10; i++)
		CHECK_OK(visit(l.pid, 1));
	CHECK_OK(proc_read(l.pid, "maps", &after));
	CHECK_STR(after, before);
	end(&l);
}

/* Signals that come while the program is worked on are handled, all of them, afterwards. */
static void signals_kept(void)
{
	struct live l = start(&handler_program);
	unsigned long sent = 0;

	for (unsigned i = 0; i < 100; i++) {
		struct remote *r = NULL;
		int signal;
		unsigned long before = shared->signals;
		if (i % 3 == 0)
			kill(l.pid, SIGURG);
		CHECK_OK(remote_seize(l.pid, &r));
		CHECK_OK(remote_wait_stop(r, &signal, 0));
		CHECK_OK(remote_prepare(r, NULL));
		CHECK_OK(work(r, 1));
		if (i % 3 == 1)
			kill(l.pid, SIGURG);
		kill(l.pid, SIGWINCH);
		for (int k = 0; k < 3; k++, sent++)
			sigqueue(l.pid, SIGRTMIN, (union sigval){ .sival_int = k });
		CHECK_OK(work(r, 2));
		remote_release(&r, 0);
		for (int w = 0; w < 10000 && (shared->queued != sent || (i % 3 != 2 && shared->signals == before)); w++)
			usleep(100);
		CHECK_EQ(shared->queued, sent);
		CHECK_EQ(shared->signals, before + (i % 3 != 2));
	}
	end(&l);
}

/* A stopped program is worked on and still stopped afterwards; a stop that comes meanwhile takes effect. */
static void stopped(void)
{
	struct live l = start(&threads_program);
	struct proc_stat s = { 0 };
	struct remote *r = NULL;
	int signal = 0;

	kill(l.pid, SIGSTOP);
	for (int i = 0; i < 20; i++) {
		usleep(1000);
		CHECK_OK(visit(l.pid, 2));
	}
	CHECK_OK(remote_seize(l.pid, &r));
	CHECK_OK(remote_wait_stop(r, &signal, 0));
	CHECK_EQ(signal, SIGSTOP);
	remote_release(&r, 0);
	unsigned long before = shared->thread[0].rounds;
	usleep(20000);
	CHECK_OK(proc_stat_read(l.pid, &s));
	CHECK_EQ(s.state, 'T');
	CHECK_EQ(shared->thread[0].rounds, before);
	kill(l.pid, SIGCONT);
	CHECK(goes_on(&l));

	CHECK_OK(remote_seize(l.pid, &r));
	CHECK_OK(remote_wait_stop(r, &signal, 0));
	CHECK_EQ(signal, 0);
	CHECK_OK(remote_prepare(r, NULL));
	kill(l.pid, SIGSTOP);
	CHECK_OK(work(r, 2));
	remote_release(&r, 0);
	usleep(20000);
	CHECK_OK(proc_stat_read(l.pid, &s));
	CHECK_EQ(s.state, 'T');
	kill(l.pid, SIGCONT);
	CHECK(goes_on(&l));

	CHECK_OK(remote_seize(l.pid, &r));
	CHECK_OK(remote_wait_stop(r, &signal, 0));
	remote_release(&r, SIGSTOP);
	usleep(20000);
	CHECK_OK(proc_stat_read(l.pid, &s));
	CHECK_EQ(s.state, 'T');
	kill(l.pid, SIGCONT);
	end(&l);
}

/* The program is killed at random moments while it is worked on: an error that says so, and no waiting for ever. */
static void victims(const struct program *p, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct live l = start(p);
		unsigned delay = (unsigned)(rand() % 2000);
		int e = 0, status;
		pid_t killer = fork();
		if (!killer) {
			usleep(delay);
			kill(l.pid, SIGKILL);
			_exit(0);
		}
		while (e >= 0 && (err_clear(), waitpid(l.pid, &status, WNOHANG)) == 0)
			e = visit(l.pid, 3);
		CHECK(e == 0 || e == -ESRCH || e == -ENOENT);
		err_clear();
		waitpid(killer, NULL, 0);
		waitpid(l.pid, &status, 0);
		CHECK(kill(l.pid, 0) < 0);
	}
}

static void program_killed(void)
{
	victims(&compute_program, 100);
	victims(&threads_program, 100);
}

/* Threads that come and go are all seized in the end. */
static void *short_thread(void *none)
{
	return none;
}

static void run_restless(void)
{
	for (;;) {
		pthread_t t[4];
		for (int i = 0; i < 4; i++)
			pthread_create(&t[i], NULL, short_thread, NULL);
		for (int i = 0; i < 4; i++)
			wrong(0, pthread_join(t[i], NULL));
	}
}

static const struct program restless_program = { 1, run_restless };

static struct remote *find_seized(struct remote **r, size_t n, pid_t tid)
{
	for (size_t i = 0; i < n; i++)
		if (remote_tid(r[i]) == tid)
			return r[i];
	return NULL;
}

/* Seizes what is new; returns how many there were. */
static size_t seize_new(pid_t pid, struct remote **r, size_t *n)
{
	autofree int *tids = NULL;
	ssize_t found = proc_numbers(pid, "task", &tids);
	size_t fresh = 0;
	int signal;

	for (ssize_t i = 0; i < found; i++) {
		struct remote *one = NULL;
		if (find_seized(r, *n, tids[i]))
			continue;
		fresh++;
		int e = remote_seize(tids[i], &one);
		if (e == 0)
			e = remote_wait_stop(one, &signal, 0);
		if (e == -ESRCH) {
			CHECK_EQ(err_count(), 0);
			remote_release(&one, 0);
			continue;
		}
		CHECK_OK(e);
		CHECK(*n < THREADS);
		r[(*n)++] = one;
	}
	return fresh;
}

static void restless(void)
{
	struct live l = start(&restless_program);

	for (unsigned round = 0; round < 200; round++) {
		struct remote *r[THREADS];
		size_t n = 0;
		while (seize_new(l.pid, r, &n))
			;
		for (size_t i = 0; i < n; i++) {
			CHECK_OK(remote_prepare(r[i], i ? remote_get_mm(r[0]) : NULL));
			CHECK_OK(work(r[i], 1));
		}
		while (n--)
			remote_release(&r[n], 0);
	}
	end(&l);
}

/* The engine is killed at random moments of its work. */
static void kills(const struct program *p, unsigned n)
{
	struct live l = start(p);

	srand(1);
	for (unsigned i = 0; i < n; i++) {
		pid_t engine = fork();
		if (!engine)
			for (;;)
				if (visit(l.pid, 3) < 0) {
					fprintf(stderr, "%s\n", err_line(0));
					_exit(1);
				}
		usleep((unsigned)(rand() % 4000));
		int status;
		kill(engine, SIGKILL);
		waitpid(engine, &status, 0);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		if (!goes_on(&l))
			test_failed(__FILE__, __LINE__, "lost after %u kills", i);
		CHECK_EQ(found_wrong(&l), 0);
	}
	CHECK_OK(visit(l.pid, 1));
	end(&l);
}

/* The engine is stopped at one of its system calls after the other, entry and exit, and killed there. Returns whether it had not ended. */
static bool killed_at(pid_t pid, unsigned stops)
{
	int status;
	pid_t engine = fork();

	if (!engine) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		_exit(visit(pid, 2) < 0);
	}
	CHECK_EQ(waitpid(engine, &status, 0), engine);
	CHECK_EQ(ptrace(PTRACE_SETOPTIONS, engine, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL), 0);
	for (int deliver = 0; WIFSTOPPED(status) && stops;) {
		CHECK_EQ(ptrace(PTRACE_SYSCALL, engine, NULL, (long)deliver), 0);
		CHECK_EQ(waitpid(engine, &status, 0), engine);
		bool call = WIFSTOPPED(status) && WSTOPSIG(status) == (SIGTRAP | 0x80);
		deliver = WIFSTOPPED(status) && !call ? WSTOPSIG(status) : 0;
		stops -= call;
	}
	if (WIFSTOPPED(status)) {
		kill(engine, SIGKILL);
		waitpid(engine, &status, 0);
		return true;
	}
	CHECK_EQ(status, 0);
	return false;
}

/* step: an odd number, so that both sides of calls are met. */
static void kills_everywhere(const struct program *p, unsigned step)
{
	struct live l = start(p);
	unsigned n = 1;

	for (; killed_at(l.pid, n); n += step) {
		if (!goes_on(&l))
			test_failed(__FILE__, __LINE__, "lost after a kill at stop %u", n);
		CHECK_EQ(found_wrong(&l), 0);
	}
	CHECK(n > 100);
	end(&l);
}

static void killed_everywhere_one_thread(void)
{
	kills_everywhere(&compute_program, 1);
}

static void killed_everywhere_eight_threads(void)
{
	kills_everywhere(&threads_program, 13);
}

static void killed_everywhere_asleep(void)
{
	kills_everywhere(&asleep_program, 13);
}

static void killed_everywhere_small_stack(void)
{
	kills_everywhere(&small_stack_program, 3);
}

static void killed_one_thread(void)
{
	kills(&compute_program, 1000);
}

static void killed_eight_threads(void)
{
	kills(&threads_program, 1000);
}

static void killed_asleep(void)
{
	kills(&asleep_program, 300);
}

static void killed_small_stack(void)
{
	kills(&small_stack_program, 300);
}

static void killed_below_a_filter(void)
{
	no_sanitizer();
	kills(&refusing_program, 300);
}

const struct test tests[] = {
	TEST(one_thread), TEST(eight_threads), TEST(asleep), TEST(small_stack), TEST(below_a_filter), TEST(other_user), TEST(pid_namespace),
	TEST(leaves_nothing), TEST(signals_kept), TEST(stopped), TEST(program_killed), TEST(restless),
	{ "killed_one_thread", killed_one_thread, 120 }, { "killed_eight_threads", killed_eight_threads, 120 },
	{ "killed_everywhere_one_thread", killed_everywhere_one_thread, 120 },
	{ "killed_everywhere_eight_threads", killed_everywhere_eight_threads, 120 },
	{ "killed_everywhere_asleep", killed_everywhere_asleep, 120 },
	{ "killed_everywhere_small_stack", killed_everywhere_small_stack, 120 },
	{ "killed_asleep", killed_asleep, 120 }, { "killed_small_stack", killed_small_stack, 120 },
	{ "killed_below_a_filter", killed_below_a_filter, 120 }, {},
};
