/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NETLOCK_OPTIONS_H
#define NETLOCK_OPTIONS_H

#include "base/option.h"

enum netlock_verb { NETLOCK_LOCK, NETLOCK_UNLOCK, NETLOCK_STATUS, NETLOCK_CLEAN, NETLOCK_VERBS };

struct netlock_options {
	const char *id, *netns, *method;
	int pid;
	struct option_list flows;
	bool hook, help, version;
};
#define NETLOCK_OPTIONS_INIT { .pid = 0 }

extern const struct option_table netlock_options_table;

#endif
