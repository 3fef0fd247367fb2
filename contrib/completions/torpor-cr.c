/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the completion script of torpor-cr for a shell. */
#include "cr/options.h"

int main(int argc, char **argv)
{
	return argc == 2 && option_complete(stdout, argv[1], NULL, &cr_options_table) ? 0 : 1;
}
