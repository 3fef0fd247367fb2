/* SPDX-License-Identifier: Apache-2.0 */
/* The images about a checkpoint as a whole, as a dump writes them: pstree (every task with its place), the inventory (whose presence
 * says that the checkpoint is complete) and the statistics, which are a service file in the work directory. */
#include "inventory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "image/run_id.h"
#include "inventory.pb-c.h"
#include "ns/ns.h"
#include "stats.pb-c.h"

#define IMAGE_VERSION 2             /* head magics are there */
#define PRE_DUMP_READ 2             /* pages are read by calls on the running task */
#define NETWORK_LOCK_SKIP 2         /* in the inventory's own numbering: nothing was locked */

int pstree_write(struct dump *d)
{
	auto_image struct image *i = NULL;
	int r = image_create(d->images, IMG_PSTREE, 0, &i);

	for (size_t k = 0; k < d->tree->tasks.n && r >= 0; k++) {
		const struct task *t = d->tree->tasks.data[k];
		PstreeEntry e = PSTREE_ENTRY__INIT;
		uint32_t *threads = arena_array(d->arena, uint32_t, t->n_threads);
		for (size_t n = 0; n < t->n_threads; n++)
			threads[n] = (uint32_t)t->threads[n].tid;
		e.pid = (uint32_t)t->pid;
		e.ppid = t->parent ? (uint32_t)t->parent->pid : 0;
		e.pgid = (uint32_t)t->pgid;
		e.sid = (uint32_t)t->sid;
		e.n_threads = t->n_threads;
		e.threads = threads;
		r = image_write(i, &e);
	}
	return r < 0 ? r : image_close(&i);
}

/* The text of a fresh UUID, from the kernel. */
int inventory_run_id_new(struct dump *d)
{
	autofree char *text = NULL;
	ssize_t n = file_read(AT_FDCWD, "/proc/sys/kernel/random/uuid", &text, 128);

	if (n < 36)
		return fail(n < 0 ? (int)-n : EIO, "read /proc/sys/kernel/random/uuid");
	snprintf(d->run_id, sizeof d->run_id, "%.36s", text);
	return 0;
}

/* Microseconds since the machine has started: CRIU tells by it whether a process is older than a round. */
static uint64_t uptime_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static int write_entry(struct dump *d, InventoryEntry e)
{
	PluginsEntry plugins = PLUGINS_ENTRY__INIT;
	autofree char *parent = d->parent ? image_run_id(d->parent) : NULL;

	e.plugins_entry = &plugins;
	e.dump_criu_run_id = d->run_id;
	e.torpor_parent_run_id = parent;
	e.torpor_lock = d->lock_left ? arena_str(d->arena, d->lock_left) : NULL;
	e.has_torpor_lazy = e.torpor_lazy = d->o->lazy_pages != NULL;
	e.has_dump_uptime = d->o->track_mem || d->o->pre_dump;
	e.dump_uptime = uptime_us();
	return image_write_one(d->images, IMG_INVENTORY, 0, &e);
}

/* As CRIU's: what makes a checkpoint restorable is missing. */
static int write_pre_dump(struct dump *d)
{
	InventoryEntry e = INVENTORY_ENTRY__INIT;

	e.img_version = 0;
	e.has_pre_dump_mode = true;
	e.pre_dump_mode = PRE_DUMP_READ;
	return write_entry(d, e);
}

int inventory_write(struct dump *d)
{
	InventoryEntry e = INVENTORY_ENTRY__INIT;
	TaskKobjIdsEntry ids = TASK_KOBJ_IDS_ENTRY__INIT;

	if (d->o->pre_dump)
		return write_pre_dump(d);
	ids.vm_id = ids.files_id = ids.fs_id = ids.sighand_id = 1;
	ns_fill_root_ids(d, &ids);
	e.img_version = IMAGE_VERSION;
	e.has_fdinfo_per_id = e.fdinfo_per_id = 1;
	e.has_ns_per_id = e.ns_per_id = 1;
	e.root_ids = &ids;
	e.has_root_cg_set = 1;
	e.root_cg_set = 1;
	e.has_lsmtype = 1;
	e.lsmtype = LSMTYPE__NO_LSM;
	e.has_network_lock_method = 1;
	e.network_lock_method = NETWORK_LOCK_SKIP;
	e.has_tcp_close = e.tcp_close = d->o->tcp_close;
	return write_entry(d, e);
}

/* A service file: written in the work directory at once, whole. */
static int service_write(const char *work_dir, enum image_kind kind, const void *message)
{
	struct image_dir *work;
	int r = image_dir_create(work_dir, &work);

	if (r < 0)
		return r;
	r = image_write_one(work, kind, 0, message);
	if (r >= 0)
		r = image_dir_publish(work);
	image_dir_free(work);
	return r;
}

int stats_dump_write(struct dump *d)
{
	StatsEntry e = STATS_ENTRY__INIT;
	DumpStatsEntry s = DUMP_STATS_ENTRY__INIT;

	e.dump = &s;
	s.freezing_time = (uint32_t)d->stats.freezing_us;
	s.frozen_time = (uint32_t)d->stats.frozen_us;
	s.memdump_time = (uint32_t)d->stats.memdump_us;
	s.memwrite_time = (uint32_t)d->stats.memwrite_us;
	s.pages_scanned = d->stats.pages_scanned;
	s.pages_skipped_parent = d->stats.pages_skipped_parent;
	s.pages_written = d->stats.pages_written;
	s.pages_lazy = d->stats.pages_lazy;
	s.has_shpages_scanned = s.has_shpages_written = 1;
	s.shpages_scanned = d->stats.shpages_scanned;
	s.shpages_written = d->stats.shpages_written;
	if (d->o->stats_out)
		dprintf(d->o->stats_out,
			"Displaying dump stats:\nFreezing time: %u us\nFrozen time: %u us\nMemory dump time: %u us\nMemory write time: %u us\n"
			"Pages scanned: %" PRIu64 "\nPages skipped from parent: %" PRIu64 "\nPages written: %" PRIu64 "\nLazy pages: %" PRIu64 "\n",
			s.freezing_time, s.frozen_time, s.memdump_time, s.memwrite_time, s.pages_scanned, s.pages_skipped_parent, s.pages_written,
			s.pages_lazy);
	return service_write(d->o->work_dir ? d->o->work_dir : d->o->images_dir, IMG_STATS_DUMP, &e);
}

int stats_restore_write(struct restore *r)
{
	StatsEntry e = STATS_ENTRY__INIT;
	RestoreStatsEntry s = RESTORE_STATS_ENTRY__INIT;

	e.restore = &s;
	s.pages_compared = r->stats.pages_compared;
	s.pages_skipped_cow = r->stats.pages_skipped_cow;
	s.forking_time = (uint32_t)r->stats.forking_us;
	s.restore_time = (uint32_t)r->stats.restore_us;
	s.has_pages_restored = 1;
	s.pages_restored = r->stats.pages_restored;
	if (r->o->stats_out)
		dprintf(r->o->stats_out,
			"Displaying restore stats:\nPages compared: %" PRIu64 "\nPages skipped COW: %" PRIu64 "\nPages restored: %" PRIu64 "\n"
			"Restore time: %u us\nForking time: %u us\n",
			s.pages_compared, s.pages_skipped_cow, s.pages_restored, s.restore_time, s.forking_time);
	return service_write(r->o->work_dir ? r->o->work_dir : r->o->images_dir, IMG_STATS_RESTORE, &e);
}
