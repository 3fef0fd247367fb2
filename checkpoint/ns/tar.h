/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NS_TAR_H
#define NS_TAR_H

#include <stdbool.h>

/* A directory tree as a tar (POSIX.1-2001, pax headers for long names) in a gzip file (RFC 1952) whose blocks are stored, not
 * compressed: any tar with gzip reads it. */

bool tar_is_empty(int dir);           /* nothing in the directory */
/* Writes the tree below dir (its own owner, mode and time first, as "./"), without crossing into other mounts. places: with an empty directory
 * or file for each of these. */
int tar_write(int dir, int out, bool places);
/* Unpacks into dir, never outside of it: no "..", no symbolic link is followed. What is there already stays where it is equal
 * and is replaced where it is not. */
int tar_read(int in, int dir);

#endif
