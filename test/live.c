/* SPDX-License-Identifier: Apache-2.0 */
/* Live programs that check themselves, for the unit tests that work on them. */
#include "live.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>

#include "base/proc.h"
#include "base/str.h"
#include "harness.h"
#include "remote/regs.h"
#include "remote/remote.h"

struct shared *live_shared;

/* --- programs --- */

void live_wrong(unsigned i, bool is)
{
	if (is)
		live_shared->thread[i].wrong++;
	live_shared->thread[i].rounds++;
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
		live_wrong(i, chain_is_wrong(n * 77777, want));
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
		live_wrong(i, holder != i);
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
			live_shared->interrupted++;
		live_wrong(i, r && (!interrupted || !sleeps_once[i]));
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
		live_wrong(SLEEPS, nanosleep(&(struct timespec){ .tv_nsec = 3000000 }, NULL) != 0);
		if (write(event, &one, sizeof one) != sizeof one)
			abort();
	}
}

static void count_signal(int signal)
{
	if (signal == SIGRTMIN)
		live_shared->queued++;
	else
		live_shared->signals++;
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
		live_wrong(0, bad);
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

const struct program compute_program = { 1, run_compute }, threads_program = { 8, run_threads }, asleep_program = { SLEEPS + 1, run_asleep },
			    handler_program = { 1, run_handler }, small_stack_program = { 1, run_small_stack },
			    refusing_program = { 1, run_refusing_filter }, killing_program = { 1, run_killing_filter },
			    other_user_program = { 1, run_other_user };

/* --- around them --- */

bool live_goes_on(const struct live *l)
{
	for (unsigned i = 0; i < l->program->threads; i++) {
		unsigned long before = live_shared->thread[i].rounds;
		unsigned w;
		for (w = 0; w < 600000 && live_shared->thread[i].rounds == before; w++)
			usleep(100);
		if (live_shared->thread[i].rounds == before) {
			fprintf(stderr, "thread %u stands still\n", i);
			return false;
		}
	}
	return true;
}

unsigned long live_found_wrong(const struct live *l)
{
	unsigned long n = 0;

	for (unsigned i = 0; i < l->program->threads; i++) {
		if (live_shared->thread[i].wrong)
			fprintf(stderr, "thread %u found %lu things wrong\n", i, live_shared->thread[i].wrong);
		n += live_shared->thread[i].wrong;
	}
	return n;
}

void live_no_sanitizer(void)
{
#ifdef __SANITIZE_ADDRESS__
	test_skip("the sanitizer's own system calls do not pass the program's filter");
#endif
}

struct live live_start_in(const struct program *p, bool pid_namespace)
{
	struct live l = { .program = p };
	atomic_int *number;

	live_shared = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(live_shared != MAP_FAILED);
	number = (atomic_int *)((char *)live_shared + 4096);
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
	for (int i = 0; pid_namespace && !*number && i < 60000; i++)
		usleep(1000);
	l.pid = pid_namespace ? *number : l.outer;
	CHECK(l.pid > 0);
	CHECK(live_goes_on(&l));
	return l;
}

struct live live_start(const struct program *p)
{
	return live_start_in(p, false);
}

void live_end(struct live *l)
{
	int status;

	CHECK(live_goes_on(l));
	CHECK_EQ(live_found_wrong(l), 0);
	CHECK_EQ(waitpid(l->outer, &status, WNOHANG), 0);
	kill(l->pid, SIGKILL);
	waitpid(l->outer, &status, 0);
}

int live_work(struct remote *r, unsigned rounds)
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

unsigned live_hold_ms;

int live_visit(pid_t pid, unsigned rounds)
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
	for (ssize_t i = 0; e == 0 && live_hold_ms && i < n; i++)
		e = remote_hold(r[i], live_hold_ms);
	for (ssize_t i = 0; e == 0 && i < n; i++)
		e = live_work(r[i], rounds);
	for (ssize_t i = n - 1; i >= 0; i--)
		remote_release(&r[i], 0);
	return e;
}
