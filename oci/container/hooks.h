/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_HOOKS_H
#define OCI_HOOKS_H

#include <sys/types.h>

#include "spec/spec.h"

/* What the hooks of one point are told, and where they run. */
struct hook_call {
	const struct spec *spec;
	const char *id, *status;
	pid_t pid;                    /* as the hook sees it; 0: none */
	const char *directory;
	int (*confine)(void *arg);    /* in each hook's process before its program; may be NULL */
	void *arg;
};

/* The state as the specification has it, as a member of an object (key NULL: on its own). */
struct json_out;
void hook_state(const struct hook_call *c, struct json_out *o, const char *key);
/* Runs them one after another. The first that fails ends it; with poststop a failure is only a warning. */
int hooks_run(const struct hook_call *c, enum spec_hook_point point);

/* Those of a container of which nothing is left. */
void hooks_poststop(const struct spec *s, const char *id);

#endif
