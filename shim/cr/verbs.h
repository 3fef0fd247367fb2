/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CR_VERBS_H
#define CR_VERBS_H

#include <sys/types.h>

#include "cr/options.h"

/* Makes the images directory absolute (*images, to be freed, which o->images_dir is from then on) and goes to the work directory. */
int cr_enter_work_dir(struct cr_options *o, char **images);
/* The log goes where the options say, relative to the current directory. */
int cr_open_log(const struct cr_options *o);
/* A command, in the work directory. 0 or -errno. */
int cr_do(enum cr_verb verb, struct cr_options *o);
/* restore, without waiting for the tree's end. *root is the root task in the caller's numbering. */
int cr_restore(struct cr_options *o, pid_t *root);
/* All of it, for a command line. */
int cr_run(enum cr_verb verb, struct cr_options *o);

#endif
