/* SPDX-License-Identifier: Apache-2.0 */
/* The UTS namespace: host name and domain name, which a container may have changed since its configuration set them. */
#include <errno.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/err.h"
#include "ns/internal.h"
#include "utsns.pb-c.h"

int uts_save(struct dump *d, uint32_t id)
{
	UtsnsEntry e = UTSNS_ENTRY__INIT;
	struct utsname u;
	int saved = -1, r = ns_enter(tree_root(d->tree)->host_pid, NSK_UTS, &saved);

	if (r < 0)
		return r;
	uname(&u);
	r = ns_leave(NSK_UTS, &saved);
	e.nodename = u.nodename;
	e.domainname = u.domainname;
	return r < 0 ? r : image_write_one(d->images, IMG_UTSNS, id, &e);
}

int uts_restore(struct restore *r, struct task *root, uint32_t id)
{
	UtsnsEntry *e;
	int saved = -1, ret = image_read_one(r->images, IMG_UTSNS, id, r->arena, &e);

	if (ret < 0)
		return ret == -ENOENT ? fail_text(ENOENT, "utsns-%u.img is missing: the checkpoint is not complete", id) : ret;
	ret = ns_enter(root->host_pid, NSK_UTS, &saved);
	if (ret < 0)
		return ret;
	if (sethostname(e->nodename, strlen(e->nodename)) < 0 || setdomainname(e->domainname, strlen(e->domainname)) < 0)
		ret = fail(errno, "set host name \"%s\" and domain name \"%s\"", e->nodename, e->domainname);
	int back = ns_leave(NSK_UTS, &saved);
	return ret < 0 ? ret : back;
}
