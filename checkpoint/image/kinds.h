/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_KINDS_H
#define IMAGE_KINDS_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

/* Every image file that torpor writes or reads: CRIU's names, magics and messages. The order is the table's (kinds.c). */
enum image_kind {
	IMG_INVENTORY, IMG_PSTREE, IMG_CORE, IMG_IDS, IMG_MM, IMG_FS, IMG_FDINFO, IMG_PAGEMAP, IMG_PAGEMAP_SHMEM, IMG_SENT, IMG_FILES,
	IMG_SK_QUEUES, IMG_TCP_STREAM, IMG_PIPES_DATA, IMG_FIFO_DATA, IMG_REMAP_FPATH, IMG_GHOST_FILE, IMG_CGROUP, IMG_FILELOCKS, IMG_SECCOMP,
	IMG_UTSNS, IMG_IPCNS_VAR, IMG_IPCNS_SHM, IMG_IPCNS_MSG, IMG_IPCNS_SEM, IMG_MOUNTPOINTS, IMG_USERNS, IMG_TIMENS,
	IMG_PIDNS, IMG_NETNS, IMG_NETDEV, IMG_TTY_INFO, IMG_TTY_DATA, IMG_MEMFD, IMG_CPUINFO, IMG_STATS_DUMP, IMG_STATS_RESTORE,
	IMG_KINDS
};

struct image_kind_row {
	const char *pattern;   /* file name with its suffix; at most one %lu or %lx, which takes the id */
	uint32_t magic;
	bool no_head;          /* the type magic alone (inventory) */
	bool service;          /* service head magic; lives in the work directory */
	const ProtobufCMessageDescriptor *message;   /* of every entry */
};
extern const struct image_kind_row image_kinds[IMG_KINDS];

#define IMAGE_MAGIC_COMMON 0x54564319u
#define IMAGE_MAGIC_SERVICE 0x55105940u
#define IMAGE_ENTRY_MAX (64u << 20)   /* an entry longer than this is refused as corrupt */

#endif
