/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CHECKPOINT_H
#define CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The engine's public face. The library never exits the process, keeps no process-wide options, and reports errors through the
 * trail (base/err.h). It uses ptrace, so that a call belongs to one thread from beginning to end; that thread must not have
 * other ptrace children or expect SIGCHLD of the restored tasks during the call. */

/* A resource outside the tree, by CRIU's text: "pipe:[123]", "file[1a:2b3c]", "socket:[9]", a path without its leading slash
 * ("dev/null"), "mnt[/path]:label". */
struct ck_inherit {
	const char *key;
	int fd;   /* restore: the caller's descriptor that takes its place */
};

/* A key of restore: the master of a new terminal, made in the container, that stands for the one whose master was outside the tree. */
#define CK_TERMINAL_KEY "torpor:terminal"

/* TLS with certificates (PEM) on both sides. NULL: the file below /etc/pki where CRIU looks for it. */
struct ck_tls {
	const char *ca;               /* who may sign the other side's certificate */
	const char *revoked;          /* revocation list; NULL: the usual file, if there is one */
	const char *certificate, *key;   /* of this side */
	bool any_name;                /* a server's certificate may be for any name */
};

/* A page server: the other end of pages that do not go through a directory. */
struct ck_page_peer {
	const char *address;          /* a name or a number; the path of a unix socket, with a leading slash; NULL: any */
	unsigned port;                /* 0: the kernel chooses (servers) */
	int socket;                   /* an open socket instead; -1: none */
	const struct ck_tls *tls;     /* NULL: in the clear */
};

/* Points of a dump and a restore at which somebody else may have something to do (action.c). CRIU's names. */
enum ck_action { CK_PRE_DUMP, CK_NETWORK_LOCK, CK_POST_DUMP, CK_NETWORK_UNLOCK, CK_PRE_RESTORE, CK_SETUP_NAMESPACES, CK_POST_SETUP_NAMESPACES,
	CK_POST_RESTORE, CK_PRE_RESUME, CK_POST_RESUME, CK_STATUS_READY, CK_QUERY_EXT_FILES, CK_ORPHAN_PTS_MASTER, CK_ACTIONS };
const char *ck_action_name(enum ck_action action);

struct ck_action_event {
	enum ck_action action;
	const char *images;           /* a path of the images directory that other processes can use while this one lives */
	pid_t root;                   /* the root task, in the engine's numbering; 0: there is none yet */
	int fd;                       /* orphan-pts-master: the master of a terminal whose other end is in the tree, for the listener to copy; else -1 */
	/* query-ext-files: where the listener may put a list of further resources outside (NULL-terminated, its own until the dump ends); else NULL */
	const char *const **external;
};

/* An error ends the dump or restore (but that of pre-resume and post-resume, which is logged). */
struct ck_actions {
	int (*run)(void *arg, const struct ck_action_event *event);
	void *arg;
};

/* How packets are kept from connections while these are saved and rebuilt, so that nobody answers the peers (hooks/netlock.h has the methods).
 * All packets of a network namespace are dropped, or, where others use it as well, those of some TCP connections. */
struct ck_flow {
	bool v6;
	uint8_t local[16], remote[16];           /* network order; IPv4: the first four bytes */
	uint16_t local_port, remote_port;        /* as people write them */
};
struct ck_lock {
	int netns;                    /* descriptor of the namespace; -1: the caller's */
	const char *name;             /* whose lock: those of different names do not know each other */
	bool whole;                   /* all packets, not just those of flows */
	const struct ck_flow *flows;
	size_t n_flows;
	int *later;                   /* gets a descriptor for the caller to close when nothing waits for it any more, which may take the
	                                 kernel 10 ms; NULL: closed at once */
};
struct ck_lock_method {
	const char *name;
	int (*lock)(const struct ck_lock *l);     /* 1: made; 0: one of that name was there, and is as asked for now; -errno */
	int (*unlock)(const struct ck_lock *l);   /* by name and namespace. 1: removed; 0: there was none */
	int (*unlock_criu)(const struct ck_lock *l);   /* likewise, one that CRIU has made by nftables; NULL: this method cannot */
};

struct ck_dump_options {
	pid_t pid;                    /* root of the tree, host numbering */
	const char *images_dir;       /* made if missing */
	const char *work_dir;         /* stats-dump goes there; NULL: images_dir */
	bool leave_running, leave_stopped;
	bool shell_job, ext_unix_sk, file_locks, link_remap, tcp_established, tcp_close, skip_in_flight, evasive_devices;
	bool keep_partial;            /* leave the images of a failed dump for study */
	bool no_sync;                 /* do not wait until the images are on the disk */
	const char *freeze_cgroup;    /* cgroup2 or freezer directory to freeze first; NULL: none */
	const char *root;             /* where the root task is, if it has no mount namespace of its own: it must be there; NULL: anywhere */
	const char *const *external;  /* NULL-terminated list of external resources, or NULL */
	uint64_t ghost_limit;         /* largest deleted file to store, bytes; 0: 1 MiB */
	unsigned timeout;             /* seconds to stop the tree in; 0: 10 */
	/* CRIU's modes. NULL: which groups the tasks are in is recorded, not what these are like; "ignore": nothing is. */
	const char *manage_cgroups;
	const char *cgroup_props;     /* text or, with cgroup_props_file, a file that says what is saved of groups; NULL: the usual */
	const char *cgroup_props_file, *cgroup_yard;
	const char *const *cgroup_controllers;   /* only these are saved; NULL: all */
	const char *const *skip_mounts, *const *plain_filesystems;   /* --skip-mnt, --enable-fs; NULL-terminated, or NULL */
	bool bundle;                  /* whoever restores makes the mounts, of a bundle: none of them need be describable */
	const struct ck_page_peer *page_server;   /* page content goes there; NULL: into images_dir */
	/* Rounds: */
	bool pre_dump;                /* memory only; the tree runs on */
	bool track_mem;               /* record what is written from now on (pre_dump implies it) */
	const char *tracker;          /* how: NULL or "auto", "uffd", "soft-dirty", "none" */
	const char *prev_images_dir;  /* of the round before, relative to images_dir: unchanged pages are left there. NULL: none */
	bool auto_dedup;              /* pages saved again are freed in the earlier rounds */
	/* A lazy dump: private memory stays with the tasks, which stand still, and the dump serves it there (CRIU's protocol) until whoever
	 * restores has it all; only then they end. If it breaks off before its program runs, or stop_fd becomes readable, the dump has failed:
	 * the tasks go on, but if the program may have run over there they are left stopped (SIGCONT lets them go on). */
	const struct ck_page_peer *lazy_pages;
	int stop_fd;                  /* of a lazy dump; -1: none */
	int (*ready)(void *arg, unsigned port);   /* the images are whole, the pages can be fetched; NULL */
	/* Called when all images are written, before the checkpoint becomes valid: for files of the caller's that belong to it. An
	 * error undoes the dump. */
	int (*before_seal)(void *arg);
	void *arg;
	const struct ck_actions *actions;   /* NULL: none */
	int stats_out;                /* the statistics go there as text as well; 0: nowhere */
	bool force_irmap;             /* what is watched (inotify) is searched for, even if the kernel could tell its path */
	const char *const *irmap_paths;   /* where to begin with that; NULL-terminated, or NULL */
	unsigned cpu_cap;             /* CK_CPU_IMAGE: the processor is recorded */
	bool empty_net;               /* nothing of the network namespace is saved */
	bool prepared_net;            /* devices of it that reach outside, and what is on them, are made by somebody else before a restore */
	/* With tcp_established: how the network is locked meanwhile, NULL: not at all. When the tree ends by the dump, the lock stays, for the
	 * restore to take away. */
	const struct ck_lock_method *network_lock;
	const char *lock_name;              /* NULL: the dump's run id */
};

/* Dumps the tree into images_dir. On success its tasks are gone (or left as asked). On failure they run on unharmed, no image
 * of the attempt is left and an older complete checkpoint in the directory is untouched. 0 or -errno. */
int ck_dump(const struct ck_dump_options *o);

/* Frees, in each checkpoint of a chain of rounds that ends with these images, the pages that a later one has saved again (whole), or those that these
 * images have themselves. Only the last can be restored then. 0 or -errno. */
int ck_dedup(const char *images_dir, bool whole);

struct ck_restore_options {
	const char *images_dir, *work_dir;   /* as above; stats-restore */
	const char *pidfile;                 /* relative to work_dir; must not exist */
	bool shell_job, ext_unix_sk, file_locks, tcp_established, tcp_close, leave_stopped;
	bool skip_file_rwx_check;
	bool auto_dedup;                     /* pages are freed in the images as they are restored: there is no second try */
	bool sibling;                        /* the root becomes a child of the caller's parent (CLONE_PARENT) */
	pid_t husk;                          /* a parked process of the runtime that becomes the root task (host numbering); its
	                                        namespaces, root filesystem and cgroup are ready. 0: the engine makes one */
	const struct ck_inherit *inherit;
	size_t n_inherit;
	const char *const *external;
	const char *const *map_address;      /* NULL-terminated list of "OLD=NEW": addresses that sockets have now; or NULL */
	/* Of the engine's own root husk (husk 0): */
	const char *manage_cgroups;          /* CRIU's modes; NULL or "ignore": tasks stay in the caller's groups */
	const char *const *cgroup_roots;     /* "[CTRL:]/PATH": other groups than those of the dump */
	const char *cgroup_yard;             /* a directory with the hierarchies mounted; NULL: they are mounted for the while */
	const char *root;                    /* of the new mount namespace: a directory; NULL: / */
	const char *const *plain_filesystems;   /* --enable-fs; NULL-terminated, or NULL */
	const char *const *join_ns;          /* "KIND:PID" or "KIND:FILE"; net: join_net instead */
	bool lazy_pages;                     /* private memory comes after the tasks run, from a pager: that of ck_lazy_pages() whose socket is
	                                        in work_dir, or, with own_pager, a process that is started here and ends by itself */
	bool own_pager;
	int stats_out;                       /* the statistics go there as text as well; 0: nowhere */
	bool unprivileged;                   /* what CAP_SYS_ADMIN is needed for and can be done without is left out: clocks that go on */
	bool weak_sysctls;                   /* settings that this kernel does not have are left out */
	const char *log_per_task;            /* what is done to a task is logged in this file, ".PID" behind it; NULL: with all else */
	bool orphan_pts_master;              /* who listens to actions takes the masters of terminals that were outside the tree */
	const struct ck_page_peer *page_server;   /* of own_pager: who has the pages; NULL: the images */
	/* Called with everything in place, before the tasks run: an error undoes the restore. */
	int (*before_resume)(void *arg, pid_t root);
	void *arg;
	const struct ck_actions *actions;    /* NULL: none */
	const char *join_net;                /* the network namespace to be in, by a pid or a path; NULL: as the checkpoint has it */
	unsigned cpu_cap;                    /* with CK_CPU_IMAGE: what this processor must have of the recorded one (CK_CPU_) */
	bool empty_net;                      /* a new network namespace stays empty */
	bool net_ready;                      /* with a husk: its network namespace is somebody else's and as it should be */
	const struct ck_lock_method *network_lock;   /* as above: from before there are sockets until the tasks are let go */
	const char *lock_name;               /* NULL: that of the dump */
};

/* Rebuilds the tree; *root is the root task's pid in the caller's numbering, a child of the caller when husk is 0. On failure
 * nothing is left (the husk is killed as well, and waited for if it is the caller's child). 0 or -errno. */
int ck_restore(const struct ck_restore_options *o, pid_t *root);

/* What a runtime needs to know before it prepares the husk. */
struct ck_image_info {
	pid_t root_pid;             /* in the innermost pid namespace of the dump */
	bool pid_ns, net_ns, ipc_ns, uts_ns, mnt_ns, user_ns, cgroup_ns;   /* the tree had its own */
	bool has_times;             /* clocks at the time of the dump, ns */
	int64_t monotonic, boottime;
	int terminal;               /* the number of the terminal whose master was outside (a container's own); -1: there was none */
};
int ck_image_info(const char *images_dir, struct ck_image_info *info);

/* Puts the children that the calling (single-threaded) process makes from now on into a new time namespace whose monotonic and
 * boot-time clocks go on at the given values; ck_timens_leave() ends that. Used just around the clone of a husk. *saved is a
 * descriptor to give back. Returns 0, or -EOPNOTSUPP where the kernel has no time namespaces. */
int ck_timens_enter(int64_t monotonic, int64_t boottime, int *saved);
int ck_timens_leave(int *saved);

/* Takes the pages of dumps (--page-server) as pagemap and pages files into images_dir, which no dump has finished yet. Works until as
 * many connections have ended; 0 only if every one of them was a whole dump, and what came of another is removed. */
struct ck_page_server_options {
	const char *images_dir;
	struct ck_page_peer where;
	unsigned sessions;            /* connections, at the same time if they come so; 0: one */
	const char *prev_images_dir;  /* an earlier round that was received, relative to images_dir; NULL: the link `parent` */
	bool auto_dedup;              /* pages received again are freed in the earlier rounds */
	int (*ready)(void *arg, unsigned port);   /* listening; may become a daemon here */
	void *arg;
};
int ck_page_server(const struct ck_page_server_options *o);

/* Serves the pages of finished images to the pager of a lazy restore elsewhere, which has the other images, until it has what it wants. */
struct ck_give_options {
	const char *images_dir;
	struct ck_page_peer where;
	int (*ready)(void *arg, unsigned port);
	void *arg;
};
int ck_give_pages(const struct ck_give_options *o);

/* The pager of one restore with lazy_pages: listens on lazy-pages.socket in work_dir, serves faults, copies the rest. 0 when all memory is
 * where it belongs, or its tasks have ended. */
struct ck_lazy_options {
	const char *images_dir, *work_dir;
	const struct ck_page_peer *page_server;   /* who has the pages; NULL: the images */
	int (*ready)(void *arg, unsigned port);   /* listening; may become a daemon here */
	void *arg;
};
int ck_lazy_pages(const struct ck_lazy_options *o);

/* What --cpu-cap asks of a processor: cpuinfo.img (CK_CPU_IMAGE) is written by a dump and compared at a restore. */
enum { CK_CPU_FPU = 1, CK_CPU_SAME = 2, CK_CPU_INS = 4, CK_CPU_IMAGE = 8 };
/* cpuinfo.img alone: this processor's, into images_dir; whether this processor has what that of the image has. */
int ck_cpuinfo_dump(const char *images_dir);
int ck_cpuinfo_check(const char *images_dir, unsigned caps);

/* check: prints to out what the kernel offers; returns 0 if all that is needed is there. feature NULL: everything. */
struct ck_check_options {
	const char *feature;
	bool extra, experimental, unprivileged;   /* unprivileged: not root is no failure */
	int out;   /* descriptor to print on */
};
int ck_check(const struct ck_check_options *o);

#endif
