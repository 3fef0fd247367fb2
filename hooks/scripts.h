/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOKS_SCRIPTS_H
#define HOOKS_SCRIPTS_H

#include <stddef.h>

#include "checkpoint.h"

/* Action scripts: programs that are run at the points of a dump and a restore. */
struct action_scripts {
	const char *const *paths;   /* NULL-terminated, or NULL */
	const char *id;             /* of the container; NULL: none */
	int status;                 /* exit status of the last that failed (128 + signal); 0: none did */
	enum ck_action failed;      /* where */
};

/* A ck_actions' run: arg is a struct action_scripts. Runs every script, the last one first, whether or not another failed; 0 if all
 * ended with status 0. */
int action_scripts_run(void *arg, const struct ck_action_event *event);

#endif
