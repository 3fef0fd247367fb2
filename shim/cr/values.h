/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CR_VALUES_H
#define CR_VALUES_H

#include "cr/options.h"

/* All return 0 or -errno, explained. */

/* Values that are one of a few words, and options that need each other. */
int cr_check_modes(const struct cr_options *o);
int cr_check_plugins(const struct cr_options *o);
/* --external, with --ext-mount-map, --veth-pair and --ext-unix-sk's list in its form; NULL-terminated. To be freed, also after an error. */
int cr_external(const struct cr_options *o, struct option_list *made);
void cr_external_free(struct option_list *made);
/* The network namespace of --join-ns, NULL: none. */
int cr_joined(const struct cr_options *o, const char **out);
/* "fd[3]:pipe:[1234]" */
int cr_inherit(const char *text, struct ck_inherit *out);
/* --cpu-cap as CK_CPU_ bits; 0: nothing is recorded or compared. */
int cr_cpu_caps(const struct cr_options *o, unsigned *caps);

#endif
