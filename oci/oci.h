/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_H
#define OCI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The runtime library's public face: what the commands (shim/cmd/) and later the containerd shim call. Nothing here exits the
 * process or keeps process-wide options. Errors: -errno, the trail says the rest (base/err.h). */

enum oci_status { OCI_CREATING, OCI_CREATED, OCI_RUNNING, OCI_PAUSED, OCI_STOPPED };
extern const char *const oci_status_names[];

/* What is known of a container: its state file plus what /proc and the cgroup say now. Owned by the caller, container_free(). */
struct container;

struct oci_options {
	const char *root;      /* state directory root, e.g. /run/torpor */
};

/* IF_ALLOWED: where the caller may not make groups, there are none; a limit that needs one is still an error. NONE: the container stays in
 * the caller's groups (an engine that has put the caller where it wants the container to be). */
enum oci_cgroups { OCI_CGROUPS_MADE, OCI_CGROUPS_IF_ALLOWED, OCI_CGROUPS_NONE };

struct oci_create_options {
	enum oci_cgroups cgroups;
	const char *bundle, *config;      /* config: NULL = config.json */
	const char *pid_file, *console_socket, *pidfd_socket;
	unsigned preserve_fds;
	bool no_pivot, no_new_keyring;
	int *console;    /* gets the other end of the terminal, if there is one; NULL: console_socket does */
	unsigned short rows, columns;     /* of the terminal; 0: as the configuration says */
};

/* This process is not root in the initial user namespace. */
bool oci_unprivileged(void);
/* create: the container is set up and its init waits for start. On failure nothing is left (process, cgroup, mount, state). */
int oci_create(const struct oci_options *o, const char *id, const struct oci_create_options *c, struct container **out);
/* start: init executes the program. */
int oci_start(struct container *c);

int container_open(const struct oci_options *o, const char *id, struct container **out);   /* -ENOENT: does not exist */
void container_free(struct container *c);
/* The ids below the root, sorted; each and the list to be freed. Returns how many. */
ssize_t container_list(const struct oci_options *o, char ***ids);
/* Ends a container whose state cannot be read any more (delete --force), as far as what belongs to it can be found. */
int container_discard(const struct oci_options *o, const char *id);
enum oci_status container_status(struct container *c);
int container_state_json(struct container *c, char **json);   /* runc's `state` document; to be freed */
int container_kill(struct container *c, int sig, bool all);
int container_delete(struct container *c, bool force);        /* kills when forced; idempotent */
int container_pause(struct container *c);
int container_resume(struct container *c);
/* Changes the limits that are named; the others stay. If one cannot be set, all are as they were before. */
struct spec_resources;
struct oci_update {
	const struct spec_resources *resources;
	const char *l3_schema, *bandwidth_schema;   /* Intel RDT; either may be NULL */
};
int container_update(struct container *c, const struct oci_update *u);
/* What the container uses: as one value of a larger text, as runc's events have it. */
struct json_out;
int container_stats_json(struct container *c, struct json_out *o);
ssize_t container_pids(struct container *c, pid_t **pids);    /* all processes in its cgroup; to be freed */
pid_t container_init_pid(struct container *c);                /* in the host's numbering, 0 when stopped */
const char *container_id(struct container *c);

struct oci_exec_options {
	const char *process_file;                      /* a process object; else the fields below over the container's own process */
	const char *const *args;                       /* NULL-terminated */
	const char *cwd, *user, *pid_file, *console_socket, *pidfd_socket, *apparmor, *selinux_label;
	const char *const *env, *const *caps, *const *additional_gids;   /* NULL-terminated or NULL */
	const char *const *cgroups;   /* NULL-terminated or NULL: [CONTROLLER:]PATH below the container's */
	unsigned preserve_fds;
	bool tty, detach, no_new_privs, ignore_paused;
	int *console;    /* as in oci_create_options */
	unsigned short rows, columns;
};
/* Starts a process in a running container; *pid is its host pid, a child of the caller. */
int oci_exec(struct container *c, const struct oci_exec_options *e, pid_t *pid);

struct oci_checkpoint_options {
	const char *image_path, *work_path;
	const char *parent_path;   /* of the round before, relative to image_path; NULL: none */
	const char *page_address;  /* of the page server that takes the memory; NULL: it goes to image_path */
	unsigned page_port;
	/* Lazily: memory stays with the container, which stands still, and is served at that address until a lazy restore has it all. */
	bool lazy_pages;
	int stop_fd;               /* readable: give up; -1: none */
	int (*ready)(void *arg, unsigned port);   /* the images are whole, memory can be fetched */
	void *arg;
	bool track_mem;            /* left running: record what it writes from now on; a round with a parent does anyway */
	bool auto_dedup;           /* free in earlier rounds what this one saves again */
	bool pre_dump;             /* memory only, and the container runs on */
	bool leave_running, tcp_established, skip_in_flight, ext_unix_sk, shell_job, file_locks, link_remap;
	bool empty_net;            /* nothing of the network namespace is saved */
	const char *manage_cgroups_mode;
	const char *const *action_scripts;   /* NULL-terminated, or NULL */
	const char *network_lock;            /* a method's name; NULL: as the annotation says */
};
int oci_checkpoint(struct container *c, const struct oci_checkpoint_options *k);

struct oci_restore_options {
	struct oci_create_options create;
	const char *image_path, *work_path;
	bool tcp_established, tcp_close, ext_unix_sk, shell_job, file_locks;
	const char *const *map_address;   /* NULL-terminated or NULL: "OLD=NEW" */
	bool empty_net;               /* nothing is made in the network namespace but what hooks make */
	const char *page_address;     /* of the lazy checkpoint whose memory is fetched; NULL: the images have it */
	unsigned page_port;
	bool lazy_pages;              /* the container runs before it has its memory; a process that ends by itself brings it */
	const char *manage_cgroups_mode;
	const char *const *action_scripts;
	const char *network_lock;
};
int oci_restore(const struct oci_options *o, const char *id, const struct oci_restore_options *r, struct container **out);

#endif
