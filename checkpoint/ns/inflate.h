/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NS_INFLATE_H
#define NS_INFLATE_H

#include <stddef.h>
#include <sys/types.h>

/* The reading half of deflate (RFC 1951), from a descriptor. */
struct inflate;
struct inflate *inflate_new(int fd);                              /* to be freed with free() */
ssize_t inflate_read(struct inflate *z, void *data, size_t size); /* at most size bytes; 0: the end; or an error, explained */
int inflate_tail(struct inflate *z, void *data, size_t size);     /* after the end: bytes that follow the compressed data */

#endif
