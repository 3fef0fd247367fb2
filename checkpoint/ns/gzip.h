/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NS_GZIP_H
#define NS_GZIP_H

#include <stddef.h>
#include <stdint.h>

/* gzip (RFC 1952). Written with stored deflate blocks (RFC 1951, 3.2.4) only: a container for data that is not worth compressing. Read
 * with all of them: what other programs wrote. */
struct gzip {
	int fd;
	uint32_t crc, size;
	size_t n, at;            /* bytes in data; reading: next one to hand out */
	int final;               /* reading: the end has been met */
	struct inflate *inflate;
	unsigned char data[65535];
};

int gzip_begin(struct gzip *z, int fd);
int gzip_write(struct gzip *z, const void *data, size_t size);
int gzip_end(struct gzip *z);

int gzip_open(struct gzip *z, int fd);
int gzip_read(struct gzip *z, void *data, size_t size);           /* exactly size bytes, or an error */
int gzip_finish(struct gzip *z);                                  /* reads what is left: it is whole */
void gzip_close(struct gzip *z);                                  /* after gzip_open() */

#endif
