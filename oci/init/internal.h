/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_INIT_INTERNAL_H
#define OCI_INIT_INTERNAL_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "oci.h"
#include "security/security.h"
#include "spec/spec.h"

/* What the cloned child knows: made by the runtime, handed over by the clone (the child has a copy of the runtime's memory). */
struct init {
	const struct spec *spec;
	const struct spec_process *process;
	const struct spec_pairs *cgroups;
	const char *id;
	const char *notify;      /* NOTIFY_SOCKET of the program, or NULL */
	int terminal;            /* restore: the number of its terminal, -1: any */
	bool restore, no_pivot, new_keyring;
	bool unprivileged;       /* the runtime is not root on the host */
	bool user_entered;       /* exec: born in the container's user namespace */
	bool foreign_user;       /* exec: the container has a user namespace that is not the runtime's */
	int kinds;               /* exec: clone flags of the namespaces to enter */
	int runtime_sock;        /* the runtime's own end of sock */
	unsigned preserve_fds;   /* 3 … stay open in the program */
	bool time_done;          /* the caller sees to the time namespace */

	int sock;                /* the runtime's other end reads tags and trails */
	int start;               /* create: listens for `start`; else -1 */
	int *trees;              /* rootfs_prepare() */
	int proc;                /* the host's /proc, verified */
	int self, self_tree;     /* the runtime's binary on a read-only mount of its own; or -1 */
	int joined[NS_KINDS];    /* namespaces to join, -1: not */
	int target, target_root; /* exec: pidfd of the container's init and its root directory; else -1 */
	int lsm;
	struct seccomp_program filter;
	bool has_filter;         /* it has come */
};
void init_defaults(struct init *i);

/* The child's programs. They do not return. */
_Noreturn void init_child(struct init *i);
_Noreturn void exec_child(struct init *i);

/* --- channel.c: what goes over the socket. The child sends READY, or FAILED and its trail; the runtime sends the filter. */
int channel_open(int ends[2]);
int channel_ready(int fd);
_Noreturn void channel_die(int fd);
/* The child waits until the runtime has said channel_go(). */
int channel_meet(int fd);
int channel_wait_go(int fd);
int channel_go(int fd);
int channel_announce_listener(int fd, int number);
/* Waits for READY (0) or a meeting (CHANNEL_MEET). -ECANCELED when the child ended without a word (nothing is added to the trail then). */
enum { CHANNEL_MEET = 1 };
int channel_wait(int fd, int *console);   /* console: gets the terminal's other end, if one comes before */
/* The same for a program about to be executed: success is that the descriptor closes after READY. */
struct listener_owner;
int channel_wait_exec(int fd, int *console, const struct listener_owner *owner);
int channel_send_console(int fd, int console);
int channel_send_fd(int sock, char *bytes, size_t n, int fd);   /* bare -errno */
int channel_send_filter(int fd, const struct seccomp_program *p);   /* bare -errno: the child's own account comes by channel_wait() */
int channel_receive_filter(int fd, struct seccomp_program *p);

/* --- listener.c: the seccomp listener of a process. It announces the descriptor at which its filter will put it; the runtime takes a copy
 * and sends it to who waits for it. */
struct listener_owner {
	struct container *c;
	const struct spec *spec;   /* NULL: read when there is a listener */
	pid_t pid;
	const char *status;
};
int listener_take(int sock, int number, const struct listener_owner *owner);
/* In the process itself: its filter, with or without a listener. */
int filter_install(const struct init *i);

/* --- namespaces.c */
int namespaces_check(const struct spec *s, bool restore);
int namespaces_open(struct init *i);                 /* those to be joined by path */
void namespaces_close(struct init *i);
int namespaces_enter(const struct init *i);          /* in the child, after it joined its cgroups */
/* Clones the child: flags are namespaces that only a clone can give; cgroup2: the directory to be born in, or -1; pid_ns: the pid
 * namespace to be born in, or -1. 0 in the child, else its pid and pidfd. */
pid_t namespaces_clone(const struct init *i, int cgroup2, int pid_ns, pid_t set_pid, int *pidfd);
int loopback_up(void);

/* --- process.c: from a process of the runtime to one of the container. process_prepare() is everything up to the last privileges;
 * process_exec() the rest, and returns only on failure. */
int process_oom_score(const struct init *i);   /* while the host's /proc is there */
int oom_score_set(int dir, const char *file, const struct spec_process *p);
/* Around the clone, where the child cannot set its score: it inherits the runtime's. */
int oom_score_lend(const struct init *i, char **saved);
void oom_score_return(const char *saved);
int process_prepare(struct init *i);
int process_exec(struct init *i);
/* Closes all descriptors from 3 + preserved on but those in keep (-1: none). */
int process_close_others(const struct init *i, const int *keep, size_t n);
void process_reset_signals(void);

/* --- console.c: in the child, when the container's /dev is there (root: its root directory): stdio become a new terminal, whose other end
 * goes over the channel. In the runtime: which options go together, and where that end goes. here: the caller takes it itself. */
int console_open(const struct init *i, int root);
int console_check(bool terminal, const char *socket, const int *here);
void console_size(struct spec_process *p, unsigned short rows, unsigned short columns);   /* 0: as it is */
int console_connect(const char *socket);
int console_hand_over(int sock, int master);

/* --- userns.c */
int userns_settle(const struct init *i, pid_t pid);      /* in the runtime, after the clone; the child waits in userns_enter() */
int userns_enter(const struct init *i);
int userns_become_root(const struct init *i);

/* --- clocks.c: offsets of a new time namespace; before and after the clone in the runtime, or clocks_write() in the child. */
bool clocks_wanted(const struct spec *s);
int clocks_begin(int proc, const struct spec *s, int *saved);
int clocks_end(int *saved);
int clocks_write(int proc, const struct spec *s);

/* --- attributes.c */
int attributes_apply(const struct init *i);
int attributes_schedule(const struct spec_process *p, pid_t pid);   /* those that another process can set; 0: this one */
int process_give_stdio(uint32_t uid);
/* exec's CPU affinity: around the clone, in the runtime, which gets its own back; and in the child when it has its cgroup. */
int affinity_begin(const struct spec_process *p, cpu_set_t *saved);
void affinity_end(const struct spec_process *p, const cpu_set_t *saved);
int affinity_final(const struct spec_process *p);

/* --- notify.c: the supervisor's socket as a further mount of the container, if there is one; its name there, or NULL. */
const char *notify_prepare(struct arena *arena, struct spec *s);

/* --- program.c: the program's file. *path to be freed. */
int program_find(const struct spec_process *p, char **path);
/* The environment with what is added to it: HOME if it is missing, LISTEN_FDS. A NULL-terminated list that lives on. */
char **program_environment(const struct init *i);

/* --- exe.c: cuts this process off the runtime's binary; exe_open() before the clone makes it cheaper where it can. */
void exe_open(struct init *i);
int exe_detach(struct init *i);

/* --- netdev.c: linux.netDevices to the network namespace of pid; *netns keeps that open, for netdevs_return(). */
int netdevs_move(const struct spec *s, pid_t pid, int *netns);
void netdevs_return(const struct spec *s, int netns);   /* what has left, after an error */

int sysctls_apply(int proc, const struct spec *s);
/* The host's /proc, verified. */
int proc_open_host(void);

/* --- create.c, for exec too. */
int pid_file_write(const char *path, pid_t pid);             /* path NULL: nothing to do */
int connect_to(const char *path, const char *what);          /* a unix socket; a bare -errno when it cannot be reached */
int pidfd_hand_over(const char *path, pid_t pid);
/* --- spawn.c: how many descriptors are to be preserved (LISTEN_FDS of the caller's environment and the option), and whether they are there. */
unsigned preserved_descriptors(const struct oci_create_options *c);
int preserved_check(unsigned n);

#endif
