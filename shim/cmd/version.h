/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHIM_VERSION_H
#define SHIM_VERSION_H

#include <stdio.h>

#define SHIM_SPEC_VERSION "1.3.0"       /* of the runtime specification that this runtime follows */
extern const char shim_commit[];        /* of the sources it was built from; "unknown" outside a repository */
void shim_version_print(FILE *out);

#endif
