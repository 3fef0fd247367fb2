/* SPDX-License-Identifier: Apache-2.0 */
/* What a container uses, as containerd's metric messages: those of cgroup v1 (io.containerd.cgroups.v1.Metrics) or of v2. memory.stat's lines
 * become the message's fields by their names, which differ from the kernel's in underscores only. Runs in a worker: dozens of files are
 * read. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fd.h"
#include "cgroup/stats.h"
#include "cgroup1.pb-c.h"
#include "cgroup2.pb-c.h"
#include "container/container.h"
#include "containerd/task.h"

static bool same_name(const char *a, const char *b)
{
	for (;; a++, b++) {
		a += strspn(a, "_");
		b += strspn(b, "_");
		if (*a != *b)
			return false;
		if (!*a)
			return true;
	}
}

/* Sets the uint64 fields of a message that have the names of counts. */
static void fill_by_name(ProtobufCMessage *m, const struct cgroup_count *counts, size_t n)
{
	const ProtobufCMessageDescriptor *d = m->descriptor;

	for (unsigned f = 0; f < d->n_fields; f++)
		for (size_t i = 0; i < n; i++)
			if (d->fields[f].type == PROTOBUF_C_TYPE_UINT64 && same_name(d->fields[f].name, counts[i].name))
				memcpy((char *)m + d->fields[f].offset, &counts[i].value, sizeof counts[i].value);
}

static int pack(struct job_result *r, const char *type, const ProtobufCMessage *m)
{
	Wk__Any any = WK__ANY__INIT;
	autofree char *name = str_dup(type);
	size_t size = protobuf_c_message_get_packed_size(m);
	autofree uint8_t *data = mem_alloc(size + 1);

	protobuf_c_message_pack(m, data);
	any.type_url = name;
	any.value = (ProtobufCBinaryData){ .len = size, .data = data };
	r->size = wk__any__get_packed_size(&any);
	r->data = mem_alloc(r->size);
	wk__any__pack(&any, r->data);
	return 0;
}

/* Both messages have the same fields: what is used is called `usage` or `current`, and the `max` of v1 is what was used at most. */
#define HUGETLB(type, init, used, most)                                      \
	m.n_hugetlb = s->n_hugepages;                                        \
	m.hugetlb = arena_array(a, type *, s->n_hugepages + 1);              \
	for (size_t i = 0; i < s->n_hugepages; i++) {                        \
		type *h = m.hugetlb[i] = arena_new(a, type);                 \
		init(h);                                                     \
		h->used = s->hugepages[i].amount.usage;                      \
		h->max = s->hugepages[i].amount.most;                        \
		h->failcnt = s->hugepages[i].amount.failcnt;                 \
		h->pagesize = arena_str(a, s->hugepages[i].size);            \
	}

/* --- v1 ------------------------------------------------------------------------------------------------------------------------ */

static Cgroup1__MemoryEntry *entry1(struct arena *a, const struct cgroup_amount *amount)
{
	Cgroup1__MemoryEntry *e = arena_new(a, Cgroup1__MemoryEntry);

	cgroup1__memory_entry__init(e);
	e->limit = amount->limit;
	e->usage = amount->usage;
	e->max = amount->max;
	e->failcnt = amount->failcnt;
	return e;
}

static Cgroup1__MemoryStat *memory1(struct arena *a, const struct cgroup_stats *s)
{
	Cgroup1__MemoryStat *m = arena_new(a, Cgroup1__MemoryStat);

	cgroup1__memory_stat__init(m);
	fill_by_name(&m->base, s->memory.raw, s->memory.n_raw);
	for (size_t i = 0; i < s->memory.n_raw; i++)
		if (!strcmp(s->memory.raw[i].name, "hierarchical_memsw_limit"))
			m->hierarchical_swap_limit = s->memory.raw[i].value;
	m->usage = entry1(a, &s->memory.usage);
	m->swap = entry1(a, &s->memory.swap);
	m->kernel = entry1(a, &s->memory.kernel);
	m->kernel_tcp = entry1(a, &s->memory.kernel_tcp);
	return m;
}

static Cgroup1__CPUStat *cpu1(struct arena *a, const struct cgroup_stats *s)
{
	Cgroup1__CPUStat *c = arena_new(a, Cgroup1__CPUStat);

	cgroup1__cpustat__init(c);
	c->usage = arena_new(a, Cgroup1__CPUUsage);
	cgroup1__cpuusage__init(c->usage);
	c->usage->total = s->cpu.total;
	c->usage->kernel = s->cpu.kernel;
	c->usage->user = s->cpu.user;
	c->usage->n_per_cpu = s->cpu.n_percpu;
	c->usage->per_cpu = s->cpu.percpu;
	c->throttling = arena_new(a, Cgroup1__Throttle);
	cgroup1__throttle__init(c->throttling);
	c->throttling->periods = s->cpu.periods;
	c->throttling->throttled_periods = s->cpu.throttled_periods;
	c->throttling->throttled_time = s->cpu.throttled_time;
	return c;
}

static Cgroup1__BlkIOEntry **block1(struct arena *a, const struct cgroup_stats *s, enum cgroup_block kind, size_t *n)
{
	Cgroup1__BlkIOEntry **list = arena_array(a, Cgroup1__BlkIOEntry *, s->block[kind].n + 1);

	*n = s->block[kind].n;
	for (size_t i = 0; i < *n; i++) {
		const struct cgroup_block_entry *b = &s->block[kind].data[i];
		Cgroup1__BlkIOEntry *e = list[i] = arena_new(a, Cgroup1__BlkIOEntry);
		cgroup1__blk_ioentry__init(e);
		e->op = arena_str(a, b->op ? b->op : "");
		e->major = b->major;
		e->minor = b->minor;
		e->value = b->value;
	}
	return list;
}

static Cgroup1__BlkIOStat *blkio1(struct arena *a, const struct cgroup_stats *s)
{
	Cgroup1__BlkIOStat *b = arena_new(a, Cgroup1__BlkIOStat);

	cgroup1__blk_iostat__init(b);
#define BLOCK(field, kind) b->field = block1(a, s, kind, &b->n_##field)
	BLOCK(io_service_bytes_recursive, BLOCK_BYTES);
	BLOCK(io_serviced_recursive, BLOCK_SERVICED);
	BLOCK(io_queued_recursive, BLOCK_QUEUED);
	BLOCK(io_service_time_recursive, BLOCK_SERVICE_TIME);
	BLOCK(io_wait_time_recursive, BLOCK_WAIT_TIME);
	BLOCK(io_merged_recursive, BLOCK_MERGED);
	BLOCK(io_time_recursive, BLOCK_TIME);
	BLOCK(sectors_recursive, BLOCK_SECTORS);
	return b;
}

static int metrics1(struct arena *a, const struct cgroup_stats *s, struct job_result *r)
{
	Cgroup1__Metrics m = CGROUP1__METRICS__INIT;
	Cgroup1__PidsStat pids = CGROUP1__PIDS_STAT__INIT;

	pids.current = s->pids_current;
	pids.limit = s->pids_limit;
	m.pids = &pids;
	m.cpu = cpu1(a, s);
	m.memory = memory1(a, s);
	m.blkio = blkio1(a, s);
	HUGETLB(Cgroup1__HugetlbStat, cgroup1__hugetlb_stat__init, usage, max);
	return pack(r, "io.containerd.cgroups.v1.Metrics", &m.base);
}

/* --- v2 ------------------------------------------------------------------------------------------------------------------------ */

static Cgroup2__PSIData *psi_line(struct arena *a, const struct cgroup_psi_line *line)
{
	Cgroup2__PSIData *d = arena_new(a, Cgroup2__PSIData);

	cgroup2__psidata__init(d);
	d->avg10 = line->avg10 ? strtod(line->avg10, NULL) : 0;
	d->avg60 = line->avg60 ? strtod(line->avg60, NULL) : 0;
	d->avg300 = line->avg300 ? strtod(line->avg300, NULL) : 0;
	d->total = line->total;
	return d;
}

static Cgroup2__PSIStats *psi(struct arena *a, const struct cgroup_psi *p)
{
	if (!p->present)
		return NULL;
	Cgroup2__PSIStats *s = arena_new(a, Cgroup2__PSIStats);
	cgroup2__psistats__init(s);
	s->some = psi_line(a, &p->some);
	s->full = psi_line(a, &p->full);
	return s;
}

static Cgroup2__MemoryStat *memory2(struct arena *a, const struct cgroup_stats *s)
{
	Cgroup2__MemoryStat *m = arena_new(a, Cgroup2__MemoryStat);

	cgroup2__memory_stat__init(m);
	fill_by_name(&m->base, s->memory.raw, s->memory.n_raw);
	m->usage = s->memory.usage.usage;
	m->usage_limit = s->memory.usage.limit;
	m->max_usage = s->memory.usage.max;
	m->swap_usage = s->memory.swap.usage;
	m->swap_limit = s->memory.swap.limit;
	m->swap_max_usage = s->memory.swap.max;
	m->psi = psi(a, &s->memory.psi);
	return m;
}

static Cgroup2__CPUStat *cpu2(struct arena *a, const struct cgroup_stats *s)
{
	Cgroup2__CPUStat *c = arena_new(a, Cgroup2__CPUStat);

	cgroup2__cpustat__init(c);
	c->usage_usec = s->cpu.total / 1000;
	c->user_usec = s->cpu.user / 1000;
	c->system_usec = s->cpu.kernel / 1000;
	c->nr_periods = s->cpu.periods;
	c->nr_throttled = s->cpu.throttled_periods;
	c->throttled_usec = s->cpu.throttled_time / 1000;
	c->psi = psi(a, &s->cpu.psi);
	return c;
}

static Cgroup2__IOEntry *io_entry(struct arena *a, Cgroup2__IOStat *io, uint64_t major, uint64_t minor)
{
	for (size_t i = 0; i < io->n_usage; i++)
		if (io->usage[i]->major == major && io->usage[i]->minor == minor)
			return io->usage[i];
	Cgroup2__IOEntry *e = io->usage[io->n_usage++] = arena_new(a, Cgroup2__IOEntry);
	cgroup2__ioentry__init(e);
	e->major = major;
	e->minor = minor;
	return e;
}

static Cgroup2__IOStat *io2(struct arena *a, const struct cgroup_stats *s)
{
	Cgroup2__IOStat *io = arena_new(a, Cgroup2__IOStat);

	cgroup2__iostat__init(io);
	io->usage = arena_array(a, Cgroup2__IOEntry *, s->block[BLOCK_BYTES].n + s->block[BLOCK_SERVICED].n + 1);
	for (int kind = BLOCK_BYTES; kind <= BLOCK_SERVICED; kind++)
		for (size_t i = 0; i < s->block[kind].n; i++) {
			const struct cgroup_block_entry *b = &s->block[kind].data[i];
			Cgroup2__IOEntry *e = io_entry(a, io, b->major, b->minor);
			bool read = b->op && tolower((unsigned char)*b->op) == 'r', write = b->op && tolower((unsigned char)*b->op) == 'w';
			uint64_t *to = kind == BLOCK_BYTES ? (read ? &e->rbytes : &e->wbytes) : read ? &e->rios : &e->wios;
			if (read || write)
				*to = b->value;
		}
	io->psi = psi(a, &s->block_psi);
	return io;
}

static Cgroup2__MemoryEvents *events2(struct arena *a, const struct spec_pairs *cgroups)
{
	Cgroup2__MemoryEvents *e = arena_new(a, Cgroup2__MemoryEvents);
	autofree char *text = NULL, *path = cgroups->n ? str_printf("%s/memory.events", cgroups->data[cgroups->n - 1].value) : NULL;
	struct cgroup_count counts[8];
	char *state = NULL;
	size_t n = 0;

	cgroup2__memory_events__init(e);
	if (!path || file_read(-1, path, &text, 4096) < 0)
		return e;
	for (char *line = strtok_r(text, "\n", &state); line && n < 8; line = strtok_r(NULL, "\n", &state)) {
		char *value = strchr(line, ' ');
		if (!value)
			continue;
		*value++ = '\0';
		counts[n++] = (struct cgroup_count){ line, strtoull(value, NULL, 10) };
	}
	fill_by_name(&e->base, counts, n);
	return e;
}

static int metrics2(struct arena *a, const struct cgroup_stats *s, const struct spec_pairs *cgroups, struct job_result *r)
{
	Cgroup2__Metrics m = CGROUP2__METRICS__INIT;
	Cgroup2__PidsStat pids = CGROUP2__PIDS_STAT__INIT;

	pids.current = s->pids_current;
	pids.limit = s->pids_limit;
	m.pids = &pids;
	m.cpu = cpu2(a, s);
	m.memory = memory2(a, s);
	m.io = io2(a, s);
	m.memory_events = events2(a, cgroups);
	HUGETLB(Cgroup2__HugeTlbStat, cgroup2__huge_tlb_stat__init, current, limit);
	return pack(r, "io.containerd.cgroups.v2.Metrics", &m.base);
}

int stats_of_groups(const struct spec_pairs *groups, struct job_result *r)
{
	struct cgroup_stats stats;
	struct arena arena = { 0 };

	memset(&stats, 0, sizeof stats);
	int ret = cgroup_stats_read(&arena, groups, &stats);
	if (ret >= 0)
		ret = cgroup_unified_only(groups) ? metrics2(&arena, &stats, groups, r) : metrics1(&arena, &stats, r);
	arena_done(&arena);
	return ret;
}

int stats_collect(const char *id, struct job_result *r)
{
	struct container *c;
	int ret = container_open(&shim.oci, id, &c);

	if (ret < 0)
		return ret;
	ret = stats_of_groups(&c->cgroups, r);
	container_free(c);
	return ret;
}
