/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CONTAINERD_ASK_H
#define CONTAINERD_ASK_H

#include "containerd/task.h"

/* Who is asked for; NULL: the call was answered with an error. */
struct task *service_task(struct rpc_call *call, const char *id);
struct process *service_process(struct rpc_call *call, const char *id, const char *exec_id);

/* Methods. */
void ask_state(struct rpc_call *call, const ProtobufCMessage *message);
void ask_wait(struct rpc_call *call, const ProtobufCMessage *message);
void ask_pids(struct rpc_call *call, const ProtobufCMessage *message);
void ask_connect(struct rpc_call *call, const ProtobufCMessage *message);
void ask_stats(struct rpc_call *call, const ProtobufCMessage *message);

#endif
