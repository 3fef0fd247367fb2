/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NS_MOUNT_PLAN_H
#define NS_MOUNT_PLAN_H

#include "mnt.pb-c.h"
#include "ns/internal.h"

/* How the mounts of an image are made again: parents first; of one parent's, the deepest first. */
struct mount_node {
	const MntEntry *e;
	struct mount_node *parent;     /* NULL: the root */
	const char *place;             /* below the parent's own root, without slashes around it; "": onto it */
	const char *host;              /* a copy of what is at this path of the engine's namespace; NULL: see fstype */
	const char *fstype;            /* a mount of this, of which `part` is taken; NULL with host NULL: of `like` */
	const char *part;              /* below the root of host, fstype or like; "": all of it */
	const struct mount_node *like; /* another mount of the same superblock that is made from host or fstype */
	int fd, whole;                 /* while they are made: the mount; of fstype: one of the filesystem's own root */
	bool settled;                  /* its sharing groups are made */
};

struct mount_plan {
	struct mount_node *nodes;      /* in the order of making */
	size_t n;
};

/* Reads mountpoints-ID.img; explains what cannot be made. */
int mount_plan_make(struct restore *r, uint32_t id, struct mount_plan *plan);

/* Made when the terminals are open (mount_late.c). */
bool mount_is_late(const struct mount_node *n);
/* Gives n->fd the flags of its entry (mount_build.c). */
int mount_set_attributes(const struct mount_node *n);

#endif
