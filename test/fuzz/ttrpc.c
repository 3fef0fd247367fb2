/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the shim's server: a connection's bytes, in pieces, through frames, requests, methods and options. Some calls are answered at once, others
 * when their client has gone; nothing is kept. */
#include "containerd/server.c"

#include <stdlib.h>

#include "containerd/options.h"
#include "task.pb-c.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static struct rpc_call *kept[CALLS_MAX];
static size_t n_kept;

static void create(struct rpc_call *call, const ProtobufCMessage *message)
{
	const Task__CreateTaskRequest *q = (const void *)message;
	Torpor__V1__Options *o = NULL;
	int r = options_runtime(q->options, &o);

	if (o)
		torpor__v1__options__free_unpacked(o, NULL);
	if (r < 0)
		rpc_fail(call, r);
	else
		rpc_reply(call, message);
}

static void checkpoint(struct rpc_call *call, const ProtobufCMessage *message)
{
	const Task__CheckpointTaskRequest *q = (const void *)message;
	Torpor__V1__CheckpointOptions *o = NULL;

	if (options_checkpoint(q->options, &o) < 0)
		rpc_fail(call, -EINVAL);
	else
		rpc_error(call, RPC_UNKNOWN, "%s", o->parent_path);
	if (o)
		torpor__v1__checkpoint_options__free_unpacked(o, NULL);
}

static void wait_for(struct rpc_call *call, const ProtobufCMessage *message)
{
	(void)message;
	kept[n_kept++] = call;   /* at most CALLS_MAX of a connection */
}

static const struct rpc_method methods[] = {
	{ "s", "a", &task__create_task_request__descriptor, create },
	{ "s", "b", &task__checkpoint_task_request__descriptor, checkpoint },
	{ "s", "c", &task__wait_request__descriptor, wait_for },
	{ 0 },
};

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	static const struct rpc_method *const tables[] = { methods, NULL };
	struct connection *c = mem_zalloc(sizeof *c);
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
		abort();
	server.tables = tables;
	c->watch.fd = ends[0];
	server.connections = c;
	server.n = 1;
	size_t piece = size && data[0] ? data[0] : 1;
	for (size_t at = size ? 1 : 0; at < size && server.connections; at += piece)
		take(c, data + at, size - at < piece ? size - at : piece);
	if (server.connections)
		hang_up(c);
	close(ends[1]);
	while (n_kept)
		rpc_reply(kept[--n_kept], NULL);
	if (server.n || server.n_calls)
		abort();
	err_clear();
	return 0;
}
