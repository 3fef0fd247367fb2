/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CPUINFO_H
#define CPUINFO_H

#include "image/stream.h"

/* caps: CK_CPU_ bits. 0, or -errno explained. */
int cpuinfo_write(struct image_dir *images);
int cpuinfo_check(struct image_dir *images, unsigned caps);

#endif
