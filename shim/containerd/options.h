/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TASK_OPTIONS_H
#define TASK_OPTIONS_H

#include "torpor.pb-c.h"
#include "wellknown.pb-c.h"

/* Options as clients send them: runc's messages or torpor's, which go on where those end. *out is to be freed (protobuf-c); one of no
 * options when there are none. A message of another kind is an error: what it asks for would not be done. */
int options_runtime(const Wk__Any *any, Torpor__V1__Options **out);
int options_checkpoint(const Wk__Any *any, Torpor__V1__CheckpointOptions **out);

#endif
