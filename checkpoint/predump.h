/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PREDUMP_H
#define PREDUMP_H

/* The stages of a pre-dump that are not a dump's (predump.c); the context is a struct dump. */
int predump_track(void *ctx);
int predump_release(void *ctx);
int predump_memory(void *ctx);
int predump_finish(void *ctx);

#endif
