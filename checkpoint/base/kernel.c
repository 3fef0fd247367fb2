/* SPDX-License-Identifier: Apache-2.0 */
/* Probes of the running kernel, one function and one row each.
 *
 * A probe asks for the thing itself, with arguments that are refused only by a kernel that knows it (a bad pointer, EFAULT; a bad
 * descriptor, EBADF; a missing object, ENOENT), or looks for the line in /proc. Version numbers say little of a distributor's kernel:
 * only what cannot be asked without a traced child goes by version (KERNEL_RSEQ_CONF).
 *
 * Answers are remembered in `cache`. Two threads that ask at once both probe and store the same answer, so that it needs no lock.
 *
 * Constants that are newer than the oldest supported headers (Debian 12, Linux 6.1) are spelled out here. */
#include "base/kernel.h"

#include <asm/prctl.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <linux/memfd.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/kernel_probes.h"
#include "base/proc.h"
#include "base/str.h"

#define NR_STATMOUNT 457
#define PR_TIMER_CREATE_RESTORE_IDS_GET 2
#ifndef PR_TIMER_CREATE_RESTORE_IDS
#define PR_TIMER_CREATE_RESTORE_IDS 77
#endif
#define IOCTL_PAGEMAP_SCAN _IOC(_IOC_READ | _IOC_WRITE, 'f', 16, 96)
#define IOCTL_PROCMAP_QUERY _IOC(_IOC_READ | _IOC_WRITE, 'f', 17, 104)
#define CATEGORY_PRESENT (1u << 3)
#define CATEGORY_GUARD (1u << 8)
#define FEATURE_WP_UNPOPULATED (1u << 13)
#define FEATURE_WP_ASYNC (1u << 15)
#define FEATURE_MOVE (1u << 16)
#define IOCTL_TFD_SET_TICKS _IOW('T', 0, uint64_t)
#define FLAG_MOVE_MOUNT_SET_GROUP 0x100
#define CGROUP2_MAGIC 0x63677270
#define SIZE_PAGE ((size_t)sysconf(_SC_PAGESIZE))

/* -- memory ------------------------------------------------------------------------------------------------------------------ */

/* struct pm_scan_arg of <linux/fs.h> since 6.7. */
struct scan {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages, inverted, mask, anyof, returned;
};

static bool scan(uint64_t category)
{
	autoclose int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t page = (uintptr_t)&fd & ~(SIZE_PAGE - 1);
	struct scan s = { .size = sizeof s, .start = page, .end = page + SIZE_PAGE, .mask = category, .returned = category };

	_Static_assert(sizeof s == 96, "the ioctl's number has the size in it");
	return fd >= 0 && ioctl(fd, IOCTL_PAGEMAP_SCAN, &s) >= 0;
}

static bool pagemap_scan(void)
{
	return scan(CATEGORY_PRESENT);
}

static bool pagemap_scan_guard(void)
{
	return scan(CATEGORY_GUARD);
}

/* A page that was just written for the first time is soft-dirty wherever there is such a thing. */
static bool soft_dirty(void)
{
	autoclose int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	char *page = mmap(NULL, SIZE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t entry = 0;

	if (page == MAP_FAILED)
		return false;
	*(volatile char *)page = 1;
	bool got = fd >= 0 && fd_pread_all(fd, &entry, sizeof entry, (uintptr_t)page / SIZE_PAGE * sizeof entry) == 0;
	munmap(page, SIZE_PAGE);
	return got && (entry >> 55 & 1);
}

/* struct procmap_query of <linux/fs.h> since 6.11. */
struct query {
	uint64_t size, flags, addr, start, end, vma_flags, page_size, offset, inode;
	uint32_t major, minor, name_size, build_id_size;
	uint64_t name, build_id;
};

static bool procmap_query(void)
{
	autoclose int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	struct query q = { .size = sizeof q, .addr = (uintptr_t)&q };

	_Static_assert(sizeof q == 104, "the ioctl's number has the size in it");
	return fd >= 0 && ioctl(fd, IOCTL_PROCMAP_QUERY, &q) == 0;
}

static uint64_t uffd_features(void)
{
	autoclose int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	struct uffdio_api api = { .api = UFFD_API };

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0)
		return 0;
	return api.features | UINT64_C(1) << 63;
}

static bool uffd_has(uint64_t features)
{
	features |= UINT64_C(1) << 63;
	return (uffd_features() & features) == features;
}

static bool uffd(void)
{
	return uffd_has(0);
}

static bool uffd_noncoop(void)
{
	return uffd_has(UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_UNMAP | UFFD_FEATURE_EVENT_REMOVE);
}

static bool uffd_wp_async(void)
{
	return uffd_has(FEATURE_WP_ASYNC | FEATURE_WP_UNPOPULATED);
}

static bool uffd_move(void)
{
	return uffd_has(FEATURE_MOVE);
}

static bool mem_track(void)
{
	return kernel_has(KERNEL_SOFT_DIRTY) || (kernel_has(KERNEL_UFFD_WP_ASYNC) && kernel_has(KERNEL_PAGEMAP_SCAN));
}

static bool can_open(const char *path, int flags)
{
	autoclose int fd = open(path, flags | O_CLOEXEC);
	return fd >= 0;
}

static bool dev_uffd(void)
{
	return can_open("/dev/userfaultfd", O_RDWR);
}

static bool memfd_hugetlb(void)
{
	autoclose int fd = memfd_create("probe", MFD_CLOEXEC | MFD_HUGETLB);
	return fd >= 0;
}

/* -- processes --------------------------------------------------------------------------------------------------------------- */

static bool pidfd_getfd_(void)
{
	autoclose int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	autoclose int copy = fd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, fd, fd, 0);
	return copy >= 0;
}

/* A kernel that knows set_tid tries to read the list. */
static bool clone3_set_tid(void)
{
	struct clone_args args = { .exit_signal = SIGCHLD, .set_tid = UINT64_MAX, .set_tid_size = 1 };
	return syscall(SYS_clone3, &args, sizeof args) < 0 && errno == EFAULT;
}

static bool timer_restore_ids(void)
{
	return prctl(PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_GET, 0, 0, 0) >= 0;
}

/* The kernel looks at the request only for a traced, stopped task: 5.13 has it wherever it has rseq. */
static bool rseq_conf(void)
{
	struct utsname name;
	unsigned major = 0, minor = 0;

	uname(&name);
	if (sscanf(name.release, "%u.%u", &major, &minor) != 2 || major < 5 || (major == 5 && minor < 13))
		return false;
	return syscall(SYS_rseq, NULL, 0, 0, 0) < 0 && errno != ENOSYS;
}

static bool map_vdso(void)
{
#ifdef ARCH_MAP_VDSO_64
	return syscall(SYS_arch_prctl, ARCH_MAP_VDSO_64, 0) < 0 && errno == EEXIST;   /* there can be only one */
#else
	return false;
#endif
}

static bool checkpoint_restore(void)
{
	unsigned size = 0;
	return prctl(PR_SET_MM, PR_SET_MM_MAP_SIZE, &size, 0, 0) == 0 && size;
}

static bool kcmp_fails_with(int type, unsigned long a, unsigned long b, int error)
{
	return syscall(SYS_kcmp, getpid(), getpid(), type, a, b) < 0 && errno == error;
}

static bool kcmp(void)
{
	return kcmp_fails_with(KCMP_FILE, UINT32_MAX, UINT32_MAX, EBADF);
}

static bool kcmp_epoll(void)
{
	return kcmp_fails_with(KCMP_EPOLL_TFD, UINT32_MAX, 0, EFAULT);
}

static bool seccomp_filters(void)
{
	uint32_t action = SECCOMP_RET_KILL_THREAD;
	return kernel_has(KERNEL_CHECKPOINT_RESTORE) && syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

static bool seccomp_suspend(void)
{
	return kernel_has(KERNEL_CHECKPOINT_RESTORE) && prctl(PR_GET_SECCOMP) >= 0;
}

/* -- namespaces and /proc ---------------------------------------------------------------------------------------------------- */

static bool userns(void)
{
	return access("/proc/self/ns/user", F_OK) == 0;
}

static bool cgroupns(void)
{
	return access("/proc/self/ns/cgroup", F_OK) == 0;
}

static bool timens(void)
{
	return access("/proc/self/ns/time_for_children", F_OK) == 0;
}

static bool loginuid(void)
{
	return can_open("/proc/self/loginuid", O_WRONLY);
}

static bool ns_pid(void)
{
	autofree char *text = NULL;
	return proc_read(getpid(), "status", &text) > 0 && proc_field(text, "NSpid");
}

static bool fdinfo_has(int fd, const char *key)
{
	char name[32];
	autofree char *text = NULL;

	snprintf(name, sizeof name, "fdinfo/%d", fd);
	return proc_read(getpid(), name, &text) > 0 && proc_field(text, key);
}

static bool mnt_id(void)
{
	autoclose int fd = open("/", O_PATH | O_CLOEXEC);
	return fd >= 0 && fdinfo_has(fd, "mnt_id");
}

static bool fdinfo_lock(void)
{
	autoclose int fd = memfd_create("probe", MFD_CLOEXEC);
	return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && fdinfo_has(fd, "lock");
}

/* -- files and mounts -------------------------------------------------------------------------------------------------------- */

static bool openat2_(void)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT };
	autoclose int fd = (int)syscall(SYS_openat2, AT_FDCWD, ".", &how, sizeof how);
	return fd >= 0;
}

static bool statmount(void)
{
	return syscall(NR_STATMOUNT, NULL, NULL, 0, 0) < 0 && errno != ENOSYS;
}

static bool mount_setattr_(void)
{
	return syscall(SYS_mount_setattr, -1, NULL, 0, NULL, 0) < 0 && errno != ENOSYS;
}

static bool move_mount_set_group(void)
{
	unsigned flags = FLAG_MOVE_MOUNT_SET_GROUP | MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
	return syscall(SYS_move_mount, -1, "", -1, "", flags) < 0 && errno == EBADF;
}

/* No ticks at all are refused, by those that know the request. */
static bool timerfd(void)
{
	autoclose int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	uint64_t ticks = 0;
	return fd >= 0 && ioctl(fd, IOCTL_TFD_SET_TICKS, &ticks) < 0 && errno == EINVAL;
}

static bool tun(void)
{
	return can_open("/dev/net/tun", O_RDWR);
}

/* -- torpor itself ----------------------------------------------------------------------------------------------------------- */

static bool always(void)
{
	return true;
}

static bool never(void)
{
	return false;
}

/* -- the table --------------------------------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	bool (*probe)(void);
	const char *help;
} features[KERNEL_FEATURES] = {
	[KERNEL_PAGEMAP_SCAN] = { "pagemap_scan", pagemap_scan, "finding a task's pages with PAGEMAP_SCAN" },
	[KERNEL_PAGEMAP_SCAN_GUARD] = { "pagemap_scan_guard_pages", pagemap_scan_guard, "guard pages in PAGEMAP_SCAN" },
	[KERNEL_SOFT_DIRTY] = { "soft_dirty", soft_dirty, "soft-dirty tracking of memory" },
	[KERNEL_MEM_TRACK] = { "mem_dirty_track", mem_track, "tracking of memory changes" },
	[KERNEL_PROCMAP_QUERY] = { "procmap_query", procmap_query, "binary queries of mappings" },
	[KERNEL_UFFD] = { "uffd", uffd, "userfaultfd" },
	[KERNEL_UFFD_NONCOOP] = { "uffd-noncoop", uffd_noncoop, "userfaultfd events for lazy restore" },
	[KERNEL_UFFD_WP_ASYNC] = { "uffd_wp_async", uffd_wp_async, "userfaultfd asynchronous write protection" },
	[KERNEL_UFFD_MOVE] = { "uffd_move", uffd_move, "userfaultfd moving pages" },
	[KERNEL_DEV_UFFD] = { "dev_userfaultfd", dev_uffd, "/dev/userfaultfd" },
	[KERNEL_PIDFD_GETFD] = { "pidfd_store", pidfd_getfd_, "pidfd_open and pidfd_getfd" },
	[KERNEL_CLONE3_SET_TID] = { "clone3_set_tid", clone3_set_tid, "clone3 with chosen pids" },
	[KERNEL_TIMER_RESTORE_IDS] = { "timer_cr_ids", timer_restore_ids, "POSIX timers with chosen ids" },
	[KERNEL_RSEQ_CONF] = { "get_rseq_conf", rseq_conf, "reading a task's rseq area" },
	[KERNEL_OPENAT2] = { "openat2", openat2_, "openat2" },
	[KERNEL_STATMOUNT] = { "statmount", statmount, "statmount and listmount" },
	[KERNEL_MOUNT_SETATTR] = { "mount_setattr", mount_setattr_, "mount_setattr" },
	[KERNEL_MOVE_MOUNT_SET_GROUP] = { "move_mount_set_group", move_mount_set_group, "moving a mount into a peer group" },
	[KERNEL_MAP_VDSO] = { "can_map_vdso", map_vdso, "mapping the vdso at a chosen address" },
	[KERNEL_CHECKPOINT_RESTORE] = { "checkpoint_restore", checkpoint_restore, "CONFIG_CHECKPOINT_RESTORE" },
	[KERNEL_KCMP] = { "kcmp", kcmp, "comparing tasks' resources" },
	[KERNEL_KCMP_EPOLL] = { "kcmp_epoll", kcmp_epoll, "comparing an epoll's targets" },
	[KERNEL_SECCOMP_SUSPEND] = { "seccomp_suspend", seccomp_suspend, "suspending a tracee's seccomp filters" },
	[KERNEL_SECCOMP_FILTERS] = { "seccomp_filters", seccomp_filters, "reading seccomp filters" },
	[KERNEL_USERNS] = { "userns", userns, "user namespaces" },
	[KERNEL_CGROUPNS] = { "cgroupns", cgroupns, "cgroup namespaces" },
	[KERNEL_TIMENS] = { "timens", timens, "time namespaces" },
	[KERNEL_NS_PID] = { "ns_pid", ns_pid, "pids of all levels in /proc/PID/status" },
	[KERNEL_MNT_ID] = { "mnt_id", mnt_id, "mount ids in fdinfo" },
	[KERNEL_FDINFO_LOCK] = { "fdinfo_lock", fdinfo_lock, "file locks in fdinfo" },
	[KERNEL_TIMERFD] = { "timerfd", timerfd, "setting a timerfd's ticks" },
	[KERNEL_TUN] = { "tun", tun, "tun devices" },
	[KERNEL_LOGINUID] = { "loginuid", loginuid, "writing loginuid" },
	[KERNEL_SK_NS] = { "sk_ns", probe_sk_ns, "the network namespace of a socket" },
	[KERNEL_SK_UNIX_FILE] = { "sk_unix_file", probe_sk_unix_file, "the file of a unix socket" },
	[KERNEL_NET_DIAG_RAW] = { "net_diag_raw", probe_net_diag_raw, "sock_diag of raw sockets" },
	[KERNEL_SOCKOPT_BUF_LOCK] = { "sockopt_buf_lock", probe_sockopt_buf_lock, "SO_BUF_LOCK" },
	[KERNEL_IPV6_FREEBIND] = { "ipv6_freebind", probe_ipv6_freebind, "IPV6_FREEBIND" },
	[KERNEL_MEMFD_HUGETLB] = { "memfd_hugetlb", memfd_hugetlb, "memfd on huge pages" },
	[KERNEL_AIO_REMAP] = { "aio_remap", probe_aio_remap, "moving a ring of asynchronous I/O" },
	[KERNEL_TUN_NS] = { "tun_ns", probe_tun_ns, "the network namespace of a tun device" },
	[KERNEL_AUTOFS] = { "autofs", probe_autofs, "the pipe of an autofs mount" },
	[KERNEL_TCP_HALF_CLOSED] = { "tcp_half_closed", probe_tcp_half_closed, "repair of TCP connections that are half closed" },
	[KERNEL_COMPAT] = { "compat_cr", never, "32-bit tasks (torpor does not save them)" },
	[KERNEL_NSID] = { "nsid", probe_nsid, "numbers of network namespaces" },
	[KERNEL_LINK_NSID] = { "link_nsid", probe_link_nsid, "network devices of a namespace by its number" },
	[KERNEL_EXTERNAL_NETNS] = { "external_net_ns", always, "a network namespace that is not saved" },
	[KERNEL_NEWIFINDEX] = { "newifindex", probe_newifindex, "network devices with chosen numbers" },
	[KERNEL_NFT_PROGRAM] = { "nftables", probe_nft_program, "the program nft, for rules in a network namespace" },
	[KERNEL_LEGACY_IPTABLES] = { "has_ipt_legacy", probe_legacy_iptables, "legacy iptables' programs" },
	[KERNEL_NFTABLES] = { "network_lock_nftables", probe_nftables, "locking the network with nftables" },
	[KERNEL_APPARMOR_STACKING] = { "apparmor_stacking", probe_apparmor_stacking, "AppArmor namespaces" },
	[KERNEL_OVERLAYFS_MAPS] = { "overlayfs_maps", probe_overlayfs_maps, "mappings of an overlayfs by its own device" },
	[KERNEL_BREAKPOINTS] = { "breakpoints", probe_breakpoints, "hardware breakpoints" },
};

bool kernel_has(enum kernel_feature f)
{
	static _Atomic signed char cache[KERNEL_FEATURES];   /* 0 unknown, 1 present, -1 absent */
	signed char known = atomic_load_explicit(&cache[f], memory_order_relaxed);

	if (!known) {
		int saved = errno;
		known = features[f].probe() ? 1 : -1;
		errno = saved;
		atomic_store_explicit(&cache[f], known, memory_order_relaxed);
	}
	return known > 0;
}

const char *kernel_feature_name(enum kernel_feature f)
{
	return features[f].name;
}

const char *kernel_feature_help(enum kernel_feature f)
{
	return features[f].help;
}

enum kernel_feature kernel_feature_find(const char *name)
{
	for (int f = 0; f < KERNEL_FEATURES; f++)
		if (strcmp(features[f].name, name) == 0)
			return f;
	return KERNEL_FEATURES;
}

static bool is_cgroup2(const char *path)
{
	struct statfs s;
	return statfs(path, &s) == 0 && s.f_type == CGROUP2_MAGIC;
}

enum kernel_cgroup kernel_cgroup_layout(void)
{
	static _Atomic int cache = -1;
	int layout = atomic_load_explicit(&cache, memory_order_relaxed);

	if (layout >= 0)
		return layout;
	if (is_cgroup2("/sys/fs/cgroup"))
		layout = KERNEL_CGROUP_V2;
	else if (is_cgroup2("/sys/fs/cgroup/unified"))
		layout = KERNEL_CGROUP_HYBRID;
	else
		layout = access("/sys/fs/cgroup/memory/cgroup.procs", F_OK) == 0 || access("/sys/fs/cgroup/pids/cgroup.procs", F_OK) == 0 ||
			access("/sys/fs/cgroup/cpu/cgroup.procs", F_OK) == 0 || access("/sys/fs/cgroup/systemd/cgroup.procs", F_OK) == 0;
	atomic_store_explicit(&cache, layout, memory_order_relaxed);
	return layout;
}
