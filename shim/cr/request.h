/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CR_REQUEST_H
#define CR_REQUEST_H

#include <sys/types.h>

#include "cr/args.h"
#include "rpc.pb-c.h"

/* The options of a request as words for the parser; NULL: none. swrk: the client is this process's parent and its descriptors were
 * inherited. client: the pid behind descriptor numbers that are the client's own. */
int cr_request_args(struct cr_args *a, const CriuOpts *opts, pid_t client, bool swrk);

#endif
