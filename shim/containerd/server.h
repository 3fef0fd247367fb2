/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TASK_SERVER_H
#define TASK_SERVER_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ttrpc's server side. */

/* gRPC's codes, as far as containerd knows them. */
enum { RPC_OK = 0, RPC_UNKNOWN = 2, RPC_INVALID = 3, RPC_NOT_FOUND = 5, RPC_EXISTS = 6, RPC_EXHAUSTED = 8, RPC_PRECONDITION = 9,
	RPC_UNIMPLEMENTED = 12, RPC_UNAVAILABLE = 14 };

/* A request that was not answered yet. Exactly one of the two answers ends it, now or later; an answer to a client that has gone is
 * dropped. */
struct rpc_call;
void rpc_reply(struct rpc_call *call, const ProtobufCMessage *message);   /* NULL: empty */
void rpc_error(struct rpc_call *call, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The error trail as an error (its first line, then what is known beyond), and clears it; code from -errno. */
void rpc_fail(struct rpc_call *call, int error);

/* A call that waits for something and changes nothing: when its client goes it leaves the list, and is no more. The list begins as NULL and
 * does not move. */
void rpc_park(struct rpc_call **waiting, struct rpc_call *call);
struct rpc_call *rpc_unpark(struct rpc_call **waiting);   /* one of them, which is to be answered; NULL: there is none */

struct rpc_method {
	const char *service, *method;
	const ProtobufCMessageDescriptor *request;
	void (*run)(struct rpc_call *call, const ProtobufCMessage *request);
};
/* Tables of methods, each ended by one without a name; the tables by NULL. */
int server_start(int listen_fd, const struct rpc_method *const *tables);
/* No new connections. */
void server_refuse(void);
/* The same; what was answered is sent, as far as it can be at once. */
void server_stop(void);

#endif
