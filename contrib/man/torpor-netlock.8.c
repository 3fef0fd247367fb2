/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the option list of torpor-netlock.8 from its table. */
#include "netlock/options.h"

int main(void)
{
	option_man(stdout, &netlock_options_table);
	return 0;
}
