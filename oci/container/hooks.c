/* SPDX-License-Identifier: Apache-2.0 */
/* The hooks of config.json.
 *
 *   point            who runs it, in whose namespaces      when                                       a failure
 *   prestart         the runtime                           root filesystem is built, not yet entered  undoes create
 *   createRuntime    the runtime                           likewise, after prestart                   undoes create
 *   createContainer  init, the program is the host's       likewise, after createRuntime              undoes create
 *   startContainer   init, confined as the container's     start, just before the program             ends the container
 *                    process, the program is its own
 *   poststart        the runtime                           the program has been executed              kills the container
 *   poststop         the runtime                           nothing is left of the container           is a warning
 *
 * A restore builds the root filesystem anew, so the three of create run then too. poststop also runs for a create that failed after its
 * state directory was made, whatever the reason: a hook before it may have something to undo.
 *
 * Each gets the state on its standard input, with the pid as its own pid namespace numbers it. */
#define LOG_PREFIX "hooks"
#include "container/hooks.h"

#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/str.h"
#include "exec.h"
#include "spec/json.h"

void hook_state(const struct hook_call *c, struct json_out *o, const char *key)
{
	const struct spec_pairs *annotations = &c->spec->annotations;

	json_open_object(o, key);
	json_add_string(o, "ociVersion", c->spec->oci_version);
	json_add_string(o, "id", c->id);
	json_add_string(o, "status", c->status);
	if (c->pid)
		json_add_i64(o, "pid", c->pid);
	json_add_string(o, "bundle", c->spec->bundle);
	if (annotations->n)
		json_open_object(o, "annotations");
	for (size_t i = 0; i < annotations->n; i++)
		json_add_string(o, annotations->data[i].key, annotations->data[i].value);
	if (annotations->n)
		json_close_object(o);
	json_close_object(o);
}

static char *describe(const struct hook_call *c)
{
	struct json_out o = { 0 };

	hook_state(c, &o, NULL);
	return json_take(&o);
}

static int run_one(const struct hook_call *c, const struct spec_hook *h, const char *state)
{
	const struct hook hook = {
		.path = h->path,
		.args = h->args.data,
		.env = h->env.data,
		.timeout = h->timeout,
		.directory = c->directory,
		.confine = c->confine,
		.arg = c->arg,
	};

	return hook_exec(&hook, state, strlen(state));
}

int hooks_run(const struct hook_call *c, enum spec_hook_point point)
{
	const struct spec_hooks *hooks = &c->spec->hooks[point];
	autofree char *state = hooks->n ? describe(c) : NULL;

	for (size_t i = 0; i < hooks->n; i++) {
		size_t mark = err_mark();
		int r = run_one(c, &hooks->data[i], state);
		if (r >= 0)
			continue;
		if (point != HOOK_POSTSTOP)
			return fail_text(-r, "config.json: hooks.%s[%zu] failed", spec_hook_points[point], i);
		log_warn("container %s: hooks.poststop[%zu]: %s", c->id, i, err_line(mark));
		err_rewind(mark);
	}
	return 0;
}

void hooks_poststop(const struct spec *s, const char *id)
{
	const struct hook_call call = { .spec = s, .id = id, .status = "stopped", .directory = s->bundle };

	hooks_run(&call, HOOK_POSTSTOP);
}
