/* SPDX-License-Identifier: Apache-2.0 */
/* A request's options become words of a command line (cr/args.h): tables say which field is which option. What the command does not have
 * is left out, as CRIU does; what torpor refuses is refused by the parser, with the option's name.
 *
 * pidfd_store_sk asks that a pid which another process got between two rounds is noticed: that is always so (mem/track.c). */
#include "cr/request.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"

#define FIELD(f) offsetof(CriuOpts, f)

struct plain {
	size_t has, value;
	const char *option;
};

#define FLAG(field, option) { FIELD(has_##field), FIELD(field), option }
static const struct plain flags[] = {
	FLAG(leave_running, "leave-running"), FLAG(leave_stopped, "leave-stopped"), FLAG(tcp_established, "tcp-established"),
	FLAG(evasive_devices, "evasive-devices"), FLAG(shell_job, "shell-job"), FLAG(file_locks, "file-locks"), FLAG(track_mem, "track-mem"),
	FLAG(auto_dedup, "auto-dedup"), FLAG(link_remap, "link-remap"), FLAG(force_irmap, "force-irmap"), FLAG(rst_sibling, "restore-sibling"),
	FLAG(ext_sharing, "enable-external-sharing"), FLAG(ext_masters, "enable-external-masters"), FLAG(tcp_skip_in_flight, "skip-in-flight"),
	FLAG(weak_sysctls, "weak-sysctls"), FLAG(lazy_pages, "lazy-pages"), FLAG(tcp_close, "tcp-close"), FLAG(tls, "tls"),
	FLAG(tls_no_cn_verify, "tls-no-cn-verify"), FLAG(mntns_compat_mode, "mntns-compat-mode"),
	FLAG(skip_file_rwx_check, "skip-file-rwx-check"), FLAG(unprivileged, "unprivileged"), FLAG(display_stats, "display-stats"),
};

#define NUMBER(field, option) { FIELD(has_##field), FIELD(field), option }
static const struct plain numbers[] = {
	NUMBER(pid, "tree"), NUMBER(ghost_limit, "ghost-limit"), NUMBER(timeout, "timeout"),
};

#define TEXT(field, option) { 0, FIELD(field), option }
static const struct plain texts[] = {
	TEXT(root, "root"), TEXT(parent_img, "prev-images-dir"), TEXT(cgroup_props, "cgroup-props"), TEXT(cgroup_props_file, "cgroup-props-file"),
	TEXT(freeze_cgroup, "freeze-cgroup"), TEXT(lsm_profile, "lsm-profile"), TEXT(tls_cacert, "tls-cacert"), TEXT(tls_cacrl, "tls-cacrl"),
	TEXT(tls_cert, "tls-cert"), TEXT(tls_key, "tls-key"), TEXT(cgroup_yard, "cgroup-yard"), TEXT(lsm_mount_context, "lsm-mount-context"),
};

#define LIST(field, option) { FIELD(n_##field), FIELD(field), option }
static const struct plain lists[] = {
	LIST(skip_mnt, "skip-mnt"), LIST(enable_fs, "enable-fs"), LIST(irmap_scan_paths, "irmap-scan-path"), LIST(external, "external"),
	LIST(cgroup_dump_controller, "cgroup-dump-controller"),
};

static const char *const cgroup_modes[] = { "ignore", "none", "props", "soft", "full", "strict", "soft" };
static const char *const lock_methods[] = { "iptables", "nftables", "skip" };
static const char *const read_modes[] = { "splice", "read" };

#define AT(base, offset, type) (*(type const *)(const void *)((const char *)(base) + (offset)))

static int add_number(struct cr_args *a, const char *option, long long value)
{
	char text[32];

	snprintf(text, sizeof text, "%lld", value);
	return cr_args_add(a, option, text);
}

static int add_pair(struct cr_args *a, const char *option, const char *first, const char *mark, const char *second)
{
	autofree char *text = str_printf("%s%s%s", first, mark, second);

	return cr_args_add(a, option, text);
}

static int add_plain(struct cr_args *a, const CriuOpts *o)
{
	int r = 0;

	for (size_t i = 0; i < sizeof flags / sizeof *flags && r == 0; i++)
		if (AT(o, flags[i].has, protobuf_c_boolean) && AT(o, flags[i].value, protobuf_c_boolean))
			r = cr_args_add(a, flags[i].option, NULL);
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers && r == 0; i++)
		if (AT(o, numbers[i].has, protobuf_c_boolean))
			r = add_number(a, numbers[i].option, AT(o, numbers[i].value, uint32_t));
	for (size_t i = 0; i < sizeof texts / sizeof *texts && r == 0; i++)
		if (AT(o, texts[i].value, char *))
			r = cr_args_add(a, texts[i].option, AT(o, texts[i].value, char *));
	for (size_t i = 0; i < sizeof lists / sizeof *lists && r == 0; i++)
		for (size_t k = 0; k < AT(o, lists[i].has, size_t) && r == 0; k++)
			r = cr_args_add(a, lists[i].option, AT(o, lists[i].value, char **)[k]);
	return r;
}

static int add_mode(struct cr_args *a, const char *option, const char *const *names, int n, int value)
{
	if (value < 0 || value >= n)
		return fail_text(EBADRQC, "%s: there is no mode %d", option, value);
	return cr_args_add(a, option, names[value]);
}

static int add_cpu_caps(struct cr_args *a, uint32_t caps)
{
	static const char *const names[] = { "fpu", "cpu", "ins" };
	char list[16] = "none";

	for (size_t i = 0, n = 0; i < 3; i++)
		if (caps >> i & 1)
			n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", n ? "," : "", names[i]);
	return cr_args_add(a, "cpu-cap", list);
}

static int add_modes(struct cr_args *a, const CriuOpts *o)
{
	int r = 0;

	if (o->has_manage_cgroups_mode)
		r = add_mode(a, "manage-cgroups", cgroup_modes, 7, (int)o->manage_cgroups_mode);
	else if (o->has_manage_cgroups && o->manage_cgroups)
		r = cr_args_add(a, "manage-cgroups", "soft");
	if (r == 0 && o->has_network_lock)
		r = add_mode(a, "network-lock", lock_methods, 3, (int)o->network_lock - 1);
	if (r == 0 && o->has_pre_dump_mode)
		r = add_mode(a, "pre-dump-mode", read_modes, 2, (int)o->pre_dump_mode - 1);
	if (r == 0 && o->has_log_level)
		r = add_number(a, "verbosity", o->log_level);
	if (r == 0 && o->has_empty_ns && o->empty_ns & ~0x40000000u)
		return fail_text(EBADRQC, "empty_ns 0x%x: only a network namespace (0x40000000) can be left empty", o->empty_ns);
	if (r == 0 && o->has_cpu_cap && o->cpu_cap != ~0u)
		r = add_cpu_caps(a, o->cpu_cap);
	return r || !o->has_empty_ns || !o->empty_ns ? r : cr_args_add(a, "empty-ns", "net");
}

static int add_sockets(struct cr_args *a, const CriuOpts *o)
{
	autofree char *list = str_dup("");

	for (size_t i = 0; i < o->n_unix_sk_ino; i++) {
		char *longer = str_printf("%s%s%u", list, i ? "," : "", o->unix_sk_ino[i]->inode);
		free_pointer(&list);
		list = longer;
	}
	if (o->n_unix_sk_ino)
		return cr_args_add(a, "ext-unix-sk", list);
	return o->has_ext_unix_sk && o->ext_unix_sk ? cr_args_add(a, "ext-unix-sk", NULL) : 0;
}

static int add_mount(struct cr_args *a, const char *key, const char *value)
{
	autofree char *text = str_printf("mnt[%s]:%s", key, value);

	return cr_args_add(a, "external", text);
}

static int add_pairs(struct cr_args *a, const CriuOpts *o)
{
	int r = 0;

	for (size_t i = 0; i < o->n_ext_mnt && r == 0; i++)
		r = add_mount(a, o->ext_mnt[i]->key, o->ext_mnt[i]->val);
	if (r == 0 && o->has_auto_ext_mnt && o->auto_ext_mnt)
		r = cr_args_add(a, "external", "mnt[]");
	for (size_t i = 0; i < o->n_veths && r == 0; i++)
		r = add_pair(a, "veth-pair", o->veths[i]->if_in, "=", o->veths[i]->if_out);
	for (size_t i = 0; i < o->n_cg_root && r == 0; i++) {
		const CgroupRoot *c = o->cg_root[i];
		r = add_pair(a, "cgroup-root", c->ctrl ? c->ctrl : "", c->ctrl ? ":" : "", c->path);
	}
	for (size_t i = 0; i < o->n_join_ns && r == 0; i++) {
		const JoinNamespace *j = o->join_ns[i];
		autofree char *file = str_printf("%s%s%s", j->ns_file, j->extra_opt ? "," : "", j->extra_opt ? j->extra_opt : "");
		r = add_pair(a, "join-ns", j->ns, ":", file);
	}
	return r;
}

static int add_inherited(struct cr_args *a, const CriuOpts *o, bool swrk)
{
	int r = 0;

	if (o->n_inherit_fd && !swrk)
		return fail_text(EBADRQC, "inherit_fd: only a worker that inherited the descriptors (swrk) can give them to tasks");
	if (o->has_rst_sibling && o->rst_sibling && !swrk)
		return fail_text(EBADRQC, "rst_sibling: only a worker that is the client's child (swrk) can do that");
	for (size_t i = 0; i < o->n_inherit_fd && r == 0; i++) {
		autofree char *fd = str_printf("fd[%d]", o->inherit_fd[i]->fd);
		r = add_pair(a, "inherit-fd", fd, ":", o->inherit_fd[i]->key);
	}
	return r;
}

/* In a dump: where the pages go. For a page server: where it listens. */
static int add_page_server(struct cr_args *a, const CriuOpts *o, bool swrk)
{
	const CriuPageServerInfo *ps = o->ps;
	int r = 0;

	if (!ps)
		return 0;
	if (ps->has_fd && !swrk)
		return fail_text(EBADRQC, "ps.fd: only a worker that inherited the socket (swrk) can use it");
	if (!o->has_lazy_pages || !o->lazy_pages)
		r = cr_args_add(a, "page-server", NULL);
	if (r == 0 && ps->address)
		r = cr_args_add(a, "address", ps->address);
	if (r == 0 && ps->has_port)
		r = add_number(a, "port", (uint16_t)ps->port);
	return r || !ps->has_fd ? r : add_number(a, "ps-socket", ps->fd);
}

static int add_directories(struct cr_args *a, const CriuOpts *o, pid_t client)
{
	autofree char *images = o->images_dir_fd >= 0 ? str_printf("/proc/%d/fd/%d", client, o->images_dir_fd) : NULL;
	autofree char *work = o->has_work_dir_fd && o->work_dir_fd >= 0 ? str_printf("/proc/%d/fd/%d", client, o->work_dir_fd) : NULL;
	int r = 0;

	if (images || o->images_dir)
		r = cr_args_add(a, "images-dir", images ? images : o->images_dir);
	if (r == 0 && work)
		r = cr_args_add(a, "work-dir", work);
	if (r == 0 && o->log_file && strchr(o->log_file, '/'))
		return fail_text(EBADRQC, "log_file %s: a name within the work directory is expected", o->log_file);
	if (r == 0 && (!o->has_log_to_stderr || !o->log_to_stderr))
		r = cr_args_add(a, "log-file", o->log_file ? o->log_file : "criu.log");
	return r;
}

int cr_request_args(struct cr_args *a, const CriuOpts *o, pid_t client, bool swrk)
{
	if (!o)
		return 0;
	int r = add_directories(a, o, client);
	if (r == 0)
		r = add_plain(a, o);
	if (r == 0)
		r = add_modes(a, o);
	if (r == 0)
		r = add_sockets(a, o);
	if (r == 0)
		r = add_pairs(a, o);
	if (r == 0)
		r = add_inherited(a, o, swrk);
	if (r == 0)
		r = add_page_server(a, o, swrk);
	return r || !o->config_file ? r : cr_args_file(a, o->config_file, true);
}
