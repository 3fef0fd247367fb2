/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LAZY_H
#define LAZY_H

#include "restore.h"

/* Starts a pager of this restore's own, when its images have been checked: a process that outlives it. */
int lazy_start(struct restore *r);

#endif
