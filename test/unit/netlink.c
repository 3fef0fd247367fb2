/* SPDX-License-Identifier: Apache-2.0 */
/* Netlink: an exchange with the kernel, and attributes that lie about their size. */
#include "base/netlink.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"

struct seen {
	int links;
	bool loopback;
};

static int see(const struct nlmsghdr *m, void *arg)
{
	const struct nlattr *a[IFLA_MAX + 1];
	const struct ifinfomsg *link = netlink_header(m, sizeof *link);
	struct seen *seen = arg;

	CHECK(link);
	CHECK_OK(netlink_attributes(m, sizeof *link, a, IFLA_MAX + 1));
	uint32_t mtu;
	CHECK(netlink_get_u32(a[IFLA_MTU], &mtu));
	seen->links++;
	seen->loopback |= strcmp(netlink_get_string(a[IFLA_IFNAME]), "lo") == 0 && link->ifi_flags & IFF_LOOPBACK;
	return 0;
}

static void dump_links(void)
{
	autonetlink struct netlink nl = NETLINK_CLOSED;
	struct ifinfomsg all = { 0 };

	CHECK_OK(netlink_open(&nl, NETLINK_ROUTE, -1));
	for (int round = 0; round < 2; round++) {
		struct seen seen = { 0 };
		netlink_begin(&nl, RTM_GETLINK, 0, &all, sizeof all);
		CHECK_OK(netlink_dump(&nl, see, &seen));
		CHECK(seen.loopback && seen.links >= 1);
	}
}

static int stop(const struct nlmsghdr *m, void *arg)
{
	(void)m, (void)arg;
	return -ECANCELED;
}

static void abandoned_dump(void)
{
	autonetlink struct netlink nl = NETLINK_CLOSED;
	struct ifinfomsg all = { 0 };
	struct seen seen = { 0 };

	CHECK_OK(netlink_open(&nl, NETLINK_ROUTE, -1));
	netlink_begin(&nl, RTM_GETLINK, 0, &all, sizeof all);
	CHECK_EQ(netlink_dump(&nl, stop, NULL), -ECANCELED);
	struct ifinfomsg one = { .ifi_index = (int)if_nametoindex("lo") };
	netlink_begin(&nl, RTM_GETLINK, 0, &one, sizeof one);
	CHECK_OK(netlink_request(&nl, see, &seen));
	CHECK_EQ(seen.links, 1);
}

static void refusal(void)
{
	autonetlink struct netlink nl = NETLINK_CLOSED;
	struct ifinfomsg link = { .ifi_index = 0x7ffffff0 };
	char big[9000] = "";

	CHECK_OK(netlink_open(&nl, NETLINK_ROUTE, -1));
	netlink_begin(&nl, RTM_GETLINK, 0, &link, sizeof link);
	CHECK_EQ(netlink_request(&nl, NULL, NULL), -ENODEV);
	netlink_begin(&nl, RTM_GETLINK, 0, &link, sizeof link);
	netlink_put(&nl, IFLA_IFNAME, big, sizeof big);
	CHECK_EQ(netlink_request(&nl, NULL, NULL), -EMSGSIZE);
}

static void other_namespace(void)
{
	autonetlink struct netlink nl = NETLINK_CLOSED;
	struct ifinfomsg all = { 0 };
	struct seen seen = { 0 };
	char before[64] = "", after[64] = "";

	if (getuid())
		test_skip("needs root");
	int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	CHECK(unshare(CLONE_NEWNET) == 0);
	int other = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	CHECK(setns(home, CLONE_NEWNET) == 0);
	CHECK(readlink("/proc/thread-self/ns/net", before, sizeof before - 1) > 0);
	CHECK_OK(netlink_open(&nl, NETLINK_ROUTE, other));
	CHECK(readlink("/proc/thread-self/ns/net", after, sizeof after - 1) > 0);
	CHECK_STR(after, before);
	netlink_begin(&nl, RTM_GETLINK, 0, &all, sizeof all);
	CHECK_OK(netlink_dump(&nl, see, &seen));
	CHECK(seen.loopback);
	struct ifinfomsg up = { .ifi_index = 1, .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
	netlink_begin(&nl, RTM_NEWLINK, 0, &up, sizeof up);
	CHECK_OK(netlink_request(&nl, NULL, NULL));
}

static void broken_attributes(void)
{
	struct {
		struct nlmsghdr m;
		struct nlattr a;
		char data[8];
	} x = { .m.nlmsg_len = sizeof x, .a = { 12, 1 }, .data = "abcdefg" };
	const struct nlattr *a[3];
	uint32_t v;

	CHECK_OK(netlink_attributes(&x.m, 0, a, 3));
	CHECK_STR(netlink_get_string(a[1]), "abcdefg");
	CHECK(!netlink_get_u32(a[1], &v) && !netlink_get_u32(a[2], &v) && !netlink_get_string(a[2]));
	x.data[7] = 'h';
	CHECK(!netlink_get_string(a[1]));
	x.a.nla_len = 13;
	CHECK_EQ(netlink_attributes(&x.m, 0, a, 3), -EBADMSG);
	x.a.nla_len = 3;
	CHECK_EQ(netlink_attributes(&x.m, 0, a, 3), -EBADMSG);
	x.m.nlmsg_len = 18;
	CHECK_EQ(netlink_attributes(&x.m, 20, a, 3), -EBADMSG);
	CHECK_OK(netlink_nested(NULL, a, 3));
	CHECK(!a[1]);
}

const struct test tests[] = {
	TEST(dump_links), TEST(abandoned_dump), TEST(refusal), TEST(other_namespace), TEST(broken_attributes), {},
};
