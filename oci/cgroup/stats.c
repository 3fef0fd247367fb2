/* SPDX-License-Identifier: Apache-2.0 */
/* What a container uses, read from its cgroups.
 *
 * The files are of a few shapes: one number (or "max"), lines of KEY VALUE (memory.stat), lines of DEVICE OP VALUE (v1 block I/O) or DEVICE
 * KEY=VALUE … (io.stat), a table per processor, pressure lines. A file that is not there leaves its values zero: controllers may be
 * missing, and kernels differ.
 *
 * cpuacct.stat counts in ticks of USER_HZ. On hybrid a container without a cpuacct group (made by an older version) still has the total in its
 * cgroup2's cpu.stat, which needs no controller. */
#include "cgroup/stats.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "cgroup/internal.h"

const char *const cgroup_cpuset_names[9] = {
	"cpu_exclusive", "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page", "memory_spread_slab", "memory_pressure",
	"sched_load_balance", NULL,
};

/* NULL when it is not there. */
static char *text_of(struct arena *arena, const char *dir, const char *file)
{
	char path[PATH_MAX];
	autofree char *text = NULL;

	if (!dir || snprintf(path, sizeof path, "%s/%s", dir, file) >= (int)sizeof path)
		return NULL;
	return file_read(AT_FDCWD, path, &text, 4 << 20) < 0 ? NULL : arena_str(arena, text);
}

static uint64_t number_of(struct arena *arena, const char *dir, const char *file)
{
	const char *text = text_of(arena, dir, file);

	return !text ? 0 : str_starts(text, "max") ? UINT64_MAX : strtoull(text, NULL, 10);
}

/* "KEY VALUE" lines; text is cut. */
static struct cgroup_count *counts_of(struct arena *arena, char *text, size_t *n)
{
	ARRAY(struct cgroup_count) list = { 0 };

	for (char *save, *line = text ? strtok_r(text, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save)) {
		char *blank = strchr(line, ' ');
		if (!blank)
			continue;
		*blank = 0;
		array_push(&list) = (struct cgroup_count){ line, strtoull(blank + 1, NULL, 10) };
	}
	*n = list.n;
	struct cgroup_count *kept = list.n ? arena_dup(arena, list.data, list.n * sizeof *list.data) : NULL;
	array_free(&list);
	return kept;
}

static uint64_t count_of(const struct cgroup_count *counts, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(counts[i].name, name))
			return counts[i].value;
	return 0;
}

/* "some avg10=0.00 avg60=0.00 avg300=0.00 total=0" and the same of full. */
static void read_psi(struct arena *arena, const char *dir, const char *file, struct cgroup_psi *psi)
{
	char kind[8], avg[3][16];
	uint64_t total;
	char *text = text_of(arena, dir, file);

	for (char *save, *line = text ? strtok_r(text, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save)) {
		if (sscanf(line, "%7s avg10=%15[0-9.] avg60=%15[0-9.] avg300=%15[0-9.] total=%" SCNu64, kind, avg[0], avg[1], avg[2], &total) != 5)
			continue;
		*(strcmp(kind, "full") ? &psi->some : &psi->full) = (struct cgroup_psi_line){
			arena_str(arena, avg[0]), arena_str(arena, avg[1]), arena_str(arena, avg[2]), total,
		};
		psi->present = true;
	}
}

/* -- v1 --------------------------------------------------------------------------------------------------------------------- */

/* "cpu user system", then a line of numbers per processor. */
static void read_percpu(struct arena *arena, const char *dir, struct cgroup_stats *s)
{
	uint64_t each[256];
	size_t n = 0;
	char *text = text_of(arena, dir, "cpuacct.usage_percpu");

	for (char *end; text && n < 256; text = end) {
		each[n] = strtoull(text, &end, 10);
		if (end == text)
			break;
		n++;
	}
	s->cpu.percpu = arena_dup(arena, each, n * sizeof *each);
	s->cpu.n_percpu = n;
	s->cpu.percpu_user = arena_array(arena, uint64_t, 256);
	s->cpu.percpu_kernel = arena_array(arena, uint64_t, 256);
	text = text_of(arena, dir, "cpuacct.usage_all");
	for (char *save, *line = text ? strtok_r(text, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save)) {
		size_t at = s->cpu.n_percpu_split;
		if (at < 256 && sscanf(line, "%*u %" SCNu64 " %" SCNu64, &s->cpu.percpu_user[at], &s->cpu.percpu_kernel[at]) == 2)
			s->cpu.n_percpu_split++;
	}
}

static void read_cpu_v1(struct arena *arena, const struct spec_pairs *g, struct cgroup_stats *s)
{
	const char *dir = cgroup_path(g, "cpuacct");
	uint64_t tick = 1000000000 / (uint64_t)sysconf(_SC_CLK_TCK);
	size_t n;
	struct cgroup_count *c = counts_of(arena, text_of(arena, dir, "cpuacct.stat"), &n);

	s->cpu.total = number_of(arena, dir, "cpuacct.usage");
	s->cpu.user = count_of(c, n, "user") * tick;
	s->cpu.kernel = count_of(c, n, "system") * tick;
	read_percpu(arena, dir, s);
	c = counts_of(arena, text_of(arena, cgroup_path(g, "cpu"), "cpu.stat"), &n);
	s->cpu.periods = count_of(c, n, "nr_periods");
	s->cpu.throttled_periods = count_of(c, n, "nr_throttled");
	s->cpu.throttled_time = count_of(c, n, "throttled_time");
	if (dir || !cgroup_path(g, ""))
		return;
	c = counts_of(arena, text_of(arena, cgroup_path(g, ""), "cpu.stat"), &n);
	s->cpu.total = count_of(c, n, "usage_usec") * 1000;
	s->cpu.user = count_of(c, n, "user_usec") * 1000;
	s->cpu.kernel = count_of(c, n, "system_usec") * 1000;
}

static void read_cpuset_v1(struct arena *arena, const struct spec_pairs *g, struct cgroup_stats *s)
{
	const char *dir = cgroup_path(g, "cpuset");
	char file[64];

	s->cpus = text_of(arena, dir, "cpuset.cpus");
	s->mems = text_of(arena, dir, "cpuset.mems");
	for (size_t i = 0; cgroup_cpuset_names[i]; i++) {
		snprintf(file, sizeof file, "cpuset.%s", cgroup_cpuset_names[i]);
		s->cpuset[i] = number_of(arena, dir, file);
	}
	s->relax_domain_level = (int64_t)number_of(arena, dir, "cpuset.sched_relax_domain_level");
}

static struct cgroup_amount amount_v1(struct arena *arena, const char *dir, const char *prefix, const char *limit)
{
	char file[64];
	struct cgroup_amount a;
	const struct {
		const char *suffix;
		uint64_t *to;
	} files[] = {
		{ limit, &a.limit }, { "usage_in_bytes", &a.usage }, { "max_usage_in_bytes", &a.max }, { "failcnt", &a.failcnt },
	};

	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		snprintf(file, sizeof file, "%s.%s", prefix, files[i].suffix);
		*files[i].to = number_of(arena, dir, file);
	}
	return a;
}

static void read_memory_v1(struct arena *arena, const struct spec_pairs *g, struct cgroup_stats *s)
{
	const char *dir = cgroup_path(g, "memory");

	s->memory.raw = counts_of(arena, text_of(arena, dir, "memory.stat"), &s->memory.n_raw);
	s->memory.cache = count_of(s->memory.raw, s->memory.n_raw, "cache");
	s->memory.usage = amount_v1(arena, dir, "memory", "limit_in_bytes");
	s->memory.swap = amount_v1(arena, dir, "memory.memsw", "limit_in_bytes");
	s->memory.kernel = amount_v1(arena, dir, "memory.kmem", "limit_in_bytes");
	s->memory.kernel_tcp = amount_v1(arena, dir, "memory.kmem.tcp", "limit_in_bytes");
}

/* "8:0 Read 4096", "8:0 123"; a line "Total" ends the list. */
static void read_block_file(struct arena *arena, const char *dir, const char *file, struct cgroup_stats *s, enum cgroup_block kind)
{
	ARRAY(struct cgroup_block_entry) list = { 0 };
	char op[16];
	char *text = text_of(arena, dir, file);

	for (char *save, *line = text ? strtok_r(text, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save)) {
		struct cgroup_block_entry e = { 0 };
		if (sscanf(line, "%" SCNu64 ":%" SCNu64 " %15[A-Za-z] %" SCNu64, &e.major, &e.minor, op, &e.value) == 4)
			e.op = arena_str(arena, op);
		else if (sscanf(line, "%" SCNu64 ":%" SCNu64 " %" SCNu64, &e.major, &e.minor, &e.value) != 3)
			continue;
		array_push(&list) = e;
	}
	if (list.n)
		s->block[kind].data = arena_dup(arena, list.data, list.n * sizeof *list.data);
	s->block[kind].n = list.n;
	array_free(&list);
}

/* The throttling layer counts for every device; what only a scheduler knows is there with BFQ. */
static void read_block_v1(struct arena *arena, const struct spec_pairs *g, struct cgroup_stats *s)
{
	static const char *const files[BLOCK_KINDS] = {
		[BLOCK_BYTES] = "blkio.throttle.io_service_bytes_recursive", [BLOCK_SERVICED] = "blkio.throttle.io_serviced_recursive",
		[BLOCK_QUEUED] = "blkio.bfq.io_queued_recursive",            [BLOCK_SERVICE_TIME] = "blkio.bfq.io_service_time_recursive",
		[BLOCK_WAIT_TIME] = "blkio.bfq.io_wait_time_recursive",      [BLOCK_MERGED] = "blkio.bfq.io_merged_recursive",
		[BLOCK_TIME] = "blkio.bfq.time_recursive",                   [BLOCK_SECTORS] = "blkio.bfq.sectors_recursive",
	};

	for (int k = 0; k < BLOCK_KINDS; k++)
		read_block_file(arena, cgroup_path(g, "blkio"), files[k], s, (enum cgroup_block)k);
}

/* -- v2 --------------------------------------------------------------------------------------------------------------------- */

static void read_cpu_v2(struct arena *arena, const char *dir, struct cgroup_stats *s)
{
	size_t n;
	const struct cgroup_count *c = counts_of(arena, text_of(arena, dir, "cpu.stat"), &n);

	s->cpu.total = count_of(c, n, "usage_usec") * 1000;
	s->cpu.user = count_of(c, n, "user_usec") * 1000;
	s->cpu.kernel = count_of(c, n, "system_usec") * 1000;
	s->cpu.periods = count_of(c, n, "nr_periods");
	s->cpu.throttled_periods = count_of(c, n, "nr_throttled");
	s->cpu.throttled_time = count_of(c, n, "throttled_usec") * 1000;
	read_psi(arena, dir, "cpu.pressure", &s->cpu.psi);
}

static void read_memory_v2(struct arena *arena, const char *dir, struct cgroup_stats *s)
{
	struct cgroup_amount *memory = &s->memory.usage, *both = &s->memory.swap;

	s->memory.raw = counts_of(arena, text_of(arena, dir, "memory.stat"), &s->memory.n_raw);
	s->memory.cache = count_of(s->memory.raw, s->memory.n_raw, "file");
	memory->limit = number_of(arena, dir, "memory.max");
	memory->usage = number_of(arena, dir, "memory.current");
	memory->max = number_of(arena, dir, "memory.peak");
	both->limit = number_of(arena, dir, "memory.swap.max");
	both->usage = number_of(arena, dir, "memory.swap.current") + memory->usage;
	both->max = number_of(arena, dir, "memory.swap.peak");
	both->limit = both->limit == UINT64_MAX || memory->limit == UINT64_MAX ? UINT64_MAX : both->limit + memory->limit;
	read_psi(arena, dir, "memory.pressure", &s->memory.psi);
}

/* "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6" */
static void read_block_v2(struct arena *arena, const char *dir, struct cgroup_stats *s)
{
	static const struct {
		const char *key, *op;
		enum cgroup_block kind;
	} keys[] = {
		{ "rbytes", "Read", BLOCK_BYTES }, { "wbytes", "Write", BLOCK_BYTES }, { "dbytes", "Discard", BLOCK_BYTES },
		{ "rios", "Read", BLOCK_SERVICED }, { "wios", "Write", BLOCK_SERVICED }, { "dios", "Discard", BLOCK_SERVICED },
	};
	ARRAY(struct cgroup_block_entry) lists[BLOCK_KINDS] = { 0 };
	char *text = text_of(arena, dir, "io.stat"), *save, *words;

	for (char *line = text ? strtok_r(text, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save)) {
		uint64_t major, minor;
		if (sscanf(line, "%" SCNu64 ":%" SCNu64, &major, &minor) != 2)
			continue;
		for (char *word = strtok_r(line, " ", &words); word; word = strtok_r(NULL, " ", &words))
			for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
				if (str_starts(word, keys[k].key) && word[strlen(keys[k].key)] == '=')
					array_push(&lists[keys[k].kind]) = (struct cgroup_block_entry){ major, minor,
						strtoull(word + strlen(keys[k].key) + 1, NULL, 10), keys[k].op };
	}
	for (int k = 0; k < BLOCK_KINDS; k++) {
		s->block[k].n = lists[k].n;
		s->block[k].data = lists[k].n ? arena_dup(arena, lists[k].data, lists[k].n * sizeof *lists[k].data) : NULL;
		array_free(&lists[k]);
	}
	read_psi(arena, dir, "io.pressure", &s->block_psi);
}

/* -- both --------------------------------------------------------------------------------------------------------------------- */

static struct cgroup_amount read_hugepage(struct arena *arena, const char *dir, const char *size, bool v2)
{
	char prefix[64], file[96];
	struct cgroup_amount a = { 0 };

	snprintf(prefix, sizeof prefix, "hugetlb.%s", size);
	if (!v2)
		return amount_v1(arena, dir, prefix, "limit_in_bytes");
	snprintf(file, sizeof file, "%s.current", prefix);
	a.usage = number_of(arena, dir, file);
	snprintf(file, sizeof file, "%s.events", prefix);
	size_t n;
	const struct cgroup_count *c = counts_of(arena, text_of(arena, dir, file), &n);
	a.failcnt = count_of(c, n, "max");
	return a;
}

/* The sizes are in the files' names. */
static void read_hugepages(struct arena *arena, const char *dir, bool v2, struct cgroup_stats *s)
{
	const char *end = v2 ? ".current" : ".usage_in_bytes";
	DIR *d = dir ? opendir(dir) : NULL;

	s->hugepages = arena_alloc(arena, 16 * sizeof *s->hugepages);
	for (const struct dirent *e; d && s->n_hugepages < 16 && (e = readdir(d));) {
		if (!str_starts(e->d_name, "hugetlb.") || !str_ends(e->d_name, end) || strstr(e->d_name, ".rsvd."))
			continue;
		size_t at = s->n_hugepages++, n = strlen(e->d_name) - strlen("hugetlb.") - strlen(end);
		s->hugepages[at].size = arena_printf(arena, "%.*s", (int)n, e->d_name + strlen("hugetlb."));
		s->hugepages[at].amount = read_hugepage(arena, dir, s->hugepages[at].size, v2);
	}
	if (d)
		closedir(d);
}

bool cgroup_unified_only(const struct spec_pairs *cgroups)
{
	return cgroup_ops_of(cgroups) == &cgroup_v2_ops;
}

int cgroup_stats_read(struct arena *arena, const struct spec_pairs *g, struct cgroup_stats *s)
{
	bool v2 = cgroup_unified_only(g);
	const char *unified = cgroup_path(g, ""), *pids = v2 ? unified : cgroup_path(g, "pids");

	*s = (struct cgroup_stats){ 0 };
	if (!g->n)
		return fail_text(EOPNOTSUPP, "the container has no cgroups, so there are no statistics");
	if (access(g->data[0].value, F_OK) < 0)
		return fail(errno, "look at cgroup %s", g->data[0].value);
	if (v2) {
		read_cpu_v2(arena, unified, s);
		read_memory_v2(arena, unified, s);
		read_block_v2(arena, unified, s);
	} else {
		read_cpu_v1(arena, g, s);
		read_cpuset_v1(arena, g, s);
		read_memory_v1(arena, g, s);
		read_block_v1(arena, g, s);
	}
	s->pids_current = number_of(arena, pids, "pids.current");
	s->pids_limit = number_of(arena, pids, "pids.max");
	if (s->pids_limit == UINT64_MAX)
		s->pids_limit = 0;
	read_hugepages(arena, v2 ? unified : cgroup_path(g, "hugetlb"), v2, s);
	return 0;
}
