/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEM_STEPS_H
#define MEM_STEPS_H

#include "base/str.h"
#include "remote/remote.h"

/* A list of calls for one husk, each with what it does, for the message if it fails. */
struct step {
	struct call call;
	const char *what;            /* "map" */
	uint64_t start, end;         /* what it is about; end 0: not an address range */
	const char *object;          /* NULL, or the file concerned */
	bool may_fail;
};
struct steps {
	ARRAY(struct step) list;
};

struct step *step_add(struct steps *s, const char *what, uint64_t start, uint64_t end, struct call call);
/* Runs all; the first that fails is explained ("who: what start-end"). Results are in the steps' calls. */
int steps_run(struct steps *s, struct remote *r, const char *who);

#endif
