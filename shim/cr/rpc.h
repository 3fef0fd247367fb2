/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CR_RPC_H
#define CR_RPC_H

#include "cr/options.h"

/* torpor-cr swrk FD: serves one connection (SOCK_SEQPACKET) that is open already. 0 if every request succeeded. */
int cr_swrk(const struct cr_options *o);
/* torpor-cr service: listens at --address, a process per connection. Does not return but on an error. */
int cr_service(const struct cr_options *o);

#endif
