/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that check themselves while others do things to them.
 *
 *     worker FILE MODE             runs for ever; every thread (or process) counts its rounds and what was wrong in FILE
 *     worker FILE watch [SECONDS]  waits until every one of them has made ten more rounds; exit 1, and says why, if that takes too
 *                                  long or something was wrong
 *
 * The counters lie in a shared mapping of FILE, so that they are readable from outside, and go on after a restore. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COUNTERS 16
struct counter {
	atomic_ulong used, rounds, wrong, what;   /* what: number and errno of the last thing that was wrong */
};
static struct counter *counters;

static struct counter *map_counters(const char *path, int flags)
{
	int fd = open(path, O_RDWR | flags, 0666);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || (!flags && st.st_size < (off_t)(COUNTERS * sizeof(struct counter))) ||
	    (flags & O_CREAT && ftruncate(fd, COUNTERS * sizeof(struct counter)) < 0))
		return NULL;
	void *at = mmap(NULL, COUNTERS * sizeof(struct counter), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return at == MAP_FAILED ? NULL : at;
}

static void round_done(unsigned i, unsigned what)
{
	if (what) {
		counters[i].what = what * 1000 + (unsigned)errno;
		counters[i].wrong++;
	}
	counters[i].used = 1;
	counters[i].rounds++;
}

static void start_thread(void *(*run)(void *), unsigned i)
{
	pthread_t t;

	counters[i].used = 1;
	if (pthread_create(&t, NULL, run, (void *)(uintptr_t)i))
		abort();
}

/* --- computing: integer, vector and floating-point registers, the red zone --- */

typedef uint64_t vector __attribute__((vector_size(32)));

__attribute__((noinline)) static uint64_t vector_chain(uint64_t seed)
{
	vector v = { seed, seed + 1, seed + 2, seed + 3 }, w = v * 3;

	for (int i = 0; i < 2000; i++) {
		v ^= v << 13, v ^= v >> 7, v ^= v << 17;
		w += v;
	}
	return v[0] ^ v[3] ^ w[1];
}

__attribute__((noinline, optimize("no-tree-vectorize"))) static uint64_t scalar_chain(uint64_t seed)
{
	uint64_t r[4], sum[4];

	for (unsigned k = 0; k < 4; k++) {
		uint64_t x = seed + k, s = x * 3;
		for (int i = 0; i < 2000; i++) {
			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			s += x;
		}
		r[k] = x, sum[k] = s;
	}
	return r[0] ^ r[3] ^ sum[1];
}

__attribute__((noinline)) static double float_chain(void)
{
	double a = 1.5;

	for (int i = 0; i < 5000; i++)
		a = a * 1.0000001 + 2.25 * 0.125 - 0.28125;
	return a;
}

__attribute__((noinline)) static long double x87_chain(void)
{
	long double a = 1.5L;

	for (int i = 0; i < 5000; i++)
		a = a * 1.0000001L + 2.25L * 0.125L - 0.28125L;
	return a;
}

static void *compute(void *arg)
{
	unsigned i = (unsigned)(uintptr_t)arg;
	double want = float_chain();
	long double want_long = x87_chain();

	for (uint64_t n = 1;; n++) {
		unsigned what = vector_chain(n * 77777) != scalar_chain(n * 77777) ? 1 : float_chain() != want ? 2 : x87_chain() != want_long ? 3 : 0;
		round_done(i, what);
		if (n % 16 == 0)
			usleep(500);
	}
	return NULL;
}

static void run_single(void)
{
	compute(NULL);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn = PTHREAD_COND_INITIALIZER;
static unsigned holder = 4;

/* Four threads hand a turn around. */
static void *turns(void *arg)
{
	unsigned i = (unsigned)(uintptr_t)arg;

	for (;;) {
		pthread_mutex_lock(&lock);
		while (holder != i)
			pthread_cond_wait(&turn, &lock);
		round_done(i, holder == i ? 0 : 10);
		holder = i == 7 ? 4 : i + 1;
		pthread_cond_broadcast(&turn);
		pthread_mutex_unlock(&lock);
		usleep(100);
	}
	return NULL;
}

static void run_threads(void)
{
	for (unsigned i = 1; i < 8; i++)
		start_thread(i < 4 ? compute : turns, i);
	compute(NULL);
}

/* --- sleeping --- */

static int event, queue, idle_pipe[2];

static int sleep_epoll(void)
{
	struct epoll_event e;
	uint64_t v;

	return epoll_wait(queue, &e, 1, -1) == 1 && read(event, &v, sizeof v) == sizeof v ? 0 : -1;
}

static int sleep_nanosleep(void)
{
	return nanosleep(&(struct timespec){ .tv_nsec = 3000000 }, NULL);
}

static int sleep_poll(void)
{
	return poll(NULL, 0, 3);
}

static int sleep_select(void)
{
	return select(0, NULL, NULL, NULL, &(struct timeval){ .tv_usec = 3000 });
}

static int sleep_futex(void)
{
	sem_t s;
	struct timespec t;

	sem_init(&s, 0, 0);
	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_nsec += 3000000;
	t.tv_sec += t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	return sem_timedwait(&s, &t) < 0 && errno == ETIMEDOUT ? 0 : -1;
}

static int sleep_timerfd(void)
{
	uint64_t n = 0;
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

	timerfd_settime(fd, 0, &(struct itimerspec){ .it_value.tv_nsec = 3000000 }, NULL);
	int r = read(fd, &n, sizeof n) == sizeof n && n == 1 ? 0 : -1;
	int err = errno;
	close(fd);
	errno = err;
	return r;
}

static int sleep_pipe(void)
{
	char byte;

	return read(idle_pipe[0], &byte, 1) == 1 && byte == 'x' ? 0 : -1;
}

static int (*const sleeps[])(void) = { sleep_epoll, sleep_nanosleep, sleep_poll, sleep_select, sleep_futex, sleep_timerfd, sleep_pipe };
#define SLEEPS (sizeof sleeps / sizeof *sleeps)

/* epoll_wait is never restarted by the kernel: it may say EINTR if the engine dies just after it has stopped the thread. */
static void *sleeper(void *arg)
{
	unsigned i = (unsigned)(uintptr_t)arg;

	for (;;) {
		errno = 0;
		int r = sleeps[i]();
		round_done(i, r && !(i == 0 && errno == EINTR) ? 20 : 0);
	}
	return NULL;
}

static void run_asleep(void)
{
	struct epoll_event e = { .events = EPOLLIN };
	uint64_t one = 1;

	event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	queue = epoll_create1(EPOLL_CLOEXEC);
	epoll_ctl(queue, EPOLL_CTL_ADD, event, &e);
	if (pipe(idle_pipe) < 0)
		abort();
	for (unsigned i = 0; i < SLEEPS; i++)
		start_thread(sleeper, i);
	for (;;) {
		usleep(3000);
		if (write(event, &one, sizeof one) != sizeof one || write(idle_pipe[1], "x", 1) != 1)
			abort();
	}
}

/* --- processes: a token goes round through pipes; each has packets and bytes waiting for itself in a socket and in a pipe --- */

#define RING 4
static int ring[RING][2];

struct own {
	int pair[2], pipe[2], event;
	uint64_t sent, received;
};

static int own_put(struct own *o)
{
	uint64_t v = o->sent++, one = 1;

	return send(o->pair[0], &v, sizeof v, 0) == sizeof v && write(o->pipe[1], &v, sizeof v) == sizeof v &&
			       write(o->event, &one, sizeof one) == sizeof one ?
		       0 :
		       30;
}

static unsigned own_take(struct own *o)
{
	uint64_t a = 0, b = 0, c = 0, want = o->received++;

	if (recv(o->pair[1], &a, sizeof a, MSG_PEEK) != sizeof a || a != want)
		return 31;
	a = 0;
	if (recv(o->pair[1], &a, sizeof a, 0) != sizeof a || a != want)
		return 32;
	if (read(o->pipe[0], &b, sizeof b) != sizeof b || b != want)
		return 33;
	return read(o->event, &c, sizeof c) == sizeof c && c == 1 ? 0 : 34;
}

/* Packets of all sizes wait in a socket, and go round. */
static char packet[100000];

static bool packet_put(int fd, unsigned n)
{
	size_t size = n % 3 ? n % 3 * 40000 + n % 1000 : n % 50 + 1;

	memset(packet, (int)n, size);
	return send(fd, packet, size, 0) == (ssize_t)size;
}

static bool packet_take(int fd, unsigned n)
{
	ssize_t size = recv(fd, packet, sizeof packet, 0);

	return size == (ssize_t)(n % 3 ? n % 3 * 40000 + n % 1000 : n % 50 + 1) && packet[0] == (char)n && packet[size - 1] == (char)n &&
	       !memcmp(packet, packet + 1, (size_t)size - 1);
}

static void member(unsigned i)
{
	struct own o = { 0 };
	unsigned packets = 0;
	int packet_pair[2];
	uint64_t token, expected = i;
	int from = ring[i][0], to = ring[(i + 1) % RING][1], ready = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event e = { .events = EPOLLIN };

	o.event = eventfd(0, EFD_SEMAPHORE);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, o.pair) < 0 || pipe(o.pipe) < 0 || epoll_ctl(ready, EPOLL_CTL_ADD, from, &e) < 0)
		abort();
	for (int k = 0; k < 3; k++)
		own_put(&o);
	if (socketpair(AF_UNIX, i % 2 ? SOCK_DGRAM : SOCK_SEQPACKET, 0, packet_pair) < 0)
		abort();
	while (packets < 3)
		if (!packet_put(packet_pair[0], packets++))
			abort();
	for (;;) {
		errno = 0;
		int n = epoll_wait(ready, &e, 1, -1);
		unsigned what = n == 1 ? 0 : n < 0 && errno == EINTR ? 0 : 40;
		if (read(from, &token, sizeof token) != sizeof token || token != expected)
			what = 41;
		expected += RING;
		token++;
		if (!what)
			what = own_put(&o);
		if (!what)
			what = own_take(&o);
		if (!what && counters[i].rounds % 16 == 0)
			what = !packet_take(packet_pair[1], packets - 3) ? 35 : !packet_put(packet_pair[0], packets++) ? 36 : 0;
		round_done(i, what);
		if (i == 0)
			usleep(200);
		if (write(to, &token, sizeof token) != sizeof token)
			round_done(i, 42);
	}
}

static void run_tree(void)
{
	uint64_t token = 0;

	for (int i = 0; i < RING; i++)
		if (pipe(ring[i]) < 0)
			abort();
	for (unsigned i = 1; i < RING; i++) {
		counters[i].used = 1;
		if (fork() == 0)
			member(i);
	}
	if (write(ring[0][1], &token, sizeof token) != sizeof token)
		abort();
	member(0);
}

/* --- a family: children compute, and are replaced when they die --- */

static void run_family(void)
{
	pid_t child[4] = { 0 };

	for (;;) {
		for (unsigned i = 1; i < 4; i++) {
			if (child[i] && waitpid(child[i], NULL, WNOHANG) != child[i])
				continue;
			counters[i].used = 1;
			child[i] = fork();
			if (!child[i])
				compute((void *)(uintptr_t)i);
		}
		round_done(0, 0);
		usleep(500);
	}
}

/* A child that sleeps on its parent's memory: the parent waits where no signal reaches it. */
static void run_vfork(void)
{
	if (vfork() == 0)
		for (;;) {
			round_done(0, 0);
			usleep(1000);
		}
}

/* Counting without a pause, in threads and in a child: who runs for a moment, even, has counted on. */
static void *spin(void *arg)
{
	for (;;)
		counters[(uintptr_t)arg].rounds++;
	return NULL;
}

static void run_spin(void)
{
	start_thread(spin, 1);
	counters[2].used = 1;
	spin(fork() ? NULL : (void *)2);
}

/* Clocks that neither stand still nor jump: a program that was away for a while does not see that. */
static void run_clocks(void)
{
	static const clockid_t clocks[] = { CLOCK_MONOTONIC, CLOCK_BOOTTIME };
	double last[2] = { 0 };

	for (;;) {
		for (unsigned i = 0; i < 2; i++) {
			struct timespec t;
			clock_gettime(clocks[i], &t);
			double now = (double)t.tv_sec + (double)t.tv_nsec / 1e9;
			round_done(i, last[i] != 0 && (now < last[i] || now > last[i] + 6) ? 50 : 0);
			last[i] = now;
		}
		usleep(2000);
	}
}

/* --- watching --- */

static bool grown(const unsigned long *before)
{
	bool all = true, any = false;

	for (int i = 0; i < COUNTERS; i++) {
		all = all && (!counters[i].used || counters[i].rounds >= before[i] + 10);
		any = any || counters[i].used;
	}
	return all && any;
}

static int watch(double seconds)
{
	unsigned long before[COUNTERS];
	bool good = false;

	for (int i = 0; i < COUNTERS; i++)
		before[i] = counters[i].rounds;
	for (int n = 0; n < (int)(seconds * 500) && !good; n++) {
		good = grown(before);
		if (!good)
			usleep(2000);
	}
	if (!good)
		printf("no progress in %g s\n", seconds);
	for (int i = 0; i < COUNTERS; i++)
		if (counters[i].wrong || (!good && counters[i].used)) {
			printf("%d: %lu rounds (before: %lu), %lu wrong, the last one: %lu, errno %lu\n", i, counters[i].rounds, before[i],
			       counters[i].wrong, counters[i].what / 1000, counters[i].what % 1000);
			good = good && !counters[i].wrong;
		}
	return !good;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} modes[] = { { "single", run_single }, { "threads", run_threads }, { "asleep", run_asleep }, { "tree", run_tree },
		    { "family", run_family }, { "vfork", run_vfork }, { "clocks", run_clocks }, { "spin", run_spin } };

	if (argc < 3)
		return 2;
	bool watching = !strcmp(argv[2], "watch");
	counters = map_counters(argv[1], watching ? 0 : O_CREAT);
	if (!counters) {
		perror(argv[1]);
		return 2;
	}
	if (watching)
		return watch(argc > 3 ? atof(argv[3]) : 10);
	counters[0].used = 1;
	close_range(3, ~0u, 0);   /* what the test's shell had open is not the program's */
	for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
		if (!strcmp(argv[2], modes[i].name))
			modes[i].run();
	return 2;
}
