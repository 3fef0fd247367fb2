/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What prctl and personality keep per process: name, dumpable, signal at the parent's death, child subreaper,
 * transparent huge pages off, timer slack (only with an argument: images have no field for it), keep capabilities and personality.
 * Each is read back after it was set; what this kernel cannot set is left out.
 */
#include "cr.h"

#include <signal.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#ifndef PR_GET_THP_DISABLE
#define PR_SET_THP_DISABLE 41
#define PR_GET_THP_DISABLE 42
#endif

/* Values that are returned, and values that are stored through a pointer. */
static const struct value {
	const char *name;
	int set, get, value;
	bool by_pointer;
} values[] = {
	{ "subreaper", PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER, 1, true },
	{ "transparent huge pages off", PR_SET_THP_DISABLE, PR_GET_THP_DISABLE, 1, false },
	{ "keep capabilities", PR_SET_KEEPCAPS, PR_GET_KEEPCAPS, 1, false },
	{ "parent death signal", PR_SET_PDEATHSIG, PR_GET_PDEATHSIG, SIGUSR2, true },
	{ "timer slack", PR_SET_TIMERSLACK, PR_GET_TIMERSLACK, 123456, false }, /* only with an argument */
	{ "dumpable", PR_SET_DUMPABLE, PR_GET_DUMPABLE, 0, false },
};
#define VALUES (int)(sizeof(values) / sizeof(values[0]))

static int get(const struct value *v)
{
	int value = -1;

	if (v->by_pointer)
		return prctl(v->get, &value, 0, 0, 0) < 0 ? -1 : value;
	return prctl(v->get, 0, 0, 0, 0);
}

static int child(void *arg)
{
	bool have[VALUES];
	char name[16];

	for (int i = 0; i < VALUES; i++)
		have[i] = (arg || values[i].set != PR_SET_TIMERSLACK) && prctl(values[i].set, values[i].value, 0, 0, 0) == 0 &&
			  get(&values[i]) == values[i].value;
	need(prctl(PR_SET_NAME, "a (name) 1 2") == 0);
	need(personality(ADDR_NO_RANDOMIZE) >= 0);
	cr_child_ready();
	cr_wait_go();
	for (int i = 0; i < VALUES; i++)
		expect(!have[i] || get(&values[i]) == values[i].value, "%s: %d instead of %d", values[i].name, get(&values[i]),
		       values[i].value);
	prctl(PR_GET_NAME, name);
	expect(!strcmp(name, "a (name) 1 2"), "name '%s'", name);
	expect(personality(0xffffffff) == ADDR_NO_RANDOMIZE, "personality %#x", (unsigned)personality(0xffffffff));
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	return 0;
}

int main(int argc, char **argv)
{
	cr_begin(argc, argv);
	pid_t pid = cr_fork(child, argv[2]);
	cr_wait();
	cr_join(pid);
	return cr_end();
}
