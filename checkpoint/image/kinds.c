/* SPDX-License-Identifier: Apache-2.0 */
/* The table of image files: CRIU's names, magics and messages (image version 2, "v1.1"). */
#include "image/kinds.h"

#include "cgroup.pb-c.h"
#include "core.pb-c.h"
#include "cpuinfo.pb-c.h"
#include "fdinfo.pb-c.h"
#include "file-lock.pb-c.h"
#include "fs.pb-c.h"
#include "ghost-file.pb-c.h"
#include "inventory.pb-c.h"
#include "ipc-msg.pb-c.h"
#include "ipc-sem.pb-c.h"
#include "ipc-shm.pb-c.h"
#include "ipc-var.pb-c.h"
#include "memfd.pb-c.h"
#include "mm.pb-c.h"
#include "mnt.pb-c.h"
#include "netdev.pb-c.h"
#include "pagemap.pb-c.h"
#include "pidns.pb-c.h"
#include "pipe-data.pb-c.h"
#include "pstree.pb-c.h"
#include "remap-file-path.pb-c.h"
#include "seccomp.pb-c.h"
#include "sk-packet.pb-c.h"
#include "stats.pb-c.h"
#include "tcp-stream.pb-c.h"
#include "timens.pb-c.h"
#include "tty.pb-c.h"
#include "userns.pb-c.h"
#include "utsns.pb-c.h"

const struct image_kind_row image_kinds[IMG_KINDS] = {
	[IMG_INVENTORY] = { "inventory.img", 0x58313116, .no_head = true, .message = &inventory_entry__descriptor },
	[IMG_PSTREE] = { "pstree.img", 0x50273030, .message = &pstree_entry__descriptor },
	[IMG_CORE] = { "core-%lu.img", 0x55053847, .message = &core_entry__descriptor },
	[IMG_IDS] = { "ids-%lu.img", 0x54432030, .message = &task_kobj_ids_entry__descriptor },
	[IMG_MM] = { "mm-%lu.img", 0x57492820, .message = &mm_entry__descriptor },
	[IMG_FS] = { "fs-%lu.img", 0x51403912, .message = &fs_entry__descriptor },
	[IMG_FDINFO] = { "fdinfo-%lu.img", 0x56213732, .message = &fdinfo_entry__descriptor },
	[IMG_PAGEMAP] = { "pagemap-%lu.img", 0x56084025, .message = &pagemap_entry__descriptor },
	[IMG_SENT] = { "sent-pagemap-%lu.img", 0x56084025, .message = &pagemap_entry__descriptor },
	[IMG_PAGEMAP_SHMEM] = { "pagemap-shmem-%lu.img", 0x56084025, .message = &pagemap_entry__descriptor },
	[IMG_FILES] = { "files.img", 0x56303138, .message = &file_entry__descriptor },
	[IMG_SK_QUEUES] = { "sk-queues.img", 0x56264026, .message = &sk_packet_entry__descriptor },
	[IMG_TCP_STREAM] = { "tcp-stream-%lx.img", 0x51465506, .message = &tcp_stream_entry__descriptor },
	[IMG_PIPES_DATA] = { "pipes-data.img", 0x56453709, .message = &pipe_data_entry__descriptor },
	[IMG_FIFO_DATA] = { "fifo-data.img", 0x59333054, .message = &pipe_data_entry__descriptor },
	[IMG_REMAP_FPATH] = { "remap-fpath.img", 0x59133954, .message = &remap_file_path_entry__descriptor },
	[IMG_GHOST_FILE] = { "ghost-file-%lx.img", 0x52583605, .message = &ghost_file_entry__descriptor },
	[IMG_CGROUP] = { "cgroup.img", 0x59383330, .message = &cgroup_entry__descriptor },
	[IMG_FILELOCKS] = { "filelocks.img", 0x54323616, .message = &file_lock_entry__descriptor },
	[IMG_SECCOMP] = { "seccomp.img", 0x64413049, .message = &seccomp_entry__descriptor },
	[IMG_UTSNS] = { "utsns-%lu.img", 0x54473203, .message = &utsns_entry__descriptor },
	[IMG_IPCNS_VAR] = { "ipcns-var-%lu.img", 0x53115007, .message = &ipc_var_entry__descriptor },
	[IMG_IPCNS_SHM] = { "ipcns-shm-%lu.img", 0x46283044, .message = &ipc_shm_entry__descriptor },
	[IMG_IPCNS_MSG] = { "ipcns-msg-%lu.img", 0x55453737, .message = &ipc_msg_entry__descriptor },
	[IMG_IPCNS_SEM] = { "ipcns-sem-%lu.img", 0x59573019, .message = &ipc_sem_entry__descriptor },
	[IMG_MOUNTPOINTS] = { "mountpoints-%lu.img", 0x55563928, .message = &mnt_entry__descriptor },
	[IMG_USERNS] = { "userns-%lu.img", 0x55474906, .message = &userns_entry__descriptor },
	[IMG_TIMENS] = { "timens-%lu.img", 0x43114433, .message = &timens_entry__descriptor },
	[IMG_PIDNS] = { "pidns-%lu.img", 0x61157326, .message = &pidns_entry__descriptor },
	[IMG_NETNS] = { "netns-%lu.img", 0x55933752, .message = &netns_entry__descriptor },
	[IMG_NETDEV] = { "netdev-%lu.img", 0x57373951, .message = &net_device_entry__descriptor },
	[IMG_TTY_INFO] = { "tty-info.img", 0x59453036, .message = &tty_info_entry__descriptor },
	[IMG_TTY_DATA] = { "tty-data.img", 0x59413026, .message = &tty_data_entry__descriptor },
	[IMG_MEMFD] = { "memfd.img", 0x48453499, .message = &memfd_inode_entry__descriptor },
	[IMG_CPUINFO] = { "cpuinfo.img", 0x61404013, .message = &cpuinfo_entry__descriptor },
	[IMG_STATS_DUMP] = { "stats-dump", 0x57093306, .service = true, .message = &stats_entry__descriptor },
	[IMG_STATS_RESTORE] = { "stats-restore", 0x57093306, .service = true, .message = &stats_entry__descriptor },
};
