/* SPDX-License-Identifier: Apache-2.0 */
/* What torpor-cr can be told to do, whoever says it: a command line or a request over RPC fills a struct cr_options; here it becomes the
 * engine's structs. What an option means is in the engine. */
#include "cr/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "checkpoint.h"
#include "netlock.h"
#include "scripts.h"
#include "cr/pages.h"
#include "cr/rpc.h"
#include "cr/values.h"

int cr_open_log(const struct cr_options *o)
{
	static const enum log_level levels[] = { LOG_LEVEL_ERROR, LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
	enum log_level level = levels[o->verbosity < 0 ? 0 : o->verbosity > 4 ? 4 : o->verbosity];

	if (!o->log_file) {
		log_open(2, LOG_TEXT, level);
		return 0;
	}
	int fd = open(o->log_file, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail(errno, "open the log file %s", o->log_file);
	log_open(fd, LOG_TIMESTAMPED, level);
	return 0;
}

/* Paths are the caller's, the log and the statistics live in the work directory: make the images directory absolute, go there. */
int cr_enter_work_dir(struct cr_options *o, char **images)
{
	*images = realpath(o->images_dir, NULL);
	if (!*images)
		return fail(errno, "images directory %s", o->images_dir);
	o->images_dir = *images;
	if (o->work_dir && chdir(o->work_dir) < 0)
		return fail(errno, "work directory %s", o->work_dir);
	if (!o->work_dir && chdir(*images) < 0)
		return fail(errno, "images directory %s", *images);
	o->work_dir = ".";
	return 0;
}

/* What needs no preparation. */
static struct ck_dump_options plain_dump(const struct cr_options *o)
{
	return (struct ck_dump_options){
		.pid = o->tree,
		.track_mem = o->track_mem,
		.tracker = o->tracker,
		.prev_images_dir = o->prev_images_dir,
		.auto_dedup = o->auto_dedup,
		.images_dir = o->images_dir,
		.work_dir = o->work_dir,
		.leave_running = o->leave_running,
		.leave_stopped = o->leave_stopped,
		.shell_job = o->shell_job,
		.ext_unix_sk = o->ext_unix_sk != NULL,
		.file_locks = o->file_locks,
		.tcp_established = o->tcp_established,
		.tcp_close = o->tcp_close,
		.skip_in_flight = o->skip_in_flight,
		.keep_partial = o->keep_partial,
		.no_sync = o->no_sync,
		.freeze_cgroup = o->freeze_cgroup,
		.root = o->root,
		.evasive_devices = o->evasive_devices,
		.skip_mounts = o->skip_mounts.data,
		.plain_filesystems = o->plain_filesystems.data,
		.empty_net = o->empty_ns != NULL,
		.stats_out = o->display_stats ? 1 : 0,
		.link_remap = o->link_remap,
		.force_irmap = o->force_irmap,
		.irmap_paths = o->irmap_paths.data,
		.cgroup_props = o->cgroup_props,
		.cgroup_props_file = o->cgroup_props_file,
		.cgroup_yard = o->cgroup_yard,
		.cgroup_controllers = o->cgroup_controllers.data,
		.ghost_limit = o->ghost_limit,
		.timeout = o->timeout,
		.manage_cgroups = o->manage_cgroups,
		.actions = o->actions,
	};
}

static int save(const struct cr_options *o, bool pre_dump)
{
	const struct ck_page_peer peer = cr_page_peer(o);
	struct cr_options copy = *o;
	autoclose int stop = o->lazy_pages ? fd_end_signals() : -1;
	__attribute__((cleanup(cr_external_free))) struct option_list external = { 0 };
	unsigned caps;
	int r = cr_external(o, &external);

	if (r >= 0)
		r = cr_cpu_caps(o, &caps);
	if (r < 0)
		return r;
	struct ck_dump_options d = plain_dump(o);

	d.pre_dump = pre_dump;
	d.external = external.data;
	d.cpu_cap = caps;
	d.page_server = o->page_server ? &peer : NULL;
	d.lazy_pages = o->lazy_pages ? &peer : NULL;
	d.stop_fd = stop;
	d.ready = cr_is_ready;
	d.arg = &copy;
	if (o->lazy_pages && stop < 0)
		return stop;
	r = netlock_find(o->network_lock, &d.network_lock);
	return r < 0 ? r : ck_dump(&d);
}

static int run_dump(const struct cr_options *o)
{
	return save(o, false);
}

static int run_pre_dump(const struct cr_options *o)
{
	return save(o, true);
}

static struct ck_restore_options plain_restore(const struct cr_options *o)
{
	return (struct ck_restore_options){
		.images_dir = o->images_dir,
		.work_dir = o->work_dir,
		.pidfile = o->pidfile,
		.shell_job = o->shell_job,
		.ext_unix_sk = o->ext_unix_sk != NULL,
		.file_locks = o->file_locks,
		.tcp_established = o->tcp_established,
		.tcp_close = o->tcp_close,
		.map_address = o->map_address.data,
		.leave_stopped = o->leave_stopped,
		.skip_file_rwx_check = o->skip_rwx,
		.sibling = o->sibling,
		.auto_dedup = o->auto_dedup,
		.lazy_pages = o->lazy_pages,
		.manage_cgroups = o->manage_cgroups,
		.cgroup_roots = o->cgroup_roots.data,
		.cgroup_yard = o->cgroup_yard,
		.join_ns = o->join_ns.data,
		.empty_net = o->empty_ns != NULL,
		.plain_filesystems = o->plain_filesystems.data,
		.stats_out = o->display_stats ? 1 : 0,
		.unprivileged = o->unprivileged,
		.weak_sysctls = o->weak_sysctls,
		.log_per_task = o->log_pid ? o->log_file : NULL,
		.orphan_pts_master = o->orphan_pts_master,
		.actions = o->actions,
	};
}

static int restore_tree(struct cr_options *o, void *root)
{
	autofree struct ck_inherit *inherit = mem_zalloc((o->inherit_fd.n + 1) * sizeof *inherit);
	autofree char *new_root = o->root ? realpath(o->root, NULL) : NULL;
	__attribute__((cleanup(cr_external_free))) struct option_list external = { 0 };
	unsigned caps;
	int ret = cr_external(o, &external);

	if (ret >= 0)
		ret = cr_cpu_caps(o, &caps);
	if (ret < 0)
		return ret;
	struct ck_restore_options r = plain_restore(o);

	r.inherit = inherit;
	r.n_inherit = o->inherit_fd.n;
	r.external = external.data;
	r.cpu_cap = caps;

	r.root = new_root;
	if (o->root && !new_root)
		return fail(errno, "--root %s", o->root);
	if (o->sibling && !o->detached)
		return fail_text(EINVAL, "--restore-sibling needs --restore-detached");
	for (size_t i = 0; i < o->inherit_fd.n; i++) {
		ret = cr_inherit(o->inherit_fd.data[i], &inherit[i]);
		if (ret < 0)
			return ret;
	}
	ret = cr_joined(o, &r.join_net);
	if (ret >= 0)
		ret = netlock_find(o->network_lock, &r.network_lock);
	return ret < 0 ? ret : ck_restore(&r, root);
}

/* The command is the parent of the restored tree. */
static int become(const struct cr_options *o)
{
	execvp(o->command[0], o->command);
	return fail(errno, "--exec-cmd: execute %s", o->command[0]);
}

static int run_restore(const struct cr_options *o)
{
	struct cr_options copy = *o;
	pid_t root;
	int ret = restore_tree(&copy, &root);

	if (ret >= 0 && o->exec_cmd)
		return become(o);
	if (ret < 0 || o->detached)
		return ret;
	while (waitpid(root, NULL, 0) < 0 && errno == EINTR)
		;
	return 0;
}

static int run_check(const struct cr_options *o)
{
	const struct ck_check_options c = {
		.feature = o->feature,
		.extra = o->extra || o->all,
		.experimental = o->experimental || o->all,
		.unprivileged = o->unprivileged,
		.out = 1,
	};

	return ck_check(&c);
}

static int run_dedup(const struct cr_options *o)
{
	return ck_dedup(o->images_dir, true);
}

static int run_cpuinfo(const struct cr_options *o)
{
	const char *what = o->positional ? o->positional : "";
	unsigned caps;
	int r = cr_cpu_caps(o, &caps);

	if (r < 0)
		return r;
	if (!strcmp(what, "dump"))
		return ck_cpuinfo_dump(o->images_dir);
	if (!strcmp(what, "check"))
		return ck_cpuinfo_check(o->images_dir, o->cpu_cap ? caps : CK_CPU_FPU | CK_CPU_INS);
	return fail_text(EINVAL, "cpuinfo: dump or check is expected");
}

static int (*const verbs[CR_VERBS])(const struct cr_options *o) = {
	[CR_DUMP] = run_dump, [CR_RESTORE] = run_restore, [CR_CHECK] = run_check, [CR_PAGE_SERVER] = cr_page_server,
	[CR_PRE_DUMP] = run_pre_dump, [CR_DEDUP] = run_dedup, [CR_CPUINFO] = run_cpuinfo,
	[CR_LAZY_PAGES] = cr_lazy_pages, [CR_SWRK] = cr_swrk, [CR_SERVICE] = cr_service,
};

struct actors {
	struct action_scripts scripts;
	const struct cr_options *o;
};

static int run_actions(void *arg, const struct ck_action_event *event)
{
	struct actors *a = arg;
	int r = a->o->notify ? a->o->notify(a->o->notify_arg, event) : 0;
	int s = action_scripts_run(&a->scripts, event);

	return r < 0 ? r : s;
}

/* Sets up who is told of actions, for the options' time in do_verb(). */
static int with_actions(struct cr_options *o, int (*fn)(struct cr_options *o, void *arg), void *arg)
{
	struct actors actors = { .scripts.paths = o->action_scripts.data, .o = o };
	const struct ck_actions actions = { .run = run_actions, .arg = &actors };

	o->actions = o->notify || o->action_scripts.n ? &actions : NULL;
	int r = fn(o, arg);
	o->actions = NULL;
	if (actors.scripts.status && actors.scripts.failed == CK_POST_DUMP)
		o->exit_status = actors.scripts.status;
	return r;
}

static int do_verb(struct cr_options *o, void *arg)
{
	const enum cr_verb *verb = arg;

	return verbs[*verb](o);
}

int cr_do(enum cr_verb verb, struct cr_options *o)
{
	int r = cr_check_modes(o);

	if (r >= 0 && !verbs[verb])
		return fail_text(ENOTSUP, "%s: this command is not supported yet", cr_options_table.verbs[verb].name);
	return r < 0 ? r : with_actions(o, do_verb, &verb);
}

int cr_restore(struct cr_options *o, pid_t *root)
{
	int r = cr_check_modes(o);

	return r < 0 ? r : with_actions(o, restore_tree, root);
}

int cr_run(enum cr_verb verb, struct cr_options *o)
{
	autofree char *images = NULL;
	int r = 0;

	if (verb != CR_CHECK && verb != CR_SWRK)
		r = cr_enter_work_dir(o, &images);
	if (r >= 0)
		r = cr_open_log(o);
	return r < 0 ? r : cr_do(verb, o);
}
