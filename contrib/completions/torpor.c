/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the completion script of torpor for a shell. */
#include "cmd/cmd.h"

int main(int argc, char **argv)
{
	return argc == 2 && option_complete(stdout, argv[1], &shim_torpor_global, &shim_torpor_table) ? 0 : 1;
}
