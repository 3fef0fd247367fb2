/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CR_ARGS_H
#define CR_ARGS_H

#include "base/str.h"
#include "cr/options.h"

/* Options on their way to the parser, as the words of a command line, from files, requests and the real command line. Later ones win.
 * Cleared to zero at the start; the words live until cr_args_free(). */
struct cr_args {
	enum cr_verb verb;
	ARRAY(char *) words;
	char **argv;       /* of the parser, which has pointed options into it */
};

/* "--name" or "--name=value" (value NULL: none). An option that only other commands have is left out; one that none has is an error. */
int cr_args_add(struct cr_args *a, const char *name, const char *value);
/* A word of the command line as it is. */
void cr_args_word(struct cr_args *a, const char *word);
/* Configuration files: a missing one is ignored if it may be missing. */
int cr_args_file(struct cr_args *a, const char *path, bool may_be_missing);
/* The usual files: /etc/criu/default.conf and ~/.criu/default.conf if defaults are wanted, that of CRIU_CONFIG_FILE, then own (or NULL). */
int cr_args_files(struct cr_args *a, bool defaults, const char *own);
/* Everything into *o, which has its defaults already. What is left over is an error. */
int cr_args_parse(struct cr_args *a, struct cr_options *o);
void cr_args_free(struct cr_args *a);

#endif
