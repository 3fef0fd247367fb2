/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CR_RPC_PRIVATE_H
#define CR_RPC_PRIVATE_H

#include <sys/types.h>

#include "cr/args.h"
#include "rpc.pb-c.h"

/* A connection. */
struct rpc {
	int fd;
	pid_t client;
	bool swrk;            /* we are the client's child */
	CriuReqType before;   /* the last request; EMPTY: none */
	struct option_list external;   /* what the client has named in answer to query-ext-files; its texts are to be freed */
};

/* A request with options, parsed. */
struct rpc_job {
	struct cr_args args;
	struct cr_options o;
	char *images;
};

/* Requests until the connection's end; 0 if all succeeded. */
int rpc_connection(struct rpc *rpc);
/* Answers the next request, unread, with the error trail; -err. */
int rpc_refuse(struct rpc *rpc, int err);
/* Starts a page server as a process of its own and returns when it listens. daemon: it is nobody's child to wait for. */
int rpc_page_server(const struct rpc *rpc, const struct cr_options *o, bool daemon, pid_t *pid, unsigned *port);

#endif
