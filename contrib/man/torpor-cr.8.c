/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the option list of torpor-cr.8 from its table. */
#include "cr/options.h"

int main(void)
{
	option_man(stdout, &cr_options_table);
	return 0;
}
