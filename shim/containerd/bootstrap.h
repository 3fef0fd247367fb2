/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CONTAINERD_BOOTSTRAP_H
#define CONTAINERD_BOOTSTRAP_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The shim's command line. */
struct bootstrap {
	const char *program, *ns, *id, *address, *bundle, *publish_binary, *socket, *debug_socket;
	bool debug, version, info;
	char *title;          /* where the words of the command line are */
	size_t title_size;
};

int bootstrap_start(const struct bootstrap *b);    /* prints {"version":…,"address":…,"protocol":"ttrpc"} */
int bootstrap_delete(const struct bootstrap *b);   /* prints a packed DeleteResponse (cleanup.c) */
int bootstrap_info(void);                          /* prints a packed RuntimeInfo */
int bootstrap_serve(const struct bootstrap *b);

/* What is common to them. */
int bootstrap_check(const struct bootstrap *b);    /* the flags that all need */
int bootstrap_group(const struct bootstrap *b, int bundle, char **group);   /* the shim's that a container belongs to; to be freed */
char *bootstrap_state_root(const char *ns);        /* where the containers of a namespace have their state; to be freed */
int bootstrap_answer(const ProtobufCMessage *m);   /* packed, on standard output */

/* A path of directories, as far as they are not there; the last is ours alone, or as it is said. */
int bootstrap_make_directories(const char *path);
int bootstrap_make_path(const char *path, mode_t above, mode_t last);

#endif
