/* SPDX-License-Identifier: Apache-2.0 */
/* The option list of torpor(1), from the tables that the program parses with. */
#include <stdio.h>

#include "cmd/cmd.h"

int main(void)
{
	printf(".SS Global options\n");
	option_man_options(stdout, &shim_torpor_global, 0);
	option_man(stdout, &shim_torpor_table);
	return 0;
}
