/* SPDX-License-Identifier: Apache-2.0 */
/* --version: the first line names the program and its version, as engines show and parse it. */
#include "cmd/version.h"

#include <seccomp.h>

#ifndef TORPOR_COMMIT
#define TORPOR_COMMIT "unknown"
#endif
const char shim_commit[] = TORPOR_COMMIT;

void shim_version_print(FILE *out)
{
	const struct scmp_version *seccomp = seccomp_version();

	fprintf(out, "torpor version %s\ncommit: %s\nspec: %s\n", TORPOR_VERSION, shim_commit, SHIM_SPEC_VERSION);
	if (seccomp)
		fprintf(out, "libseccomp: %u.%u.%u\n", seccomp->major, seccomp->minor, seccomp->micro);
}
