/* SPDX-License-Identifier: Apache-2.0 */
/* Probes of the kernel that need more than a call on oneself: a mount, a network device, a traced child, a connection. Each is tried by a child
 * in namespaces of its own where it would leave something otherwise; without the privilege for those the answer is no.
 *
 * `check --feature` asks for them, a dump or restore does not: they may take milliseconds. */
#include "base/kernel_probes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/if_link.h>
#include <linux/inet_diag.h>
#include <linux/net_namespace.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/netlink.h"
#include "base/str.h"

#define OPT_BUF_LOCK 72
#define OPT_IPV6_FREEBIND 78
#define IOCTL_SIOCGSKNS 0x894C
#define IOCTL_SIOCUNIXFILE (SIOCPROTOPRIVATE + 0)
#define LINK_TARGET_NETNSID 46   /* IFLA_TARGET_NETNSID */
#define NO_NETNSID 0x7ffffff0
#define CHOSEN_INDEX 4711

/* The answer of a child that has these new namespaces and may do with them what it likes. */
static bool in_child(int flags, bool (*probe)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		bool ready = unshare(flags) == 0 && (!(flags & CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
		_exit(ready && probe() ? 0 : 1);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return false;
	return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* --- memory --------------------------------------------------------------------------------------------------------------- */

/* The ring's address is the context's number: once it has been moved, the new address is one. */
bool probe_aio_remap(void)
{
	aio_context_t context = 0;
	size_t size = (size_t)sysconf(_SC_PAGESIZE);

	if (syscall(SYS_io_setup, 1, &context) < 0)
		return false;
	void *place = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *moved = place == MAP_FAILED ? place
					  : mremap((void *)(uintptr_t)context, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, place);
	bool is_one = moved != MAP_FAILED && syscall(SYS_io_getevents, (aio_context_t)(uintptr_t)moved, 0L, 1L, NULL, NULL) == 0;
	syscall(SYS_io_destroy, is_one ? (aio_context_t)(uintptr_t)moved : context);
	if (!is_one && place != MAP_FAILED)
		munmap(place, size);
	return is_one;
}

/* The device and inode of the mapping at `page` in the list of maps. */
static bool mapped_as(const void *page, dev_t *dev, ino_t *ino)
{
	autofree char *text = NULL;
	unsigned long start, end, inode;
	unsigned major, minor;

	if (file_read(AT_FDCWD, "/proc/self/maps", &text, 1 << 20) <= 0)
		return false;
	for (char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		if (sscanf(line, "%lx-%lx %*s %*x %x:%x %lu", &start, &end, &major, &minor, &inode) != 5 || start != (uintptr_t)page)
			continue;
		*dev = makedev(major, minor);
		*ino = inode;
		return true;
	}
	return false;
}

static bool overlay_is_told(void)
{
	struct stat st;
	dev_t dev;
	ino_t ino;

	if (mount("none", "/tmp", "tmpfs", 0, NULL) < 0 || chdir("/tmp") < 0 || mkdir("low", 0700) < 0 || mkdir("up", 0700) < 0 ||
	    mkdir("work", 0700) < 0 || mkdir("all", 0700) < 0)
		return false;
	autoclose int low = open("low/file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (low < 0 || ftruncate(low, 1) < 0 || mount("none", "all", "overlay", 0, "lowerdir=low,upperdir=up,workdir=work") < 0)
		return false;
	autoclose int fd = open("all/file", O_RDONLY | O_CLOEXEC);
	void *page = fd < 0 ? MAP_FAILED : mmap(NULL, 1, PROT_READ, MAP_PRIVATE, fd, 0);
	return page != MAP_FAILED && fstat(fd, &st) == 0 && mapped_as(page, &dev, &ino) && dev == st.st_dev && ino == st.st_ino;
}

bool probe_overlayfs_maps(void)
{
	return in_child(CLONE_NEWNS, overlay_is_told);
}

/* --- processes ------------------------------------------------------------------------------------------------------------ */

bool probe_breakpoints(void)
{
#ifdef __x86_64__
	const unsigned long enable_first = 1;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		_exit(0);
	}
	if (pid < 0)
		return false;
	bool works = waitpid(pid, &status, 0) == pid && WIFSTOPPED(status) &&
		     ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[0]), (uintptr_t)probe_breakpoints) == 0 &&
		     ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[7]), enable_first) == 0;
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return works;
#else
	return false;
#endif
}

bool probe_apparmor_stacking(void)
{
	autofree char *text = NULL;
	ssize_t n = file_read(AT_FDCWD, "/sys/kernel/security/apparmor/features/domain/stack", &text, 16);

	return n > 0 && str_starts(text, "yes");
}

/* --- programs that others have ----------------------------------------------------------------------------------------------- */

static bool in_path(const char *program)
{
	const char *path = getenv("PATH");
	autofree char *copy = str_dup(path ? path : "/usr/sbin:/usr/bin:/sbin:/bin");
	char *save;

	for (char *dir = strtok_r(copy, ":", &save); dir; dir = strtok_r(NULL, ":", &save)) {
		autofree char *file = str_printf("%s/%s", dir, program);
		if (access(file, X_OK) == 0)
			return true;
	}
	return false;
}

bool probe_nft_program(void)
{
	return in_path("nft");
}

bool probe_legacy_iptables(void)
{
	return in_path("iptables-legacy-save") && in_path("iptables-legacy-restore");
}

/* --- mounts --------------------------------------------------------------------------------------------------------------- */

static bool autofs_is_told(void)
{
	autofree char *text = NULL;
	char options[64];
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return false;
	snprintf(options, sizeof options, "fd=%d,pgrp=%d,minproto=5,maxproto=5,direct", ends[1], getpgrp());
	if (mount("probe", "/tmp", "autofs", 0, options) < 0 || file_read(AT_FDCWD, "/proc/self/mountinfo", &text, 1 << 20) <= 0)
		return false;
	return strstr(text, "pipe_ino=") != NULL;
}

bool probe_autofs(void)
{
	return in_child(CLONE_NEWNS, autofs_is_told);
}

/* --- network -------------------------------------------------------------------------------------------------------------- */

bool probe_tun_ns(void)
{
	autoclose int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	autoclose int ns = fd < 0 ? -1 : ioctl(fd, IOCTL_SIOCGSKNS);

	return ns >= 0;
}

/* A connection of which this end has said its last word. */
bool probe_tcp_half_closed(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	autoclose int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const int on = 1, off = -1;   /* off without a packet */

	if (server < 0 || client < 0 || bind(server, (struct sockaddr *)&at, sizeof at) < 0 || listen(server, 1) < 0 ||
	    getsockname(server, (struct sockaddr *)&at, &(socklen_t){ sizeof at }) < 0 || connect(client, (struct sockaddr *)&at, sizeof at) < 0)
		return false;
	if (shutdown(client, SHUT_WR) < 0 || setsockopt(client, IPPROTO_TCP, TCP_REPAIR, &on, sizeof on) < 0)
		return false;
	setsockopt(client, IPPROTO_TCP, TCP_REPAIR, &off, sizeof off);
	return true;
}

static int take_nsid(const struct nlmsghdr *m, void *arg)
{
	const struct nlattr *table[NETNSA_MAX + 1];
	bool *told = arg;

	if (m->nlmsg_type == RTM_NEWNSID && netlink_attributes(m, sizeof(struct rtgenmsg), table, NETNSA_MAX + 1) == 0)
		*told |= table[NETNSA_NSID] != NULL;
	return 0;
}

bool probe_nsid(void)
{
	autonetlink struct netlink nl = NETLINK_CLOSED;
	autoclose int ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	struct rtgenmsg header = { .rtgen_family = AF_UNSPEC };
	bool told = false;

	if (ns < 0 || netlink_open(&nl, NETLINK_ROUTE, -1) < 0)
		return false;
	netlink_begin(&nl, RTM_GETNSID, 0, &header, sizeof header);
	netlink_put_u32(&nl, NETNSA_FD, (uint32_t)ns);
	return netlink_request(&nl, take_nsid, &told) == 0 && told;
}

/* Who does not know the attribute answers with this namespace's device. */
bool probe_link_nsid(void)
{
	autonetlink struct netlink nl = NETLINK_CLOSED;
	struct ifinfomsg header = { .ifi_family = AF_UNSPEC, .ifi_index = 1 };

	if (netlink_open(&nl, NETLINK_ROUTE, -1) < 0)
		return false;
	netlink_begin(&nl, RTM_GETLINK, 0, &header, sizeof header);
	netlink_put_u32(&nl, LINK_TARGET_NETNSID, NO_NETNSID);
	return netlink_request(&nl, NULL, NULL) < 0;
}

static bool make_link(const char *kind)
{
	autonetlink struct netlink nl = NETLINK_CLOSED;
	struct ifinfomsg header = { .ifi_family = AF_UNSPEC, .ifi_index = CHOSEN_INDEX };

	if (netlink_open(&nl, NETLINK_ROUTE, -1) < 0)
		return false;
	netlink_begin(&nl, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &header, sizeof header);
	netlink_put_string(&nl, IFLA_IFNAME, "probe0");
	struct nlattr *info = netlink_nest(&nl, IFLA_LINKINFO);
	netlink_put_string(&nl, IFLA_INFO_KIND, kind);
	netlink_nest_end(&nl, info);
	return netlink_request(&nl, NULL, NULL) == 0 && if_nametoindex("probe0") == CHOSEN_INDEX;
}

static bool index_is_kept(void)
{
	static const char *const kinds[] = { "dummy", "veth", "bridge", "ifb" };

	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (make_link(kinds[i]))
			return true;
	return false;
}

bool probe_newifindex(void)
{
	return in_child(CLONE_NEWNET, index_is_kept);
}

bool probe_nftables(void)
{
	autonetlink struct netlink nl = NETLINK_CLOSED;
	struct nfgenmsg header = { .version = NFNETLINK_V0 };

	if (netlink_open(&nl, NETLINK_NETFILTER, -1) < 0)
		return false;
	netlink_begin(&nl, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN, 0, &header, sizeof header);
	return netlink_request(&nl, NULL, NULL) == 0;
}

/* --- sockets ------------------------------------------------------------------------------------------------------------- */

bool probe_sk_ns(void)
{
	autoclose int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	autoclose int ns = fd < 0 ? -1 : ioctl(fd, IOCTL_SIOCGSKNS);
	return ns >= 0;
}

bool probe_sk_unix_file(void)
{
	autoclose int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return fd >= 0 && ioctl(fd, IOCTL_SIOCUNIXFILE) < 0 && errno == ENOENT;   /* it has no name */
}

bool probe_net_diag_raw(void)
{
	autonetlink struct netlink nl = NETLINK_CLOSED;
	struct inet_diag_req_v2 request = { .sdiag_family = AF_INET, .sdiag_protocol = IPPROTO_RAW };

	if (netlink_open(&nl, NETLINK_SOCK_DIAG, -1) < 0)
		return false;
	netlink_begin(&nl, SOCK_DIAG_BY_FAMILY, 0, &request, sizeof request);
	return netlink_dump(&nl, NULL, NULL) == 0;
}

bool probe_sockopt_buf_lock(void)
{
	autoclose int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int value;
	socklen_t size = sizeof value;
	return fd >= 0 && getsockopt(fd, SOL_SOCKET, OPT_BUF_LOCK, &value, &size) == 0;
}

bool probe_ipv6_freebind(void)
{
	autoclose int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int on = 1;
	return fd >= 0 && setsockopt(fd, IPPROTO_IPV6, OPT_IPV6_FREEBIND, &on, sizeof on) == 0;
}
