/* SPDX-License-Identifier: Apache-2.0 */
/* kill, delete, pause and resume: one container, or with --regex all whose ID matches.
 *
 * Engines read the words "does not exist" and "container not running" in the errors; the library says them. */
#include <errno.h>
#include <regex.h>
#include <signal.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/str.h"
#include "cmd/cmd.h"

typedef int on_container(struct shim_call *c, const char *id);

static int each_match(struct shim_call *c, on_container *act)
{
	char **ids, why[128];
	regex_t pattern;
	int error = regcomp(&pattern, c->argv[0], REG_EXTENDED | REG_NOSUB), r = 0;

	if (error) {
		regerror(error, &pattern, why, sizeof why);
		return fail_text(EINVAL, "--regex %s: %s", c->argv[0], why);
	}
	ssize_t n = container_list(&c->oci, &ids);
	for (ssize_t i = 0; i < n; i++) {
		int one = regexec(&pattern, ids[i], 0, NULL, 0) ? 0 : act(c, ids[i]);
		r = r < 0 ? r : one;
		free(ids[i]);
	}
	free(ids);
	regfree(&pattern);
	return n < 0 ? (int)n : r;
}

static int one_or_all(struct shim_call *c, on_container *act)
{
	return c->o->regex ? each_match(c, act) : act(c, c->argv[0]);
}

static int kill_one(struct shim_call *c, const char *id)
{
	int sig = c->argc > 1 ? shim_signal(c->argv[1]) : SIGTERM;
	struct container *container;
	int r = container_open(&c->oci, id, &container);

	if (r < 0)
		return r;
	r = container_kill(container, sig, c->o->all);
	container_free(container);
	return r;
}

int shim_kill(struct shim_call *c)
{
	if (c->argc > 1 && shim_signal(c->argv[1]) < 0)
		return fail_text(EINVAL, "kill: unknown signal \"%s\"", c->argv[1]);
	return one_or_all(c, kill_one);
}

/* With --force nothing is too broken or too gone. */
static int delete_one(struct shim_call *c, const char *id)
{
	size_t mark = err_mark();
	struct container *container;
	int r = container_open(&c->oci, id, &container);

	if (r == 0) {
		r = container_delete(container, c->o->force);
		container_free(container);
	} else if (r != -ENOENT && r != -EINVAL && c->o->force) {
		err_rewind(mark);
		return container_discard(&c->oci, id);
	}
	if (r == -ENOENT && c->o->force) {
		err_rewind(mark);
		r = 0;
	}
	return r;
}

int shim_delete(struct shim_call *c)
{
	return one_or_all(c, delete_one);
}

static int freeze(struct shim_call *c, int (*act)(struct container *))
{
	struct container *container;
	int r = container_open(&c->oci, c->argv[0], &container);

	if (r < 0)
		return r;
	r = act(container);
	container_free(container);
	return r;
}

int shim_pause(struct shim_call *c)
{
	return freeze(c, container_pause);
}

int shim_resume(struct shim_call *c)
{
	return freeze(c, container_resume);
}
