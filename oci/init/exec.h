/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_INIT_EXEC_H
#define OCI_INIT_EXEC_H

#include "container/container.h"
#include "init/internal.h"

struct exec {
	struct container *c;
	const struct oci_exec_options *e;
	struct arena arena;
	struct spec *spec;
	struct spec_process process;
	struct spec_pairs groups;   /* where it is to be: the container's cgroups, or some below them */
	struct init init;
	int sock, pidfd, console, console_sock;
	pid_t pid;
};

/* exec_process.c: what is to be run, from the container's configuration, the process document and the options. */
int exec_read_process(struct exec *x);

#endif
