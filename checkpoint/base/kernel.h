/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_KERNEL_H
#define BASE_KERNEL_H

#include <stdbool.h>

/* What the running kernel can do, asked when it is first needed and remembered for the process: nothing is probed at start-up.
 * A probe is a few system calls on the caller itself, without children (but the last ones); what it needs a privilege for counts as absent without. */
enum kernel_feature {
	KERNEL_PAGEMAP_SCAN,              /* ioctl PAGEMAP_SCAN (6.7) */
	KERNEL_PAGEMAP_SCAN_GUARD,        /* … which reports guard pages (6.15) */
	KERNEL_SOFT_DIRTY,                /* /proc/PID/clear_refs and bit 55 of pagemap (CONFIG_MEM_SOFT_DIRTY) */
	KERNEL_MEM_TRACK,                 /* soft-dirty, or asynchronous write protection with PAGEMAP_SCAN */
	KERNEL_PROCMAP_QUERY,             /* ioctl PROCMAP_QUERY (6.11) */
	KERNEL_UFFD,                      /* userfaultfd() for the caller */
	KERNEL_UFFD_NONCOOP,              /* … with events for fork, remap, unmap, remove (4.11) */
	KERNEL_UFFD_WP_ASYNC,             /* … with asynchronous write protection (6.7) */
	KERNEL_UFFD_MOVE,                 /* ioctl UFFDIO_MOVE (6.8) */
	KERNEL_DEV_UFFD,                  /* /dev/userfaultfd (6.1) */
	KERNEL_PIDFD_GETFD,               /* pidfd_open() and pidfd_getfd() (5.6) */
	KERNEL_CLONE3_SET_TID,            /* (5.5) */
	KERNEL_TIMER_RESTORE_IDS,         /* prctl PR_TIMER_CREATE_RESTORE_IDS (6.16) */
	KERNEL_RSEQ_CONF,                 /* ptrace PTRACE_GET_RSEQ_CONFIGURATION (5.13) */
	KERNEL_OPENAT2,                   /* (5.6) */
	KERNEL_STATMOUNT,                 /* statmount() and listmount() (6.8) */
	KERNEL_MOUNT_SETATTR,             /* (5.12) */
	KERNEL_MOVE_MOUNT_SET_GROUP,      /* (5.15) */
	KERNEL_MAP_VDSO,                  /* arch_prctl ARCH_MAP_VDSO_64 */
	KERNEL_CHECKPOINT_RESTORE,        /* CONFIG_CHECKPOINT_RESTORE, by PR_SET_MM_MAP_SIZE */
	KERNEL_KCMP,                      /* (CONFIG_KCMP) */
	KERNEL_KCMP_EPOLL,                /* kcmp of an epoll's targets (4.13) */
	KERNEL_SECCOMP_SUSPEND,           /* PTRACE_O_SUSPEND_SECCOMP */
	KERNEL_SECCOMP_FILTERS,           /* PTRACE_SECCOMP_GET_FILTER */
	KERNEL_USERNS,
	KERNEL_CGROUPNS,
	KERNEL_TIMENS,
	KERNEL_NS_PID,                    /* NSpid in /proc/PID/status (4.1) */
	KERNEL_MNT_ID,                    /* mnt_id in fdinfo (3.15) */
	KERNEL_FDINFO_LOCK,               /* locks in fdinfo (4.1) */
	KERNEL_TIMERFD,                   /* ioctl TFD_IOC_SET_TICKS (3.17) */
	KERNEL_TUN,
	KERNEL_LOGINUID,
	KERNEL_SK_NS,                     /* ioctl SIOCGSKNS (4.10) */
	KERNEL_SK_UNIX_FILE,              /* ioctl SIOCUNIXFILE (4.13) */
	KERNEL_NET_DIAG_RAW,              /* sock_diag of raw sockets (4.10) */
	KERNEL_SOCKOPT_BUF_LOCK,          /* SO_BUF_LOCK (5.14) */
	KERNEL_IPV6_FREEBIND,             /* (4.15) */
	KERNEL_MEMFD_HUGETLB,             /* (4.14) */
	/* What only `check` asks for; these may fork: */
	KERNEL_AIO_REMAP,                 /* mremap() of a ring moves its context along (3.19) */
	KERNEL_TUN_NS,                    /* ioctl SIOCGSKNS of a tun device (5.3) */
	KERNEL_AUTOFS,                    /* pipe_ino among an autofs mount's options (4.15) */
	KERNEL_TCP_HALF_CLOSED,           /* TCP_REPAIR of a socket that was shut down (4.7) */
	KERNEL_COMPAT,                    /* no: torpor refuses 32-bit tasks */
	KERNEL_NSID,                      /* RTM_GETNSID (4.0) */
	KERNEL_LINK_NSID,                 /* IFLA_TARGET_NETNSID (4.15) */
	KERNEL_EXTERNAL_NETNS,            /* yes: torpor's own work */
	KERNEL_NEWIFINDEX,                /* RTM_NEWLINK with an index (3.7) */
	KERNEL_NFT_PROGRAM,               /* nft is in PATH */
	KERNEL_LEGACY_IPTABLES,           /* iptables-legacy-save and -restore are in PATH */
	KERNEL_NFTABLES,                  /* nf_tables answers */
	KERNEL_APPARMOR_STACKING,
	KERNEL_OVERLAYFS_MAPS,            /* /proc/PID/maps tells the overlayfs, not what is below it (6.8) */
	KERNEL_BREAKPOINTS,               /* PTRACE_POKEUSER of debug registers */
	KERNEL_FEATURES,
};

bool kernel_has(enum kernel_feature f);
/* The name that users know (those of CRIU's `check --feature` where it has one), and what the feature is. */
const char *kernel_feature_name(enum kernel_feature f);
const char *kernel_feature_help(enum kernel_feature f);
/* By name; KERNEL_FEATURES for an unknown one. */
enum kernel_feature kernel_feature_find(const char *name);

/* What is mounted at /sys/fs/cgroup: v1 controllers, v1 controllers beside a cgroup2 at …/unified, cgroup2 alone. */
enum kernel_cgroup { KERNEL_CGROUP_NONE, KERNEL_CGROUP_V1, KERNEL_CGROUP_HYBRID, KERNEL_CGROUP_V2 };
enum kernel_cgroup kernel_cgroup_layout(void);

#endif
