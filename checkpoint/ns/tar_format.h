/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NS_TAR_FORMAT_H
#define NS_TAR_FORMAT_H

/* A block of a tar: ustar header (POSIX.1-1988). Numbers are octal text. */
#define BLOCK 512
struct header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100], magic[6], version[2], uname[32],
		gname[32], major[8], minor[8], prefix[155], pad[12];
};
_Static_assert(sizeof(struct header) == BLOCK, "a tar header is one block");

#endif
