/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint: the engine saves the tree of a container's init.
 *
 * What lies outside the container and is known to it, its stdin, stdout and stderr, is named to the engine by the text that the links
 * /proc/PID/fd/0…2 had at create; the images directory gets the same three texts as descriptors.json (runc's file), so that a restore
 * can put its own caller's descriptors in their place. It is written before the engine seals the checkpoint: one without it would be lost.
 *
 * The log of the engine goes to WORK/dump.log, where users of CRIU look for it. */
#define LOG_PREFIX "checkpoint"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actions.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/proc.h"
#include "cgroup/cgroup.h"
#include "checkpoint.h"
#include "container/container.h"
#include "migrate.h"
#include "oci.h"
#include "spec/json.h"

/* mkdir -p: directories for images and logs are made as they are needed. */
static int make_directories(const char *path)
{
	autofree char *copy = str_dup(path);

	for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		if (mkdir(copy, 0755) < 0 && errno != EEXIST)
			return fail(errno, "make the directory %s", copy);
		*slash = '/';
	}
	return mkdir(copy, 0700) < 0 && errno != EEXIST ? fail(errno, "make the directory %s", copy) : 0;
}

int oci_log_begin(const char *work_path, const char *name)
{
	autofree char *path = str_printf("%s/%s", work_path, name);
	int r = make_directories(work_path);

	if (r < 0)
		return r;
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return fail(errno, "open the log %s", path);
	log_tee(fd);
	return fd;
}

void oci_log_end(int fd)
{
	log_trail_tee();
	log_tee(-1);
	fd_close(&fd);
}

int oci_check_cgroups_mode(const char *mode)
{
	static const char *const modes[] = { "soft", "full", "strict", "ignore", "none", "props" };

	for (size_t i = 0; mode && i < sizeof modes / sizeof *modes; i++)
		if (!strcmp(mode, modes[i]))
			return 0;
	return mode ? fail_text(EINVAL, "manage-cgroups-mode %s: soft, full, strict or ignore", mode) : 0;
}

struct saving {
	const struct container *c;
	char *path;   /* of descriptors.json */
	const struct oci_checkpoint_options *k;
};

static int write_descriptors(void *arg)
{
	const struct saving *s = arg;
	const struct container *c = s->c;
	struct json_out o = { 0 };
	const char *values[4] = { c->descriptors[0], c->descriptors[1], c->descriptors[2], NULL };

	json_open_array(&o, NULL);
	for (int i = 0; i < 3; i++)
		json_add_string(&o, NULL, values[i] ? values[i] : "");
	json_close_array(&o);
	autofree char *text = json_take(&o);
	int r = file_replace(AT_FDCWD, s->path, text, strlen(text), 0600);
	return r < 0 ? fail(-r, "write %s", s->path) : 0;
}

static int is_ready(void *arg, unsigned port)
{
	const struct saving *s = arg;

	return s->k->ready ? s->k->ready(s->k->arg, port) : 0;
}

const char *oci_descriptor_key(const char *link)
{
	return link && *link == '/' ? link + 1 : link;
}

/* A network namespace that the configuration names is its maker's: by the key that runc has for it. NULL: it is the container's own. */
static char *joined_net(const struct container *c)
{
	uint64_t inode;

	for (size_t i = 0; i < c->joined.n; i++)
		if (!strcmp(c->joined.data[i].key, "network") && proc_ns_inode(c->pid, "net", &inode) >= 0)
			return str_printf("net[%llu]:extRootNetNS", (unsigned long long)inode);
	return NULL;
}

/* What the engine leaves to the runtime: the first three descriptors, a network namespace that was joined. */
static void name_external(const struct container *c, const char *net, const char **external)
{
	for (int i = 0; i < 3; i++)
		if (c->descriptors[i] && *c->descriptors[i])
			*external++ = oci_descriptor_key(c->descriptors[i]);
	*external = net;
}

static int dump(struct container *c, const struct oci_checkpoint_options *k, const struct oci_actions *a)
{
	const char *external[5] = { NULL }, *freezer = cgroup_path(&c->cgroups, "");
	autofree char *path = str_printf("%s/descriptors.json", k->image_path);
	struct saving saving = { c, path, k };
	bool older = access(path, F_OK) == 0;
	autofree char *net = joined_net(c);

	name_external(c, net, external);
	const struct ck_page_peer server = { .address = k->page_address, .port = k->page_port, .socket = -1 };
	struct ck_dump_options d = {
		.pid = c->pid,
		.bundle = true,
		.images_dir = k->image_path,
		.work_dir = k->work_path,
		.leave_running = k->leave_running,
		.pre_dump = k->pre_dump,
		.track_mem = k->leave_running && (k->parent_path || k->track_mem),
		.prev_images_dir = k->parent_path,
		.auto_dedup = k->auto_dedup,
		.shell_job = k->shell_job,
		.ext_unix_sk = k->ext_unix_sk,
		.file_locks = k->file_locks,
		.tcp_established = k->tcp_established,
		.skip_in_flight = k->skip_in_flight,
		.link_remap = k->link_remap,
		.freeze_cgroup = freezer ? freezer : cgroup_path(&c->cgroups, "freezer"),
		.external = external,
		.prepared_net = true,
		.empty_net = k->empty_net,
		.manage_cgroups = k->manage_cgroups_mode,
		.page_server = k->page_address && !k->lazy_pages ? &server : NULL,
		.lazy_pages = k->lazy_pages ? &server : NULL,
		.stop_fd = k->stop_fd,
		.ready = is_ready,
		.before_seal = k->pre_dump ? NULL : write_descriptors,
		.arg = &saving,
		.actions = oci_actions_or_null(a),
		.network_lock = a->lock,
		.lock_name = c->id,
	};
	int r = ck_dump(&d);
	if (r < 0 && !older)
		unlink(path);
	return r;
}

static int checkpoint_locked(struct container *c, const struct oci_checkpoint_options *k)
{
	enum oci_status status = container_status(c);

	if (status != OCI_RUNNING && status != OCI_PAUSED)
		return fail_text(ESRCH, "container not running: %s is %s", c->id, oci_status_names[status]);
	struct oci_actions actions;
	int r = oci_actions_begin(&actions, &c->annotations, k->action_scripts, k->network_lock, c->id);
	bool locks = k->tcp_established && actions.lock && !k->pre_dump;
	if (r >= 0)
		r = make_directories(k->image_path);
	if (r >= 0 && locks)
		r = oci_lock_note(c, actions.lock);
	if (r >= 0)
		r = dump(c, k, &actions);
	if (locks)
		oci_lock_forget(c);
	oci_actions_end(&actions);
	return r;
}

int oci_checkpoint(struct container *c, const struct oci_checkpoint_options *k)
{
	int r = oci_check_cgroups_mode(k->manage_cgroups_mode);
	int log = r < 0 ? r : oci_log_begin(k->work_path, "dump.log");
	if (log < 0)
		return log;
	r = container_lock(c);
	if (r >= 0) {
		r = checkpoint_locked(c, k);
		container_unlock(c);
	}
	oci_log_end(log);
	return r;
}
