/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHIM_CMD_H
#define SHIM_CMD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/option.h"
#include "oci.h"

/* The runtime's command line: one file per verb, all options in one table (options.c). */

/* Indexes of shim_torpor_table.verbs. */
enum shim_verb {
	SHIM_CHECKPOINT, SHIM_CREATE, SHIM_DELETE, SHIM_EVENTS, SHIM_EXEC, SHIM_FEATURES, SHIM_KILL, SHIM_LIST, SHIM_PAUSE, SHIM_PS,
	SHIM_RESTORE, SHIM_RESUME, SHIM_RUN, SHIM_SPEC, SHIM_START, SHIM_STATE, SHIM_UPDATE, SHIM_VERBS,
};

/* Options of update, each a text until its value is needed (update.c). */
enum shim_update {
	SHIM_UPDATE_BLKIO_WEIGHT, SHIM_UPDATE_CPU_PERIOD, SHIM_UPDATE_CPU_QUOTA, SHIM_UPDATE_CPU_BURST, SHIM_UPDATE_CPU_SHARE,
	SHIM_UPDATE_CPU_RT_PERIOD, SHIM_UPDATE_CPU_RT_RUNTIME, SHIM_UPDATE_CPUSET_CPUS, SHIM_UPDATE_CPUSET_MEMS,
	SHIM_UPDATE_KERNEL_MEMORY, SHIM_UPDATE_KERNEL_MEMORY_TCP, SHIM_UPDATE_MEMORY, SHIM_UPDATE_MEMORY_RESERVATION,
	SHIM_UPDATE_MEMORY_SWAP, SHIM_UPDATE_CPU_IDLE, SHIM_UPDATE_PIDS_LIMIT, SHIM_UPDATES,
};

enum shim_cgroup_manager { SHIM_CGROUPFS, SHIM_SYSTEMD, SHIM_NO_CGROUPS };
enum shim_rootless { SHIM_ROOTLESS_AUTO, SHIM_ROOTLESS_FALSE, SHIM_ROOTLESS_TRUE };
enum shim_format { SHIM_TABLE, SHIM_JSON };

/* Every option of every verb; defaults are in options.c. */
struct shim_options {
	/* global */
	bool debug, version, help;
	const char *root, *log;
	int log_format, log_level;   /* log_level: enum log_level, -1: not given */
	int cgroup_manager, rootless;
	/* verbs */
	const char *bundle, *config, *pid_file, *file, *console_socket, *pidfd_socket;
	unsigned preserve_fds;
	bool no_pivot, no_new_keyring, no_subreaper, detach, keep, force, all, quiet, regex, rootless_spec;
	int format;
	/* exec */
	const char *cwd, *user, *process, *process_label, *apparmor;
	struct option_list env, caps, additional_gids, cgroups, action_scripts;
	const char *network_lock;
	bool no_new_privs, ignore_paused, tty;
	/* update, events */
	const char *resources, *update[SHIM_UPDATES], *interval, *l3_cache_schema, *mem_bw_schema;
	bool stats;
	/* checkpoint, restore */
	const char *image_path, *work_path, *parent_path, *page_server, *manage_cgroups_mode, *empty_ns;
	bool pre_dump, auto_dedup, leave_running, ext_unix_sk, shell_job, file_locks, lazy_pages;
	bool tcp_established, tcp_close, tcp_skip_in_flight, link_remap;
	struct option_list map_address;
	int status_fd;               /* -1: none */
};

/* One call of a verb. A verb returns the exit status of the program, or -errno with the error trail filled. */
struct shim_call {
	const struct shim_options *o;
	struct oci_options oci;
	enum shim_verb verb;
	int argc;       /* positional arguments */
	char **argv;
};
typedef int shim_command(struct shim_call *c);

extern const struct option_table shim_torpor_table, shim_torpor_global;
extern const struct shim_options shim_torpor_defaults;

shim_command shim_checkpoint, shim_create, shim_delete, shim_events, shim_exec, shim_features, shim_kill, shim_list, shim_pause, shim_ps, shim_restore,
	shim_resume, shim_run, shim_spec, shim_start, shim_state, shim_update;

/* The document of features, to be freed. */
char *shim_features_json(void);
/* Where a page server is: "10.0.0.2:1234", "[::1]:1234", or the path of a unix socket. NULL: *address is NULL. *address is to be freed. */
int shim_page_server(const char *text, char **address, unsigned *port);
/* Shared by several verbs. */
struct oci_create_options shim_create_options(const struct shim_options *o);
/* Needs root: says so when it is not. */
int shim_need_root(const char *verb);
/* Waits for a process in the foreground: signals that arrive go on to it, children that come in as orphans are reaped. The caller has
 * called shim_foreground_begin() before the process was made, so that no signal is lost. console: the other end of its terminal, or -1.
 * Returns 0–255: its status, 128 + N when signal N ended it. */
int shim_foreground_begin(bool subreaper);
int shim_foreground_wait(pid_t pid, int console);
void shim_foreground_end(void);   /* when it comes to no wait: gives signals their way again */
/* Bytes of "64m" or "1.5GiB"; -1 of "-1"; -EINVAL. */
int shim_bytes(const char *text, int64_t *value);
/* Milliseconds of "5s" or "1m30s"; -EINVAL. */
int64_t shim_duration(const char *text);
/* A signal's number from "9", "KILL", "SIGKILL" or "sigkill", "RTMIN+3"; -EINVAL. */
int shim_signal(const char *text);

#endif
