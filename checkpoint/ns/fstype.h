/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NS_FSTYPE_H
#define NS_FSTYPE_H

#include <stdbool.h>
#include <stdint.h>

/* Filesystems by the numbers of the image format. A number that can be mounted again from its options alone. */
uint32_t fstype_number(const char *name);   /* 0 (UNSUPPORTED): no such */
const char *fstype_name(uint32_t number);   /* NULL: it cannot be mounted again */

/* Is a name in a list of "NAME,…" or "all" (--enable-fs)? */
bool fstype_listed(const char *const *list, const char *name);

/* mount(2)'s flags of the words of a mount's or superblock's options, as CRIU writes them; and the other way, as attributes. */
uint32_t mount_flags(const char *options);
uint32_t superblock_flags(const char *options);
uint64_t mount_attributes(uint32_t flags);
/* The superblock's options without the flags. In place; returns options. */
char *superblock_options(char *options);

/* A new mount of a filesystem, attached nowhere. source, options: as in mountinfo (unescaped). */
int fstype_mount(const char *name, const char *source, const char *options, bool read_only);

#endif
