/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resources that an engine may not know: the argument chooses one. A dump must be refused, naming what DIR/names lists (the
 * kind, the pid, the descriptor's number or the address), and the program must run on unharmed: afterwards it uses the resource.
 * When an engine learns a kind, the kind gets a program of its own and leaves this table.
 */
#include "cr.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <linux/netlink.h>
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define FD 77 /* where the descriptor is, so that its number stands out */

static int second = -1;

static int open_memfd(void)
{
	int fd = memfd_create("torpor test", MFD_CLOEXEC | MFD_HUGETLB);

	if (fd < 0)
		cr_skip(": a memfd on huge pages: %s", strerror(errno));
	return fd;
}

static bool use_memfd(int fd)
{
	return ftruncate(fd, 2 << 20) == 0;
}

static int open_fanotify(void)
{
	int fd = fanotify_init(FAN_CLASS_NOTIF | FAN_NONBLOCK, O_RDONLY);

	if (fd < 0)
		cr_skip(": fanotify: %s", strerror(errno));
	need(fanotify_mark(fd, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_OPEN, AT_FDCWD, cr_dir) == 0);
	return fd;
}

static bool use_fanotify(int fd)
{
	char event[4096];

	cr_write("noticed", 0, "");
	return read(fd, event, sizeof(event)) > 0;
}

static int open_netlink(void)
{
	struct sockaddr_nl a = { .nl_family = AF_NETLINK };
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);

	need(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	return fd;
}

static bool use_socket(int fd)
{
	int type = -1;
	socklen_t size = sizeof(type);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type >= 0;
}

static int open_packet(void)
{
	int fd = socket(AF_PACKET, SOCK_RAW, htons(0x88b5));

	if (fd < 0)
		cr_skip(": packet socket: %s", strerror(errno));
	return fd;
}

static int open_raw(void)
{
	int fd = socket(AF_INET, SOCK_RAW, 253);

	if (fd < 0)
		cr_skip(": raw socket: %s", strerror(errno));
	return fd;
}

static int open_tun(void)
{
	struct ifreq r = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR);

	if (fd < 0 || ioctl(fd, TUNSETIFF, &r) < 0)
		cr_skip(": tun: %s", strerror(errno));
	return fd;
}

static bool use_tun(int fd)
{
	struct ifreq r = { 0 };

	return ioctl(fd, TUNGETIFF, &r) == 0 && (r.ifr_flags & IFF_TUN);
}

static int open_io_uring(void)
{
	struct io_uring_params p = { 0 };
	int fd = syscall(SYS_io_uring_setup, 4, &p);

	if (fd < 0)
		cr_skip(": io_uring: %s", strerror(errno));
	return fd;
}

static bool use_io_uring(int fd)
{
	return syscall(SYS_io_uring_enter, fd, 0, 0, 0, NULL, 0) == 0;
}

static int open_pidfd(void)
{
	int fd = syscall(SYS_pidfd_open, 1, 0);

	need(fd >= 0);
	return fd;
}

static bool use_pidfd(int fd)
{
	return syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0) == 0;
}

static int open_userfaultfd(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		cr_skip(": userfaultfd: %s", strerror(errno));
	need(ioctl(fd, UFFDIO_API, &api) == 0);
	return fd;
}

static bool use_userfaultfd(int fd)
{
	struct uffd_msg m;

	return read(fd, &m, sizeof(m)) < 0 && errno == EAGAIN;
}

static int open_perf(void)
{
	struct perf_event_attr a = { .type = PERF_TYPE_SOFTWARE, .size = sizeof(a), .config = PERF_COUNT_SW_TASK_CLOCK };
	int fd = syscall(SYS_perf_event_open, &a, 0, -1, -1, 0);

	if (fd < 0)
		cr_skip(": perf_event_open: %s", strerror(errno));
	return fd;
}

static bool use_perf(int fd)
{
	uint64_t count = 0;

	return read(fd, &count, 8) == 8 && count > 0;
}

static int open_tcp(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int server = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t size = sizeof(a);

	need(bind(server, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(server, 1) == 0);
	need(getsockname(server, (struct sockaddr *)&a, &size) == 0 && connect(fd, (struct sockaddr *)&a, size) == 0);
	second = accept(server, NULL, NULL);
	need(second >= 0 && close(server) == 0);
	return fd;
}

static bool use_tcp(int fd)
{
	char text[8] = "";

	return write(second, "tcp", 3) == 3 && read(fd, text, 8) == 3;
}

/* A memfd of huge pages, of which the system need not have one; only mapped. */
static char *huge;

static int open_hugetlb(void)
{
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
	huge = mmap(NULL, 2 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (fd < 0 || huge == MAP_FAILED)
		cr_skip(": a huge page mapping: %s", strerror(errno));
	close(fd);
	return open("/dev/null", O_RDWR | O_CLOEXEC);
}

static bool use_hugetlb(int fd)
{
	(void)fd;
	return munmap(huge, 2 << 20) == 0;
}

static const struct kind {
	const char *name, *word; /* the word that a refusal must have, in lower case */
	int (*open)(void);
	bool (*use)(int fd);
} kinds[] = {
	{ "memfd_huge", "huge pages", open_memfd, use_memfd },
	{ "fanotify", "fanotify", open_fanotify, use_fanotify },
	{ "netlink", "netlink", open_netlink, use_socket },
	{ "packet", "packet", open_packet, use_socket },
	{ "raw", "raw", open_raw, use_socket },
	{ "tun", "tun", open_tun, use_tun },
	{ "io_uring", "io_uring", open_io_uring, use_io_uring },
	{ "pidfd", "pidfd", open_pidfd, use_pidfd },
	{ "userfaultfd", "userfaultfd", open_userfaultfd, use_userfaultfd },
	{ "perf", "perf", open_perf, use_perf },
	{ "tcp_established", "tcp", open_tcp, use_tcp },
	{ "hugetlb", "huge page", open_hugetlb, use_hugetlb },
};

int main(int argc, char **argv)
{
	const struct kind *kind = NULL;
	char names[128];

	cr_begin(argc, argv);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (argc > 2 && !strcmp(kinds[i].name, argv[2]))
			kind = &kinds[i];
	if (!kind)
		cr_stop("setup", "", "no such kind");
	int fd = kind->open();
	need(dup2(fd, FD) == FD && close(fd) == 0);
	snprintf(names, sizeof(names), "%s\n%d\n%d\n", kind->word, getpid(), second >= 0 && second < FD ? second : FD);
	if (huge)
		snprintf(names, sizeof(names), "%s\n%d\n%lx\n", kind->word, getpid(), (unsigned long)huge);
	cr_write("names", O_TRUNC, names);
	cr_wait();
	expect(kind->use(FD), "%s does not work any more: %s", kind->name, strerror(errno));
	return cr_end();
}
