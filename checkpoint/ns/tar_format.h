/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NS_TAR_FORMAT_H
#define NS_TAR_FORMAT_H

#include "base/str.h"

/* A block of a tar: ustar header (POSIX.1-1988). Numbers are octal text. */
#define BLOCK 512
struct header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100], magic[6], version[2], uname[32],
		gname[32], major[8], minor[8], prefix[155], pad[12];
};
_Static_assert(sizeof(struct header) == BLOCK, "a tar header is one block");

/* --- tar_xattr.c --- */

#define XATTR_KEY "SCHILY.xattr."

/* The records of a pax header: "LEN KEY=VALUE\n", LEN counting itself. */
struct pax {
	ARRAY(char) text;
};
void pax_add(struct pax *p, const char *key, const void *value, size_t size);
/* Records of the extended attributes of a name in a directory. */
int xattrs_collect(struct pax *p, int dir, const char *name);

struct xattr {
	char *name, *value;
	size_t size;
};
struct xattrs {
	ARRAY(struct xattr) list;
};
void xattrs_add(struct xattrs *x, const char *record, size_t size);   /* "KEY=VALUE", with XATTR_KEY */
void xattrs_clear(struct xattrs *x);
int xattrs_apply(const struct xattrs *x, int dir, const char *name, const char *path);

#endif
