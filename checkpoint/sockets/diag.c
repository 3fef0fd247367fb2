/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the answers of sock_diag(7): no system calls, all sizes checked. An attribute that the kernel leaves out is 0 or NULL. */
#include "sockets/diag.h"

#include <errno.h>

int diag_inet(const struct nlmsghdr *m, struct diag_inet *out)
{
	const struct inet_diag_msg *s = netlink_header(m, sizeof *s);
	const struct nlattr *a[INET_DIAG_MAX + 1];

	if (!s || netlink_attributes(m, sizeof *s, a, INET_DIAG_MAX + 1) < 0)
		return -EBADMSG;
	*out = (struct diag_inet){ .inode = s->idiag_inode, .family = s->idiag_family, .state = s->idiag_state, .id = s->id };
	out->md5 = netlink_data(a[INET_DIAG_MD5SIG], &out->md5_size);
	return 0;
}

int diag_unix(const struct nlmsghdr *m, struct diag_unix *out)
{
	const struct unix_diag_msg *s = netlink_header(m, sizeof *s);
	const struct nlattr *a[UNIX_DIAG_MAX + 1];
	struct unix_diag_rqlen queue;
	size_t size;

	if (!s || netlink_attributes(m, sizeof *s, a, UNIX_DIAG_MAX + 1) < 0)
		return -EBADMSG;
	*out = (struct diag_unix){ .ino = s->udiag_ino, .state = s->udiag_state };
	netlink_get_u32(a[UNIX_DIAG_PEER], &out->peer);
	netlink_get(a[UNIX_DIAG_SHUTDOWN], &out->shutdown, sizeof out->shutdown);
	if (netlink_get(a[UNIX_DIAG_RQLEN], &queue, sizeof queue))
		out->backlog = queue.udiag_wqueue;
	out->name = netlink_data(a[UNIX_DIAG_NAME], &out->name_size);
	out->clients = netlink_data(a[UNIX_DIAG_ICONS], &size);
	out->n_clients = size / sizeof *out->clients;
	return 0;
}
