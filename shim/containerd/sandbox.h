/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CONTAINERD_SANDBOX_H
#define CONTAINERD_SANDBOX_H

#include <stdbool.h>
#include <sys/types.h>

#include "containerd/server.h"

/* The sandbox service, of which a shim has one sandbox at most. sandbox_child_ended(): true when that process was its own. */
bool sandbox_child_ended(pid_t pid, int status);
extern const struct rpc_method sandbox_methods[];
bool sandbox_exists(void);   /* created, and not shut down */

#endif
