/* SPDX-License-Identifier: Apache-2.0 */
/* CRIU's RPC: a request per packet of a SOCK_SEQPACKET connection, each a protobuf message, answered by one (and, where the client wants
 * to be told of actions, by notifications that it acknowledges first). Flow and numbers: proto/rpc.proto, criu.org/RPC.
 *
 *   one request per connection, unless it says keep_open (and its kind allows that), or is a PRE_DUMP: then the next follows
 *   descriptor numbers of directories are the client's own: they are opened by /proc/PID/fd, the pid being the socket's peer;
 *   those to be inherited by tasks (inherit_fd, ps.fd) are this process's, which only a child of the client has (swrk)
 *   an answer is kept below what clients read at once (go-criu: 8192 bytes)
 *
 * A request is untrusted: its size is bounded by the socket, its content checked by the parser of options. It is as mighty as the
 * caller of the command line: a service for users other than root refuses what is not theirs (service.c). */
#include "cr/rpc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/kernel.h"
#include "base/log.h"
#include "cr/request.h"
#include "cr/rpc_private.h"
#include "cr/verbs.h"

#define MESSAGE_MAX 4096
#define PACKET_MAX (1 << 20)
#define REFUSED_WAIT_MS 2000

/* --- packets ------------------------------------------------------------------------------------------------------------------ */

/* The next request, to be freed; NULL with 0 at the connection's end. */
static int receive(struct rpc *rpc, CriuReq **req)
{
	ssize_t size;

	*req = NULL;
	while ((size = recv(rpc->fd, NULL, 0, MSG_PEEK | MSG_TRUNC)) < 0)
		if (errno != EINTR)
			return fail(errno, "receive a request");
	if (size == 0)
		return 0;
	if (size > PACKET_MAX)
		return fail_text(EMSGSIZE, "a request of %zd bytes", size);
	autofree uint8_t *data = mem_zalloc((size_t)size);
	if (recv(rpc->fd, data, (size_t)size, 0) != size)
		return fail(errno, "receive a request");
	*req = criu_req__unpack(NULL, (size_t)size, data);
	return *req ? 0 : fail_text(EBADMSG, "the request is no criu_req message");
}

static int reply_with(struct rpc *rpc, const CriuResp *resp, int fd)
{
	size_t size = criu_resp__get_packed_size(resp);
	autofree uint8_t *data = mem_zalloc(size);
	struct iovec iov = { data, size };
	union { struct cmsghdr header; char space[CMSG_SPACE(sizeof fd)]; } rights = { .header = {
		.cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS } };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	criu_resp__pack(resp, data);
	if (fd >= 0) {
		memcpy(CMSG_DATA(&rights.header), &fd, sizeof fd);
		m.msg_control = &rights;
		m.msg_controllen = sizeof rights;
	}
	return sendmsg(rpc->fd, &m, MSG_NOSIGNAL) == (ssize_t)size ? 0 : fail(errno, "send the answer");
}

static int reply(struct rpc *rpc, const CriuResp *resp)
{
	return reply_with(rpc, resp, -1);
}

static int reply_error(struct rpc *rpc, CriuReqType type, int err)
{
	CriuResp resp = CRIU_RESP__INIT;
	char text[MESSAGE_MAX];

	resp.type = type;
	resp.has_cr_errno = true;
	resp.cr_errno = err;
	if (err_count()) {
		snprintf(text, sizeof text, "%s", err_line(0));
		resp.cr_errmsg = text;
	}
	for (size_t i = 0; i < err_count(); i++)
		log_error("%s", err_line(i));
	err_clear();
	return reply(rpc, &resp);
}

/* The answer to query-ext-files. */
static void take_external(struct rpc *rpc, const struct ck_action_event *event, const CriuReq *req)
{
	for (size_t i = 0; event->external && req->opts && i < req->opts->n_external; i++) {
		array_push(&rpc->external) = str_dup(req->opts->external[i]);
		array_push(&rpc->external) = NULL;
		rpc->external.n--;
	}
	if (event->external)
		*event->external = rpc->external.data;
}

/* The options' notify: asks the client, and waits for its word. */
static int notify(void *arg, const struct ck_action_event *event)
{
	struct rpc *rpc = arg;
	const char *name = ck_action_name(event->action);
	CriuResp resp = CRIU_RESP__INIT;
	CriuNotify what = CRIU_NOTIFY__INIT;
	autofree char *script = str_dup(name);
	CriuReq *req;

	what.script = script;
	what.has_pid = event->root != 0;
	what.pid = event->root;
	resp.type = CRIU_REQ_TYPE__NOTIFY;
	resp.success = true;
	resp.notify = &what;
	int r = reply_with(rpc, &resp, event->fd);
	if (r >= 0)
		r = receive(rpc, &req);
	if (r < 0)
		return r;
	if (!req)
		return fail_text(EPIPE, "%s: the client has gone instead of answering", name);
	bool answered = req->type == CRIU_REQ_TYPE__NOTIFY, agrees = answered && req->has_notify_success && req->notify_success;
	take_external(rpc, event, req);
	criu_req__free_unpacked(req, NULL);
	return agrees ? 0 : fail_text(ECANCELED, "%s: the client %s", name, answered ? "says that it failed" : "sent another request");
}

/* --- requests ---------------------------------------------------------------------------------------------------------------- */

static void forget_log(void)
{
	int fd = log_fd();

	log_open(2, LOG_TEXT, LOG_LEVEL_WARN);
	if (fd > 2)
		close(fd);
}

/* Parses, goes to the work directory, opens the log. */
static int prepare(struct rpc *rpc, const CriuReq *req, enum cr_verb verb, struct rpc_job *job)
{
	const CriuOpts *opts = req->opts;

	job->args.verb = verb;
	job->o = (struct cr_options)CR_OPTIONS_INIT;
	int r = cr_args_files(&job->args, true, NULL);
	if (r >= 0)
		r = cr_request_args(&job->args, opts, rpc->client, rpc->swrk);
	if (r >= 0)
		r = cr_args_parse(&job->args, &job->o);
	if (r < 0)
		return fail_text(EBADRQC, "the request's options are not accepted");
	if (opts && opts->has_notify_scripts && opts->notify_scripts) {
		job->o.notify = notify;
		job->o.notify_arg = rpc;
		job->o.orphan_pts_master = opts->has_orphan_pts_master && opts->orphan_pts_master;
	}
	if ((verb == CR_DUMP || verb == CR_PRE_DUMP) && (!job->o.tree || job->o.tree == rpc->client))
		return fail_text(ENOTSUP, "process %d asks for a dump of itself: its connection to this process cannot be saved; name another process (pid)",
				 rpc->client);
	job->o.detached = true;
	if (opts && opts->has_status_fd && job->o.lazy_pages) {
		autofree char *path = str_printf("/proc/%d/fd/%d", rpc->client, opts->status_fd);
		job->o.status_fd = open(path, O_WRONLY | O_CLOEXEC);
		if (job->o.status_fd < 0)
			return fail(errno, "status_fd %d of process %d", opts->status_fd, rpc->client);
	}
	r = opts ? cr_enter_work_dir(&job->o, &job->images) : 0;
	return r < 0 || !opts ? r : cr_open_log(&job->o);
}

static void job_free(struct rpc_job *job)
{
	free_pointer(&job->images);
	option_free(&cr_options_table, &job->o);
	cr_args_free(&job->args);
	forget_log();
}

/* The answer to a request that ended with r; the job's end. */
static int finish(struct rpc *rpc, struct rpc_job *job, CriuResp *resp, int r)
{
	resp->success = r >= 0;
	r = r < 0 ? reply_error(rpc, resp->type, -r) ?: -ECANCELED : reply(rpc, resp);
	job_free(job);
	return r;
}

static int do_plain(struct rpc *rpc, const CriuReq *req, enum cr_verb verb, CriuResp *resp)
{
	struct rpc_job job = { .images = NULL };
	int r = prepare(rpc, req, verb, &job);

	if (r >= 0)
		r = cr_do(verb, &job.o);
	return finish(rpc, &job, resp, r);
}

static int do_dump(struct rpc *rpc, const CriuReq *req)
{
	CriuResp resp = CRIU_RESP__INIT;
	CriuDumpResp dump = CRIU_DUMP_RESP__INIT;

	resp.type = req->type;
	resp.dump = &dump;
	dump.has_restored = true;
	return do_plain(rpc, req, CR_DUMP, &resp);
}

static int do_pre_dump(struct rpc *rpc, const CriuReq *req)
{
	CriuResp resp = CRIU_RESP__INIT;

	resp.type = req->type;
	return do_plain(rpc, req, CR_PRE_DUMP, &resp);
}

static int do_check(struct rpc *rpc, const CriuReq *req)
{
	struct rpc_job job = { .images = NULL };
	const struct ck_check_options c = { .out = -1, .unprivileged = req->opts && req->opts->has_unprivileged && req->opts->unprivileged };
	CriuResp resp = CRIU_RESP__INIT;
	int r = 0;

	if (req->opts && req->opts->log_file)
		r = prepare(rpc, req, CR_CHECK, &job);
	if (r >= 0)
		r = ck_check(&c);
	resp.type = req->type;
	return finish(rpc, &job, &resp, r);
}

/* Becomes a command that is the parent of the restored tree, its output in the log. */
static int become(const CriuOpts *opts)
{
	autofree char **argv = mem_zalloc((opts->n_exec_cmd + 1) * sizeof *argv);

	for (size_t i = 0; i < opts->n_exec_cmd; i++)
		argv[i] = opts->exec_cmd[i];
	dup2(log_fd(), 1);
	dup2(log_fd(), 2);
	execvp(argv[0], argv);
	return fail(errno, "execute %s", argv[0]);
}

static int do_restore(struct rpc *rpc, const CriuReq *req)
{
	struct rpc_job job = { .images = NULL };
	CriuResp resp = CRIU_RESP__INIT;
	CriuRestoreResp restore = CRIU_RESTORE_RESP__INIT;
	int r = prepare(rpc, req, CR_RESTORE, &job);

	if (r >= 0)
		r = cr_restore(&job.o, &restore.pid);
	resp.type = req->type;
	resp.restore = &restore;
	resp.success = true;
	bool done = r >= 0;
	r = done ? reply(rpc, &resp) : reply_error(rpc, req->type, -r) ?: -ECANCELED;
	if (done && req->opts && req->opts->n_exec_cmd)
		r = become(req->opts);
	job_free(&job);
	return r;
}

static int do_features(struct rpc *rpc, const CriuReq *req)
{
	CriuResp resp = CRIU_RESP__INIT;
	CriuFeatures have = CRIU_FEATURES__INIT;
	const CriuFeatures *asked = req->features;

	resp.type = req->type;
	if (!asked) {
		fail_text(EBADRQC, "feature check: no features are named");
		return reply_error(rpc, req->type, EBADRQC) ?: -EBADRQC;
	}
	resp.success = true;
	resp.features = &have;
	have.has_mem_track = have.has_lazy_pages = have.has_pidfd_store = true;
	have.mem_track = asked->mem_track && kernel_has(KERNEL_MEM_TRACK);
	have.lazy_pages = asked->lazy_pages && kernel_has(KERNEL_UFFD_NONCOOP);
	have.pidfd_store = asked->pidfd_store && kernel_has(KERNEL_PIDFD_GETFD);
	return reply(rpc, &resp);
}

static int do_version(struct rpc *rpc, const CriuReq *req)
{
	CriuResp resp = CRIU_RESP__INIT;
	CriuVersion version = CRIU_VERSION__INIT;

	resp.type = req->type;
	resp.success = true;
	resp.version = &version;
	version.major_number = CR_CRIU_MAJOR;
	version.minor_number = CR_CRIU_MINOR;
	return reply(rpc, &resp);
}

static int do_wait(struct rpc *rpc, const CriuReq *req)
{
	CriuResp resp = CRIU_RESP__INIT;
	int status = 0;
	pid_t pid;

	while ((pid = waitpid((pid_t)req->pid, &status, 0)) < 0 && errno == EINTR)
		;
	if (pid < 0) {
		int r = fail(errno, "wait for process %u", req->pid);
		return reply_error(rpc, req->type, -r) ?: r;
	}
	resp.type = req->type;
	resp.success = true;
	resp.has_status = true;
	resp.status = status;
	return reply(rpc, &resp);
}

static int do_page_server(struct rpc *rpc, const CriuReq *req)
{
	struct rpc_job job = { .images = NULL };
	CriuResp resp = CRIU_RESP__INIT;
	CriuPageServerInfo info = CRIU_PAGE_SERVER_INFO__INIT;
	int r = prepare(rpc, req, CR_PAGE_SERVER, &job);
	unsigned port = 0;

	if (r >= 0)
		r = rpc_page_server(rpc, &job.o, req->type == CRIU_REQ_TYPE__PAGE_SERVER, &info.pid, &port);
	resp.type = CRIU_REQ_TYPE__PAGE_SERVER;
	resp.ps = &info;
	info.has_pid = info.has_port = true;
	info.port = (int)port;
	return finish(rpc, &job, &resp, r);
}

static int do_cpuinfo(struct rpc *rpc, const CriuReq *req)
{
	struct rpc_job job = { .images = NULL };
	CriuResp resp = CRIU_RESP__INIT;
	int r = prepare(rpc, req, CR_CPUINFO, &job);

	job.o.positional = req->type == CRIU_REQ_TYPE__CPUINFO_DUMP ? "dump" : "check";
	if (r >= 0)
		r = cr_do(CR_CPUINFO, &job.o);
	resp.type = req->type;
	return finish(rpc, &job, &resp, r);
}

static const struct kind {
	int (*run)(struct rpc *rpc, const CriuReq *req);
	bool needs_options, may_stay;
} kinds[] = {
	[CRIU_REQ_TYPE__DUMP] = { do_dump, true, false },
	[CRIU_REQ_TYPE__RESTORE] = { do_restore, true, false },
	[CRIU_REQ_TYPE__CHECK] = { do_check, false, false },
	[CRIU_REQ_TYPE__PRE_DUMP] = { do_pre_dump, true, false },
	[CRIU_REQ_TYPE__PAGE_SERVER] = { do_page_server, true, true },
	[CRIU_REQ_TYPE__CPUINFO_DUMP] = { do_cpuinfo, true, true },
	[CRIU_REQ_TYPE__CPUINFO_CHECK] = { do_cpuinfo, true, true },
	[CRIU_REQ_TYPE__FEATURE_CHECK] = { do_features, false, true },
	[CRIU_REQ_TYPE__VERSION] = { do_version, false, true },
	[CRIU_REQ_TYPE__WAIT_PID] = { do_wait, false, false },
	[CRIU_REQ_TYPE__PAGE_SERVER_CHLD] = { do_page_server, true, true },
	[CRIU_REQ_TYPE__SINGLE_PRE_DUMP] = { do_pre_dump, true, false },
};

/* After a round the connection belongs to the dump that it is for. */
static bool follows(CriuReqType before, CriuReqType type)
{
	return before != CRIU_REQ_TYPE__PRE_DUMP || type == CRIU_REQ_TYPE__PRE_DUMP || type == CRIU_REQ_TYPE__DUMP;
}

static int serve(struct rpc *rpc, const CriuReq *req, bool *more)
{
	size_t n = sizeof kinds / sizeof *kinds;
	const struct kind *k = (size_t)req->type < n && kinds[req->type].run ? &kinds[req->type] : NULL;

	if (!k || !follows(rpc->before, req->type)) {
		fail_text(EBADRQC, "request %d is not expected here", (int)req->type);
		return reply_error(rpc, CRIU_REQ_TYPE__EMPTY, EBADRQC) ?: -EBADRQC;
	}
	if (k->needs_options && !req->opts) {
		fail_text(EBADRQC, "request %d has no options", (int)req->type);
		return reply_error(rpc, req->type, EBADRQC) ?: -EBADRQC;
	}
	bool stays = req->has_keep_open && req->keep_open;
	if (stays && !k->may_stay)
		return fail_text(EBADRQC, "keep_open is not for request %d", (int)req->type);
	*more = stays || req->type == CRIU_REQ_TYPE__PRE_DUMP;
	rpc->before = req->type;
	return k->run(rpc, req);
}

static void forget_external(struct rpc *rpc)
{
	for (size_t i = 0; i < rpc->external.n; i++)
		free((void *)(uintptr_t)rpc->external.data[i]);
	array_free(&rpc->external);
}

static int take_requests(struct rpc *rpc)
{
	bool more = true;
	int r = 0;

	while (more && r >= 0) {
		CriuReq *req;
		more = false;
		r = receive(rpc, &req);
		if (r < 0)
			reply_error(rpc, CRIU_REQ_TYPE__EMPTY, -r);
		if (r < 0 || !req)   /* runc has a worker per round, and does not want this one to have failed */
			return r;
		r = serve(rpc, req, &more);
		criu_req__free_unpacked(req, NULL);
	}
	return r;
}

int rpc_connection(struct rpc *rpc)
{
	int r = take_requests(rpc);

	forget_external(rpc);
	return r;
}

int rpc_refuse(struct rpc *rpc, int err)
{
	/* Who sends nothing does not keep this process for long; a connection closed with an unread request loses the answer. */
	if (poll(&(struct pollfd){ rpc->fd, POLLIN, 0 }, 1, REFUSED_WAIT_MS) > 0)
		recv(rpc->fd, NULL, 0, MSG_DONTWAIT);
	return reply_error(rpc, CRIU_REQ_TYPE__EMPTY, err) ?: -err;
}

int cr_swrk(const struct cr_options *o)
{
	struct ucred peer;
	socklen_t size = sizeof peer;
	uint64_t fd;
	int type;

	if (!o->positional || parse_u64(o->positional, 10, &fd) < 0 || fd > INT32_MAX)
		return fail_text(EINVAL, "swrk: the number of an open socket is expected");
	struct rpc rpc = { .fd = (int)fd, .swrk = true };
	if (getsockopt(rpc.fd, SOL_SOCKET, SO_TYPE, &type, &(socklen_t){ sizeof type }) < 0)
		return fail(errno, "swrk: descriptor %d", rpc.fd);
	if (getsockopt(rpc.fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return fail(errno, "swrk: the peer of socket %d", rpc.fd);
	if (fcntl(rpc.fd, F_SETFD, FD_CLOEXEC) < 0)
		return fail(errno, "swrk: socket %d", rpc.fd);
	rpc.client = peer.pid ? peer.pid : getppid();
	return rpc_connection(&rpc);
}
