/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an application sees of a checkpoint: it beats about every 50 µs and keeps the largest gap between two beats in a file
 * that it maps shared. The clock is CLOCK_MONOTONIC as the application sees it; a restored one may live in a time namespace, so
 * that others compare the count of beats, not their times.
 *
 *	heartbeat run FILE MIB CHILDREN    fill MIB of private memory (no page like another), make CHILDREN processes that sleep, beat
 *	heartbeat write FILE MIB           it writes to so much of its memory, single pages all over it; waits for that
 *	heartbeat work FILE MIB HOT        fill MIB of private memory, write words of the first HOT of them, here and there, without end; the
 *	                                   beats are these words, in thousands
 *	heartbeat count FILE               print the count of beats
 *	heartbeat limit FILE MIB [sync]    write MIB of memory like a program's (run) into a new file by as many threads as there are processors,
 *	                                   print how long that took, in ns; sync: until it is on the disk
 *	heartbeat reset FILE               forget the largest gap
 *	heartbeat gap FILE                 print the largest gap since, in ns
 *	heartbeat next FILE                wait for the next beat, print how long that took, in ns
 *	heartbeat elapsed FILE COMMAND…    run a command, append to FILE how long it took, in ns, and to FILE-size how large it became, in bytes;
 *	                                   exit with its status
 *	heartbeat peak FILE COMMAND…       the same with the most memory that it and what it waited for had, in KiB
 *
 * The beats come from a thread's short sleeps, not from a busy loop: a program that takes a whole processor would slow
 * the engine which is measured. A gap below 0.2 ms is the scheduler's.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct beats {
	_Atomic uint64_t last, gap, count;
	_Atomic uint64_t wanted, written;   /* pages */
};

static void die(const char *what)
{
	fprintf(stderr, "heartbeat: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static struct beats *map_file(const char *path, int flags)
{
	int fd = open(path, O_RDWR | flags, 0644);

	if (fd < 0 || ftruncate(fd, 4096) < 0)
		die(path);
	struct beats *b = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (b == MAP_FAILED)
		die(path);
	close(fd);
	return b;
}

/* Memory that neither the kernel nor an engine can make smaller. */
static uint64_t *fill(size_t mib)
{
	size_t words = (mib << 20) / 8;
	uint64_t x = 88172645463325252ULL;

	if (!mib)
		return NULL;
	uint64_t *m = mmap(NULL, mib << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (m == MAP_FAILED)
		die("memory");
	madvise(m, mib << 20, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < words; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		m[i] = x;
	}
	return m;
}

/* Pages all over the memory: a multiple of an odd number runs through all of them before it comes back (their number is a power of 2). */
static void write_pages(struct beats *b, uint64_t *memory, size_t mib)
{
	size_t pages = (mib << 20) / 4096;

	while (b->written < b->wanted && pages) {
		memory[(b->written * 2654435761ULL % pages) * 512]++;
		b->written++;
	}
}

/* At a real-time priority, where equals do not take turns, the engine must not keep the program from running. */
static void rise(void)
{
	struct sched_param p;

	if (sched_getscheduler(0) == SCHED_FIFO && sched_getparam(0, &p) == 0) {
		p.sched_priority += 5;
		sched_setscheduler(0, SCHED_FIFO, &p);
	}
}

__attribute__((noreturn)) static void run(struct beats *b, size_t mib, int children)
{
	struct timespec pause = { 0, 50000 };

	uint64_t *memory = fill(mib);
	for (int i = 0; i < children; i++) {
		pid_t pid = fork();
		if (pid < 0)
			die("fork");
		while (!pid)
			sleep(1000);
	}
	prctl(PR_SET_TIMERSLACK, 1);
	rise();
	b->last = now();
	for (;;) {
		uint64_t t = now(), gap = t - b->last;
		if (gap > b->gap)
			b->gap = gap;
		b->last = t;
		b->count++;
		nanosleep(&pause, NULL);
		if (b->written < b->wanted) {
			write_pages(b, memory, mib);
			b->last = now();
		}
	}
}

static int write_some(struct beats *b, size_t mib)
{
	b->wanted += (mib << 20) / 4096;
	while (b->written < b->wanted)
		usleep(200);
	return 0;
}

__attribute__((noreturn)) static void work(struct beats *b, size_t mib, size_t hot)
{
	uint64_t *memory = fill(mib), words = (hot << 20) / 8, x = 1;

	rise();
	for (;;) {
		for (int i = 0; i < 1000; i++) {
			x = x * 6364136223846793005ULL + 1442695040888963407ULL;
			memory[(x >> 20) % words] += x;
		}
		b->count++;
	}
}

/* --- the limit --- */

enum { CHUNK = 256 << 10 };
static struct {
	int fd;
	uint64_t size;
	const char *memory;
	_Atomic uint64_t next;
} limit_file;

static void *write_chunks(void *unused)
{
	for (uint64_t at; (at = limit_file.next++ * CHUNK) < limit_file.size;)
		if (pwrite(limit_file.fd, limit_file.memory + at, CHUNK, (off_t)at) != CHUNK)
			die("write");
	return unused;
}

static int limit(const char *path, size_t mib, int until_there)
{
	pthread_t threads[4];
	long n = sysconf(_SC_NPROCESSORS_ONLN) < 4 ? sysconf(_SC_NPROCESSORS_ONLN) : 4;

	limit_file.fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	limit_file.size = (uint64_t)mib << 20;
	limit_file.memory = (const char *)fill(mib);
	uint64_t start = now();
	for (long i = 0; i < n; i++)
		pthread_create(&threads[i], NULL, write_chunks, NULL);
	for (long i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	if (until_there && fdatasync(limit_file.fd) < 0)
		die(path);
	printf("%ju\n", (uintmax_t)(now() - start));
	return unlink(path) < 0;
}

static int next(const struct beats *b)
{
	uint64_t start = now(), count = b->count;

	while (b->count == count && now() < start + 30000000000ULL)
		usleep(20);
	printf("%ju\n", (uintmax_t)(now() - start));
	return b->count == count;
}

static int elapsed(const char *file, char **command, int peak)
{
	struct rusage used;
	uint64_t start = now();
	pid_t pid = vfork();
	char size_file[4096];
	int status;

	if (!pid) {
		execvp(command[0], command);
		_exit(127);
	}
	if (pid < 0 || wait4(pid, &status, 0, &used) < 0)
		die(command[0]);
	uint64_t took = peak ? (uint64_t)used.ru_maxrss : now() - start;
	FILE *f = fopen(file, "ae");
	if (!f || fprintf(f, "%ju\n", (uintmax_t)took) < 0 || fclose(f) < 0)
		die(file);
	snprintf(size_file, sizeof size_file, "%s-size", file);
	f = fopen(size_file, "ae");
	if (!f || fprintf(f, "%ju\n", (uintmax_t)used.ru_maxrss << 10) < 0 || fclose(f) < 0)
		die(size_file);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";

	if (argc == 5 && !strcmp(verb, "run"))
		run(map_file(argv[2], O_CREAT), strtoul(argv[3], NULL, 10), atoi(argv[4]));
	if (argc == 5 && !strcmp(verb, "work"))
		work(map_file(argv[2], O_CREAT), strtoul(argv[3], NULL, 10), strtoul(argv[4], NULL, 10));
	if ((argc == 4 || argc == 5) && !strcmp(verb, "limit"))
		return limit(argv[2], strtoul(argv[3], NULL, 10), argc == 5);
	if (argc == 3 && !strcmp(verb, "count"))
		return printf("%ju\n", (uintmax_t)map_file(argv[2], 0)->count) < 0;
	if (argc > 3 && !strcmp(verb, "elapsed"))
		return elapsed(argv[2], argv + 3, 0);
	if (argc > 3 && !strcmp(verb, "peak"))
		return elapsed(argv[2], argv + 3, 1);
	if (argc == 4 && !strcmp(verb, "write"))
		return write_some(map_file(argv[2], 0), strtoul(argv[3], NULL, 10));
	if (argc == 3 && !strcmp(verb, "reset")) {
		map_file(argv[2], 0)->gap = 0;
		return 0;
	}
	if (argc == 3 && !strcmp(verb, "gap"))
		return printf("%ju\n", (uintmax_t)map_file(argv[2], 0)->gap) < 0;
	if (argc == 3 && !strcmp(verb, "next"))
		return next(map_file(argv[2], 0));
	fprintf(stderr, "usage: heartbeat run|write|work|count|limit|reset|gap|next|elapsed …\n");
	return 2;
}
