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
	const char *network_lock, *ext_unix_sk, *address, *tracker, *prev_images_dir, *pre_dump_mode;
	struct ck_tls tls_files;
	struct option_list external, inherit_fd;
	bool leave_running, leave_stopped, detached, sibling, shell_job, file_locks, help, version, evasive_devices, extra, experimental;
	bool all, display_stats, keep_partial, skip_rwx, no_default_config, page_server, daemon, track_mem, auto_dedup, lazy_pages, tls;
	uint64_t ghost_limit;
	unsigned timeout, port, sessions;
};

extern const struct option_table cr_options_table;

#endif
