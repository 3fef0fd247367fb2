/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the completion script of torpor-netlock for a shell. */
#include "netlock/options.h"

int main(int argc, char **argv)
{
	return argc == 2 && option_complete(stdout, argv[1], NULL, &netlock_options_table) ? 0 : 1;
}
