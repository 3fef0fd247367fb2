/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CR_OPTIONS_H
#define CR_OPTIONS_H

#include "base/option.h"
#include "checkpoint.h"

enum cr_verb { CR_DUMP, CR_RESTORE, CR_CHECK, CR_PRE_DUMP, CR_PAGE_SERVER, CR_LAZY_PAGES, CR_SERVICE, CR_SWRK, CR_DEDUP, CR_CPUINFO, CR_VERBS };

/* Everything torpor-cr can be told: filled from the table in options.c. */
struct cr_options {
	int tree, verbosity, close_fd, file_validation_method, status_fd, ps_socket;
	const char *images_dir, *work_dir, *log_file, *root, *pidfile, *freeze_cgroup, *feature, *manage_cgroups;
	const char *cgroup_props, *cgroup_props_file, *cgroup_yard;
	const char *network_lock, *ext_unix_sk, *address, *tracker, *prev_images_dir, *pre_dump_mode;
	struct ck_tls tls_files;
	struct option_list external, inherit_fd, action_scripts, mount_map, skip_mounts, plain_filesystems, cgroup_roots, cgroup_controllers;
	struct option_list join_ns, map_address, veth_pairs;
	bool leave_running, leave_stopped, detached, sibling, shell_job, file_locks, help, version, evasive_devices, extra, experimental;
	bool all, display_stats, keep_partial, no_sync, skip_rwx, no_default_config, page_server, daemon, track_mem, auto_dedup, lazy_pages, tls;
	bool tcp_established, tcp_close, skip_in_flight;
	uint64_t ghost_limit;
	unsigned timeout, port, sessions;
	const char *config, *empty_ns, *cpu_cap, *libdir;
	bool exec_cmd, external_masters, deprecated, weak_sysctls, force_irmap, log_pid, ghost_fiemap, link_remap, unprivileged;
	struct option_list irmap_paths;
	/* Not options: */
	const char *positional;          /* the command's argument */
	char **command;                  /* of --exec-cmd; NULL-terminated */
	int n_command;
	int (*notify)(void *arg, const struct ck_action_event *event);   /* asked before the action scripts are; NULL: nobody */
	void *notify_arg;
	bool orphan_pts_master;          /* it takes the masters of terminals */
	const struct ck_actions *actions;
	int exit_status;                 /* of a post-dump script that failed: the command's */
};

/* The defaults that are not zero. */
#define CR_OPTIONS_INIT { .images_dir = ".", .verbosity = 2, .close_fd = -1, .status_fd = -1, .ps_socket = -1, .manage_cgroups = "soft" }
/* The release of CRIU whose command line, RPC and images these are. */
#define CR_CRIU_MAJOR 4
#define CR_CRIU_MINOR 2

extern const struct option_table cr_options_table;

#endif
