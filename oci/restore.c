/* SPDX-License-Identifier: Apache-2.0 */
/* restore: the container is prepared as create does it (cgroups, namespaces, root filesystem), with a parked init in which the engine
 * then builds the saved tree.
 *
 *   1. The images are read once to learn the root task's pid and clocks; init is born with that pid, in a time namespace whose clocks go on
 *      where they stood.
 *   2. The caller's stdin, stdout and stderr take the place of those that the container had (descriptors.json).
 *   3. State and pid file are written before the tasks run, so that nothing that runs is unknown.
 *   4. A failure leaves nothing: the engine kills the tree, then cgroups and state directory go. */
#define LOG_PREFIX "restore"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "actions.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "checkpoint.h"
#include "container/container.h"
#include "container/hooks.h"
#include "init/internal.h"
#include "init/spawn.h"
#include "migrate.h"
#include "oci.h"
#include "spec/json.h"

struct restoring {
	struct container *c;
	const struct oci_restore_options *o;
	struct ck_image_info info;
	struct ck_inherit inherit[4];
	struct oci_actions actions;
	bool locked;       /* the network, here */
	size_t n_inherit;
	bool net_ready;    /* the configuration names the network namespace */
	int own_time;      /* to come back from the new time namespace */
	int park;
	int console;       /* the other end of its terminal */
};

static int enter_time(void *arg)
{
	struct restoring *r = arg;
	int ret = ck_timens_enter(r->info.monotonic, r->info.boottime, &r->own_time);

	if (ret == -EOPNOTSUPP) {
		log_info("this kernel has no time namespaces: monotonic clocks will jump");
		return 0;
	}
	return ret;
}

static int leave_time(void *arg)
{
	struct restoring *r = arg;

	return ck_timens_leave(&r->own_time);
}

/* The texts of descriptors.json; a checkpoint without one (made by the engine alone) inherits nothing. */
static int read_descriptors(struct restoring *r)
{
	autofree char *path = str_printf("%s/descriptors.json", r->o->image_path), *text = NULL;
	struct json *list;
	ssize_t n = file_read(AT_FDCWD, path, &text, 1u << 20);
	int fd = 0;

	if (n == -ENOENT)
		return 0;
	if (n < 0)
		return fail((int)-n, "read %s", path);
	int ret = json_parse(&r->c->arena, path, text, (size_t)n, &list);
	if (ret < 0)
		return ret;
	if (list->type != JSON_ARRAY || list->n > 3)
		return fail_text(EBADMSG, "%s: expected an array of at most three strings", path);
	for (const struct json *j = list->first; j; j = j->next, fd++) {
		if (j->type != JSON_STRING)
			return fail_text(EBADMSG, "%s: expected strings, found %s", path, json_type_name(j->type));
		if (*j->text)
			r->inherit[r->n_inherit++] = (struct ck_inherit){ oci_descriptor_key(j->text), fd };
	}
	return 0;
}

/* Not before somebody holds this end: who has the other would take it for closed. */
static int give_console(struct restoring *r)
{
	if (r->console < 0)
		return 0;
	if (r->o->create.console) {
		*r->o->create.console = take_fd(&r->console);
		return 0;
	}
	autoclose int sock = console_connect(r->o->create.console_socket);
	return sock < 0 ? sock : console_hand_over(sock, r->console);
}

static int settle(void *arg, pid_t root)
{
	struct restoring *r = arg;

	r->c->restored = true;
	int ret = container_set_init(r->c, root);
	if (ret >= 0)
		ret = container_save(r->c);
	if (ret >= 0)
		ret = give_console(r);
	if (ret >= 0)
		ret = pidfd_hand_over(r->o->create.pidfd_socket, root);
	return ret < 0 ? ret : pid_file_write(r->o->create.pid_file, root);
}

/* What the container had and the bundle makes. */
static int check_bundle(const struct restoring *r, const struct spec *s)
{
	const struct {
		enum spec_namespace kind;
		bool had;
	} pairs[] = { { NS_PID, r->info.pid_ns }, { NS_NETWORK, r->info.net_ns }, { NS_IPC, r->info.ipc_ns },
		      { NS_UTS, r->info.uts_ns }, { NS_MOUNT, r->info.mnt_ns } };

	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
		if (pairs[i].had != s->namespaces[pairs[i].kind].wanted)
			return fail_text(EINVAL,
				"config.json: linux.namespaces: the checkpointed container had %s %s namespace of its own, this bundle asks for %s",
				pairs[i].had ? "a" : "no", spec_namespaces[pairs[i].kind].spec, pairs[i].had ? "none" : "one");
	if (r->info.terminal >= 0 && !s->process.terminal)
		return fail_text(EINVAL, "config.json: process.terminal: the checkpointed container had a terminal, this bundle asks for none");
	return 0;
}

static int rebuild(struct restoring *r, pid_t husk)
{
	const struct ck_page_peer server = { .address = r->o->page_address, .port = r->o->page_port, .socket = -1 };
	struct ck_restore_options k = {
		.images_dir = r->o->image_path,
		.work_dir = r->o->work_path,
		.shell_job = r->o->shell_job,
		.ext_unix_sk = r->o->ext_unix_sk,
		.file_locks = r->o->file_locks,
		.tcp_established = r->o->tcp_established,
		.tcp_close = r->o->tcp_close,
		.map_address = r->o->map_address,
		.lazy_pages = r->o->lazy_pages,
		.own_pager = r->o->lazy_pages,
		.page_server = r->o->page_address ? &server : NULL,
		.husk = husk,
		.net_ready = r->net_ready,
		.empty_net = r->o->empty_net,
		.inherit = r->inherit,
		.n_inherit = r->n_inherit,
		.manage_cgroups = r->o->manage_cgroups_mode,
		.before_resume = settle,
		.arg = r,
		.actions = oci_actions_or_null(&r->actions),
		.network_lock = r->actions.lock,
		.lock_name = r->c->id,
	};
	pid_t root;

	return ck_restore(&k, &root);
}

/* What others put into the network namespace (devices, addresses by hooks) must not work before the connections are there. */
static int lock_network(struct restoring *r, const char *path)
{
	return oci_lock_joined(path, r->c->id, r->actions.lock, &r->locked);
}

static int lock_own_network(void *arg, pid_t init)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/ns/net", init);
	return lock_network(arg, path);
}

static bool wants_lock(const struct restoring *r, const struct spec *s)
{
	return r->o->tcp_established && r->actions.lock && s->namespaces[NS_NETWORK].wanted;
}

static int spawn_and_rebuild(struct restoring *r, const struct spec *s)
{
	struct oci_spawn_options spawn = {
		.create = &r->o->create,
		.restore = true,
		.set_pid = r->info.pid_ns && !s->namespaces[NS_PID].path ? 0 : r->info.root_pid,
		.park_fd = &r->park,
		.terminal = r->info.terminal,
		.console = &r->console,
		.arg = r,
	};
	pid_t husk;
	int ret = s->process.terminal ? 0 : read_descriptors(r);   /* stdio were the terminal's then */

	if (wants_lock(r, s) && !s->namespaces[NS_NETWORK].path)
		spawn.network_made = lock_own_network;
	if (r->info.has_times) {
		spawn.before_clone = enter_time;
		spawn.after_clone = leave_time;
	}
	if (ret >= 0)
		ret = oci_spawn_init(r->c, s, &spawn, &husk);
	if (ret < 0)
		return ret;
	if (r->console >= 0)
		r->inherit[r->n_inherit++] = (struct ck_inherit){ CK_TERMINAL_KEY, r->console };
	if (r->o->tcp_established && r->actions.lock)
		ret = oci_lock_note(r->c, r->actions.lock);
	if (ret >= 0)
		ret = rebuild(r, husk);
	fd_close(&r->park);
	fd_close(&r->console);
	if (ret < 0) {
		size_t mark = err_mark();
		oci_spawn_undo(r->c);
		err_rewind(mark);
	}
	return ret;
}

static int restore_container(struct restoring *r, const struct spec *s)
{
	const char *path = s->namespaces[NS_NETWORK].path;
	int ret = oci_actions_begin(&r->actions, &s->annotations, r->o->action_scripts, r->o->network_lock, r->c->id);

	if (ret >= 0 && path && wants_lock(r, s))
		ret = oci_lock_note(r->c, r->actions.lock);
	if (ret >= 0 && path && wants_lock(r, s))
		ret = lock_network(r, path);
	if (ret >= 0)
		ret = spawn_and_rebuild(r, s);
	if (ret < 0 && path && r->locked)
		oci_unlock_joined(path, r->c->id, r->actions.lock);
	oci_lock_forget(r->c);
	oci_actions_end(&r->actions);
	return ret;
}

static int restore_new(const struct oci_options *o, const char *id, struct restoring *r, const struct spec *s)
{
	int ret = check_bundle(r, s);

	r->net_ready = s->namespaces[NS_NETWORK].path != NULL;

	if (ret >= 0)
		ret = container_new(o->root, id, s, &r->c);
	if (ret < 0)
		return ret;
	ret = restore_container(r, s);
	if (ret < 0) {
		size_t mark = err_mark();
		container_remove(r->c);
		hooks_poststop(s, id);
		err_rewind(mark);
		container_free(r->c);
		r->c = NULL;
		return ret;
	}
	container_unlock(r->c);
	return 0;
}

int oci_restore(const struct oci_options *o, const char *id, const struct oci_restore_options *options, struct container **out)
{
	struct restoring r = { .o = options, .own_time = -1, .park = -1, .console = -1 };
	struct spec *s = NULL;

	*out = NULL;
	if (options->page_address && !options->lazy_pages)
		return fail_text(EINVAL, "--page-server: memory is fetched by a lazy restore only (--lazy-pages)");
	int ret = oci_check_cgroups_mode(options->manage_cgroups_mode);
	if (ret >= 0 && access(options->image_path, F_OK) < 0)   /* before a log is made there */
		ret = fail(errno, "the images directory %s", options->image_path);
	int log = ret < 0 ? ret : oci_log_begin(options->work_path, "restore.log");
	if (log < 0)
		return log;
	ret = ck_image_info(options->image_path, &r.info);
	if (ret >= 0)
		ret = spec_load(options->create.bundle, options->create.config, &s);
	if (ret >= 0)
		ret = restore_new(o, id, &r, s);
	spec_free(s);
	oci_log_end(log);
	if (ret >= 0)
		*out = r.c;
	return ret;
}
