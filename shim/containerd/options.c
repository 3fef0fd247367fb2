/* SPDX-License-Identifier: Apache-2.0 */
/* Options: torpor's messages have the numbers of runc's, so that one decoder takes both. containerd wraps what it does not know, the table
 * `options` of a runtime in its configuration, in runtimeoptions.v1.Options; an empty one of these says nothing. */
#include "containerd/options.h"

#include <errno.h>

#include "base/err.h"
#include "base/str.h"

static int decode(const Wk__Any *any, const char *what, const char *const kinds[], const ProtobufCMessageDescriptor *d, void *out)
{
	ProtobufCMessage **m = out;
	bool known = !any || !any->value.len;

	for (size_t i = 0; any && kinds[i]; i++)
		known |= str_ends(any->type_url, kinds[i]);
	if (!known)
		return fail_text(EINVAL, "%s options of the kind %s are not known: %s or %s", what, any->type_url, kinds[0], kinds[1]);
	*m = protobuf_c_message_unpack(d, NULL, any ? any->value.len : 0, any ? any->value.data : NULL);
	return *m ? 0 : fail_text(EINVAL, "the %s options cannot be decoded", what);
}

int options_runtime(const Wk__Any *any, Torpor__V1__Options **out)
{
	static const char *const kinds[] = { "containerd.runc.v1.Options", "torpor.v1.Options", NULL };

	return decode(any, "runtime", kinds, &torpor__v1__options__descriptor, out);
}

int options_checkpoint(const Wk__Any *any, Torpor__V1__CheckpointOptions **out)
{
	static const char *const kinds[] = { "containerd.runc.v1.CheckpointOptions", "torpor.v1.CheckpointOptions", NULL };

	return decode(any, "checkpoint", kinds, &torpor__v1__checkpoint_options__descriptor, out);
}
