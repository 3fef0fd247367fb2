/* SPDX-License-Identifier: Apache-2.0 */
/* containerd.runtime.sandbox.v1: the pod by itself (pod.c). containerd asks for it where its sandboxer is "shim"; with "podsandbox" the pod
 * is a container like others.
 *
 *     CreateSandbox ─▶ CREATED ─ StartSandbox ─▶ READY ─ StopSandbox, or its process ends ─▶ STOPPED ─ ShutdownSandbox ─▶ NONE
 *
 * A stopped sandbox has no cgroup any more: StopSandbox answers when it has been removed. */
#include "containerd/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "containerd/pod.h"
#include "containerd/publish.h"
#include "containerd/task.h"
#include "sandbox.pb-c.h"

enum state { NONE, CREATED, STARTING, READY, STOPPED };

static struct {
	enum state state;
	char *id, *bundle;
	pid_t pid;
	int life;                                /* the shim's end of a pipe: that process lives as long as it is open */
	uint32_t exit_status;
	struct timespec created_at, exited_at;
	struct rpc_call *call;                   /* of StartSandbox, then of StopSandbox or ShutdownSandbox */
	bool shutting_down;
	struct rpc_call *waiters;                /* parked */
} pod = { .life = -1 };

bool sandbox_exists(void)
{
	return pod.state != NONE;
}

/* All requests begin with the sandbox's id. */
static bool need(struct rpc_call *call, const char *id)
{
	bool there = pod.state != NONE && !strcmp(pod.id, id);

	if (!there)
		rpc_error(call, RPC_NOT_FOUND, "sandbox %s: not found", id);
	return there;
}

/* --- create, start -------------------------------------------------------------------------------------------------------------------------- */

static void create(struct rpc_call *call, const ProtobufCMessage *message)
{
	const Sandbox__CreateSandboxRequest *q = (const void *)message;

	if (pod.state != NONE || shim.ending) {
		rpc_error(call, pod.state != NONE ? RPC_EXISTS : RPC_UNAVAILABLE, "sandbox %s: %s", q->sandbox_id,
			pod.state != NONE ? "already exists" : "the shim is ending");
		return;
	}
	int r = pod_note(q);
	if (r < 0) {
		rpc_fail(call, r);
		return;
	}
	pod.state = CREATED;
	pod.id = str_dup(q->sandbox_id);
	pod.bundle = str_dup(q->bundle_path);
	clock_gettime(CLOCK_REALTIME, &pod.created_at);
	rpc_reply(call, NULL);
}

static int run_start(void *arg, struct job_result *r)
{
	return pod_start(pod.bundle, pod.id, *(int *)arg, r);
}

static void ended(uint32_t status);

static void started(void *arg, struct job_result *r)
{
	struct rpc_call *call = pod.call;
	Sandbox__StartSandboxResponse a = SANDBOX__START_SANDBOX_RESPONSE__INIT;
	Wk__Timestamp at;
	(void)arg;

	pod.call = NULL;
	pod.pid = r->pid;
	pod.state = READY;
	if (r->error < 0) {
		rpc_fail(call, r->error);
		ended(128 + SIGKILL);   /* that process, if it came to be, has no end of the pipe any more */
		return;
	}
	timestamp_fill(&at, &pod.created_at);
	a.pid = (uint32_t)pod.pid;
	a.created_at = &at;
	rpc_reply(call, &a.base);
	if (kill(pod.pid, 0) < 0)   /* it has ended, and nobody knew whose it was */
		ended(128 + SIGKILL);
}

static void start(struct rpc_call *call, const ProtobufCMessage *message)
{
	const Sandbox__StartSandboxRequest *q = (const void *)message;
	int ends[2];

	if (!need(call, q->sandbox_id))
		return;
	if (pod.state != CREATED) {
		rpc_error(call, RPC_PRECONDITION, "sandbox %s: cannot be started again", pod.id);
		return;
	}
	if (pipe2(ends, O_CLOEXEC) < 0) {
		rpc_fail(call, fail(errno, "make a pipe"));
		return;
	}
	pod.state = STARTING;
	pod.call = call;
	pod.life = ends[1];
	int r = job_start(run_start, &ends[0], started, NULL);
	close(ends[0]);
	if (r < 0)
		started(NULL, &(struct job_result){ .error = r, .fd = -1 });
}

/* --- ends ------------------------------------------------------------------------------------------------------------------------------------ */

static void answer_wait(struct rpc_call *call)
{
	Sandbox__WaitSandboxResponse a = SANDBOX__WAIT_SANDBOX_RESPONSE__INIT;
	Wk__Timestamp at;

	timestamp_fill(&at, &pod.exited_at);
	a.exit_status = pod.exit_status;
	a.exited_at = &at;
	rpc_reply(call, &a.base);
}

static int run_remove(void *arg, struct job_result *r)
{
	(void)arg;
	(void)r;
	return pod_remove(pod.bundle, pod.id);
}

static void forget(void)
{
	pod.state = NONE;
	pod.shutting_down = false;
	free_pointer(&pod.id);
	free_pointer(&pod.bundle);
	pod.pid = 0;
}

static void removed(void *arg, struct job_result *r)
{
	struct rpc_call *call = pod.call;
	(void)arg;

	pod.call = NULL;
	if (r->error < 0)
		log_warn("sandbox %s: %s", pod.id, err_line(0) ? err_line(0) : strerror(-r->error));
	if (r->error == 0 && pod.shutting_down) {
		forget();
		service_shutdown(call);
		return;
	}
	pod.shutting_down = false;
	if (!call)
		return;
	if (r->error < 0)
		rpc_fail(call, r->error);
	else
		rpc_reply(call, NULL);
}

static void remove_it(void)
{
	int r = job_start(run_remove, NULL, removed, NULL);

	if (r < 0)
		removed(NULL, &(struct job_result){ .error = r, .fd = -1 });
}

static void ended(uint32_t status)
{
	pod.state = STOPPED;
	pod.exit_status = status;
	clock_gettime(CLOCK_REALTIME, &pod.exited_at);
	fd_close(&pod.life);
	for (struct rpc_call *call; (call = rpc_unpark(&pod.waiters));)
		answer_wait(call);
	if (pod.call)
		remove_it();
}

bool sandbox_child_ended(pid_t pid, int status)
{
	if (pod.state != READY || pid != pod.pid)
		return false;
	ended((uint32_t)(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status)));
	return true;
}

/* The end of the process, if it runs, then of the cgroup; the answer comes after that. */
static void stop_for(struct rpc_call *call, bool shutting_down)
{
	if (pod.state == STARTING || pod.call) {
		rpc_error(call, RPC_UNAVAILABLE, "sandbox %s: is being started or stopped", pod.id);
		return;
	}
	pod.call = call;
	pod.shutting_down = shutting_down;
	if (pod.state == READY)
		kill(pod.pid, SIGKILL);
	else if (pod.state == CREATED)
		ended(0);
	else
		remove_it();
}

static void stop(struct rpc_call *call, const ProtobufCMessage *message)
{
	const Sandbox__StopSandboxRequest *q = (const void *)message;

	if (need(call, q->sandbox_id))
		stop_for(call, false);
}

static void shutdown_sandbox(struct rpc_call *call, const ProtobufCMessage *message)
{
	const Sandbox__ShutdownSandboxRequest *q = (const void *)message;

	if (need(call, q->sandbox_id))
		stop_for(call, true);
}

static void wait_sandbox(struct rpc_call *call, const ProtobufCMessage *message)
{
	const Sandbox__WaitSandboxRequest *q = (const void *)message;

	if (!need(call, q->sandbox_id))
		return;
	if (pod.state == STOPPED)
		answer_wait(call);
	else
		rpc_park(&pod.waiters, call);
}

/* --- questions ------------------------------------------------------------------------------------------------------------------------------- */

static void platform(struct rpc_call *call, const ProtobufCMessage *message)
{
	Sandbox__PlatformResponse a = SANDBOX__PLATFORM_RESPONSE__INIT;
	Sandbox__Platform p = SANDBOX__PLATFORM__INIT;
	static char os[] = "linux", amd64[] = "amd64";
	struct utsname u;
	(void)message;

	uname(&u);
	p.os = os;
	p.architecture = strcmp(u.machine, "x86_64") ? u.machine : amd64;
	a.platform = &p;
	rpc_reply(call, &a.base);
}

static void status(struct rpc_call *call, const ProtobufCMessage *message)
{
	const Sandbox__SandboxStatusRequest *q = (const void *)message;
	Sandbox__SandboxStatusResponse a = SANDBOX__SANDBOX_STATUS_RESPONSE__INIT;
	Wk__Timestamp created, exited;
	static char ready[] = "SANDBOX_READY", notready[] = "SANDBOX_NOTREADY", key[] = "shimPid";
	Wk__Pair pair = WK__PAIR__INIT, *info[] = { &pair };
	autofree char *pid = str_printf("%d", getpid());

	if (!need(call, q->sandbox_id))
		return;
	a.sandbox_id = pod.id;
	a.pid = pod.state == READY ? (uint32_t)pod.pid : 0;
	a.state = pod.state == READY ? ready : notready;
	timestamp_fill(&created, &pod.created_at);
	a.created_at = &created;
	timestamp_fill(&exited, &pod.exited_at);
	a.exited_at = pod.state == STOPPED ? &exited : NULL;
	pair.key = key;
	pair.value = pid;
	a.n_info = q->verbose ? 1 : 0;
	a.info = info;
	rpc_reply(call, &a.base);
}

static void ping(struct rpc_call *call, const ProtobufCMessage *message)
{
	if (need(call, ((const Sandbox__PingRequest *)(const void *)message)->sandbox_id))
		rpc_reply(call, NULL);
}

static int run_stats(void *arg, struct job_result *r)
{
	(void)arg;
	return pod_stats(pod.bundle, pod.id, r);
}

static void stats_there(void *arg, struct job_result *r)
{
	struct rpc_call *call = arg;
	Sandbox__SandboxMetricsResponse a = SANDBOX__SANDBOX_METRICS_RESPONSE__INIT;
	Sandbox__Metric m = SANDBOX__METRIC__INIT;
	Wk__Timestamp at;
	struct timespec now;

	if (r->error < 0) {
		rpc_fail(call, r->error);
		return;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	timestamp_fill(&at, &now);
	m.timestamp = &at;
	m.id = pod.id ? pod.id : m.id;
	m.data = wk__any__unpack(NULL, r->size, r->data);
	a.metrics = &m;
	rpc_reply(call, &a.base);
	if (m.data)
		wk__any__free_unpacked(m.data, NULL);
	free_pointer(&r->data);
}

static void metrics(struct rpc_call *call, const ProtobufCMessage *message)
{
	const Sandbox__SandboxMetricsRequest *q = (const void *)message;

	if (!need(call, q->sandbox_id))
		return;
	if (pod.state != READY)
		rpc_error(call, RPC_NOT_FOUND, "sandbox %s has no cgroup now: not found", pod.id);
	else if (jobs_many())
		rpc_error(call, RPC_UNAVAILABLE, "too much is under way");
	else if (job_start(run_stats, NULL, stats_there, call) < 0)
		rpc_fail(call, -EAGAIN);
}

#define SERVICE "containerd.runtime.sandbox.v1.Sandbox"
const struct rpc_method sandbox_methods[] = {
	{ SERVICE, "CreateSandbox", &sandbox__create_sandbox_request__descriptor, create },
	{ SERVICE, "StartSandbox", &sandbox__start_sandbox_request__descriptor, start },
	{ SERVICE, "Platform", &sandbox__platform_request__descriptor, platform },
	{ SERVICE, "StopSandbox", &sandbox__stop_sandbox_request__descriptor, stop },
	{ SERVICE, "WaitSandbox", &sandbox__wait_sandbox_request__descriptor, wait_sandbox },
	{ SERVICE, "SandboxStatus", &sandbox__sandbox_status_request__descriptor, status },
	{ SERVICE, "PingSandbox", &sandbox__ping_request__descriptor, ping },
	{ SERVICE, "ShutdownSandbox", &sandbox__shutdown_sandbox_request__descriptor, shutdown_sandbox },
	{ SERVICE, "SandboxMetrics", &sandbox__sandbox_metrics_request__descriptor, metrics },
	{ 0 },
};
