/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CONTAINERD_POD_H
#define CONTAINERD_POD_H

#include "containerd/job.h"
#include "sandbox.pb-c.h"

/* A pod's namespaces and cgroup, held by a process that does nothing else. */

/* Notes in the bundle what is asked for: -errno if it is not to be had. */
int pod_note(const Sandbox__CreateSandboxRequest *q);
/* In a worker: makes them. r->pid: the process, a child of the worker's parent, which ends when nobody can write to `life` any more. */
int pod_start(const char *bundle, const char *id, int life, struct job_result *r);
/* In a worker: what the pod's cgroup has used (an Any). */
int pod_stats(const char *bundle, const char *id, struct job_result *r);
/* Removes the cgroup once that process has ended. Harmless when the bundle is no pod's. */
int pod_remove(const char *bundle, const char *id);

#endif
