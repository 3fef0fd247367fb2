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

static int check_modes(const struct cr_options *o)
{
	static const char *const modes[] = { "ignore", "none", "props", "soft", "full", "strict" };
	bool known = false;

	for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
		known |= !strcmp(o->manage_cgroups, modes[i]);
	if (!known)
		return fail_text(EINVAL, "--manage-cgroups=%s: ignore, none, props, soft, full or strict", o->manage_cgroups);
	if (o->empty_ns && strcmp(o->empty_ns, "net") != 0)
		return fail_text(EINVAL, "--empty-ns %s: only a network namespace (net) can be left empty", o->empty_ns);
	if (o->pre_dump_mode && strcmp(o->pre_dump_mode, "splice") != 0 && strcmp(o->pre_dump_mode, "read") != 0)
		return fail_text(EINVAL, "--pre-dump-mode %s: splice and read are known", o->pre_dump_mode);
	if (o->ext_unix_sk && *o->ext_unix_sk)
		return fail_text(ENOTSUP, "--ext-unix-sk=%s: a list of sockets is not supported, use --external unix[INODE]", o->ext_unix_sk);
	return 0;
}

/* --external, with the older --ext-mount-map KEY:VALUE and --veth-pair IN=OUT in its form. The list and its texts are to be freed. */
static int all_external(const struct cr_options *o, struct option_list *made)
{
	int r = 0;

	for (size_t i = 0; i < o->mount_map.n && r == 0; i++) {
		const char *item = o->mount_map.data[i], *colon = strchr(item, ':');
		if (!strcmp(item, "auto"))
			array_push(made) = str_dup("mnt[]");
		else if (colon && colon != item)
			array_push(made) = str_printf("mnt[%.*s]:%s", (int)(colon - item), item, colon + 1);
		else
			r = fail_text(EINVAL, "--ext-mount-map %s: expected KEY:VALUE or auto", item);
	}
	for (size_t i = 0; i < o->veth_pairs.n && r == 0; i++) {
		const char *pair = o->veth_pairs.data[i], *mark = strchr(pair, '=');
		if (mark && mark != pair && mark[1])
			array_push(made) = str_printf("veth[%.*s]:%s", (int)(mark - pair), pair, mark + 1);
		else
			r = fail_text(EINVAL, "--veth-pair %s: expected IN=OUT", pair);
	}
	for (size_t i = 0; i < o->external.n && r == 0; i++)
		array_push(made) = str_dup(o->external.data[i]);
	array_push(made) = NULL;
	return r;
}

static void free_external(struct option_list *made)
{
	for (size_t i = 0; i < made->n; i++)
		free((void *)(uintptr_t)made->data[i]);
	array_free(made);
}

static int save(const struct cr_options *o, bool pre_dump)
{
	const struct ck_page_peer peer = cr_page_peer(o);
	struct cr_options copy = *o;
	autoclose int stop = o->lazy_pages ? fd_end_signals() : -1;
	__attribute__((cleanup(free_external))) struct option_list external = { 0 };
	int r = all_external(o, &external);
	struct ck_dump_options d = {
		.pid = o->tree,
		.pre_dump = pre_dump,
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
		.freeze_cgroup = o->freeze_cgroup,
		.external = external.data,
		.root = o->root,
		.evasive_devices = o->evasive_devices,
		.skip_mounts = o->skip_mounts.data,
		.plain_filesystems = o->plain_filesystems.data,
		.empty_net = o->empty_ns != NULL,
		.cgroup_props = o->cgroup_props,
		.cgroup_props_file = o->cgroup_props_file,
		.cgroup_yard = o->cgroup_yard,
		.cgroup_controllers = o->cgroup_controllers.data,
		.ghost_limit = o->ghost_limit,
		.timeout = o->timeout,
		.manage_cgroups = o->manage_cgroups,
		.page_server = o->page_server ? &peer : NULL,
		.lazy_pages = o->lazy_pages ? &peer : NULL,
		.stop_fd = stop,
		.ready = cr_is_ready,
		.arg = &copy,
		.actions = o->actions,
	};

	if (r < 0)
		return r;
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

/* The network namespace of --join-ns, NULL: none. */
static int joined(const struct cr_options *o, const char **out)
{
	*out = NULL;
	for (size_t i = 0; i < o->join_ns.n; i++) {
		const char *text = o->join_ns.data[i];
		if (strncmp(text, "net:", 4) != 0)
			continue;   /* the engine's own list */
		if (*out || !text[4])
			return fail_text(EINVAL, "--join-ns %s: expected net:PID or net:FILE, once", text);
		*out = text + 4;
	}
	return *out && o->empty_ns ? fail_text(EINVAL, "--join-ns and --empty-ns exclude each other") : 0;
}

/* "fd[3]:pipe:[1234]" */
static int parse_inherit(const char *text, struct ck_inherit *out)
{
	char *end;

	if (strncmp(text, "fd[", 3) != 0)
		return fail_text(EINVAL, "--inherit-fd %s: expected fd[N]:KEY", text);
	long n = strtol(text + 3, &end, 10);
	if (end == text + 3 || n < 0 || strncmp(end, "]:", 2) != 0 || !end[2])
		return fail_text(EINVAL, "--inherit-fd %s: expected fd[N]:KEY", text);
	if (fcntl((int)n, F_GETFD) < 0)
		return fail(errno, "--inherit-fd %s: descriptor %ld", text, n);
	*out = (struct ck_inherit){ .key = end + 2, .fd = (int)n };
	return 0;
}

static int restore_tree(struct cr_options *o, void *root)
{
	autofree struct ck_inherit *inherit = mem_zalloc((o->inherit_fd.n + 1) * sizeof *inherit);
	autofree char *new_root = NULL;
	__attribute__((cleanup(free_external))) struct option_list external = { 0 };
	int made = all_external(o, &external);
	struct ck_restore_options r = {
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
		.inherit = inherit,
		.n_inherit = o->inherit_fd.n,
		.external = external.data,
		.manage_cgroups = o->manage_cgroups,
		.cgroup_roots = o->cgroup_roots.data,
		.cgroup_yard = o->cgroup_yard,
		.join_ns = o->join_ns.data,
		.empty_net = o->empty_ns != NULL,
		.actions = o->actions,
	};

	if (made < 0)
		return made;
	if (o->root && !(r.root = new_root = realpath(o->root, NULL)))
		return fail(errno, "--root %s", o->root);
	if (o->sibling && !o->detached)
		return fail_text(EINVAL, "--restore-sibling needs --restore-detached");
	for (size_t i = 0; i < o->inherit_fd.n; i++) {
		int ret = parse_inherit(o->inherit_fd.data[i], &inherit[i]);
		if (ret < 0)
			return ret;
	}
	int ret = joined(o, &r.join_net);
	if (ret >= 0)
		ret = netlock_find(o->network_lock, &r.network_lock);
	return ret < 0 ? ret : ck_restore(&r, root);
}

static int run_restore(const struct cr_options *o)
{
	struct cr_options copy = *o;
	pid_t root;
	int ret = restore_tree(&copy, &root);

	if (ret < 0 || o->detached)
		return ret;
	while (waitpid(root, NULL, 0) < 0 && errno == EINTR)
		;
	return 0;
}

static int run_check(const struct cr_options *o)
{
	struct ck_check_options c = { .feature = o->feature, .extra = o->extra || o->all, .experimental = o->experimental || o->all, .out = 1 };

	return ck_check(&c);
}

static int run_dedup(const struct cr_options *o)
{
	return ck_dedup(o->images_dir, true);
}

static int (*const verbs[CR_VERBS])(const struct cr_options *o) = {
	[CR_DUMP] = run_dump, [CR_RESTORE] = run_restore, [CR_CHECK] = run_check, [CR_PAGE_SERVER] = cr_page_server,
	[CR_PRE_DUMP] = run_pre_dump, [CR_DEDUP] = run_dedup,
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
	int r = check_modes(o);

	if (r >= 0 && !verbs[verb])
		return fail_text(ENOTSUP, "%s: this command is not supported yet", cr_options_table.verbs[verb].name);
	return r < 0 ? r : with_actions(o, do_verb, &verb);
}

int cr_restore(struct cr_options *o, pid_t *root)
{
	int r = check_modes(o);

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
