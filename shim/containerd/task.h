/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TASK_TASK_H
#define TASK_TASK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "base/str.h"
#include "oci.h"
#include "task.pb-c.h"
#include "containerd/job.h"
#include "containerd/loop.h"
#include "containerd/options.h"
#include "containerd/server.h"
#include "containerd/stdio.h"

/* What the shim was started as. */
struct shim {
	const char *ns, *id, *address;   /* containerd's namespace; the group's id; containerd's ttrpc socket */
	const char *socket;              /* our own socket's path */
	struct oci_options oci;          /* where the containers' state is */
	char *title;                     /* the words of the command line */
	size_t title_size;
	struct loop_timer idle;
	bool debug;
	bool ending;                     /* nothing new */
};
extern struct shim shim;

/* A process: a task's init (exec_id NULL), or one that was added to it. */
struct process {
	struct task *task;
	struct process *next;            /* of the task's added ones */
	char *exec_id;
	Task__Status status;             /* CREATED, RUNNING, STOPPED */
	pid_t pid;                       /* 0: not made yet */
	bool starting;                   /* its start is under way: its exit is not told before that has been */
	bool ended;                      /* has exited; until it is told the status stays */
	uint32_t exit_status;
	struct timespec exited_at;
	char *in, *out, *err;
	bool terminal;
	struct stdio *io;
	void *spec;                      /* added ones: JSON of the process */
	size_t spec_size;
	struct rpc_call *waiters;        /* parked */
	struct rpc_call *deleting;       /* waits for the output to be handed on */
	struct loop_timer patience;
};

/* A request that waits until the one before it is done. */
struct deferred {
	struct rpc_call *call;
	void (*run)(struct rpc_call *call, const ProtobufCMessage *request);
	ProtobufCMessage *request;
	struct deferred *next;
};

/* A container. */
struct task {
	struct task *next;
	char *id, *bundle;
	struct process init, *added;
	bool busy, paused, mounted, private_pid, killed_rest;
	struct deferred *queue;
	char *checkpoint;                /* images to restore from at Start; NULL: none */
	Torpor__V1__Options *options;
	bool serving;                    /* a lazy checkpoint has been made, and its memory is fetched */
	int stop_serving;                /* to write to */
	struct rpc_call *giving_up;
	struct loop_watch oom;
	void *oom_state;
};

/* --- task.c: who there is, and their ends. */
extern struct task *tasks;
struct task *task_find(const char *id);
struct process *process_find(struct task *t, const char *exec_id);   /* "": init; NULL: there is none */
void process_init(struct process *p, struct task *t, const char *exec_id);
void process_free(struct process *p);          /* what it points to */
void task_free(struct task *t);                /* out of the list as well; answers who still waits */
/* The process has a pid now (its end may have come before). */
void process_has_pid(struct process *p, pid_t pid, uint64_t since);
/* Ends of children that were seen: what ended before a process's start began was another with its pid. */
uint64_t task_ends_so_far(void);
/* Its start has been told (or failed): what was held back follows. */
void process_started(struct process *p);
void task_child_ended(pid_t pid, int status);
void process_wait(struct process *p, struct rpc_call *call);
void process_output_changed(void *arg);        /* stdio's callback */

/* One request at a time changes a task. task_begin(): true: go on, and say task_end() when it is done; false: it was put off. */
bool task_begin(struct task *t, struct rpc_call *call, const ProtobufCMessage *request,
	void (*run)(struct rpc_call *call, const ProtobufCMessage *request));
void task_end(struct task *t);

/* --- service.c */
extern const struct rpc_method task_methods[];
void service_finish_delete(struct process *p);
/* Answers, and the shim ends, if it has nothing any more. */
void service_shutdown(struct rpc_call *call);
/* Nothing new comes in; the shim ends when containerd has taken what was queued for it, or after a while. */
void service_end(void);
/* There is no task: the shim ends by itself in a while. */
void service_idle(void);

/* --- rootfs.c: in a worker. */
int rootfs_mount_all(const Task__CreateTaskRequest *request, const char *target);
int rootfs_unmount(const char *target);

/* --- stats.c: in a worker: packed bytes of a Wk__Any. */
int stats_collect(const char *id, struct job_result *r);
struct spec_pairs;
int stats_of_groups(const struct spec_pairs *groups, struct job_result *r);

/* --- oom.c */
void oom_watch(struct task *t);
void oom_forget(struct task *t);
void oom_end(struct task *t);   /* its init has ended: tells what has not been told yet */

#endif
