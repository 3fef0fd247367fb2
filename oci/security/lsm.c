/* SPDX-License-Identifier: Apache-2.0 */
/* The security module's label of the program to be executed.
 *
 * It is written to /proc/self/attr/exec (AppArmor's own file is attr/apparmor/exec, since 5.1) by the task itself, just before
 * execve(). A fake procfs in the image could swallow it, so the file is opened through the host's /proc, which the runtime verified
 * to be procfs, while it is still there; the write comes later. Asking for a label where the kernel has no such module is an
 * error: the container would run unconfined. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "security/security.h"

static bool apparmor_enabled(void)
{
	autofree char *text = NULL;
	return file_read(AT_FDCWD, "/sys/module/apparmor/parameters/enabled", &text, 64) > 0 && *text == 'Y';
}

static bool selinux_enabled(void)
{
	return access("/sys/fs/selinux/enforce", F_OK) == 0;
}

int lsm_check(const struct spec_process *p)
{
	bool apparmor = p->apparmor_profile && *p->apparmor_profile, selinux = p->selinux_label && *p->selinux_label;

	if (apparmor && selinux)
		return fail_text(EINVAL, "process: apparmorProfile and selinuxLabel cannot both be set");
	if (apparmor && !apparmor_enabled())
		return fail_text(EOPNOTSUPP, "process.apparmorProfile: \"%s\": AppArmor is not enabled on this machine", p->apparmor_profile);
	if (selinux && !selinux_enabled())
		return fail_text(EOPNOTSUPP, "process.selinuxLabel: \"%s\": SELinux is not enabled on this machine", p->selinux_label);
	return apparmor || selinux;
}

int lsm_check_mounts(const struct spec *s)
{
	if (!s->mount_label || !*s->mount_label || selinux_enabled())
		return 0;
	return fail_text(EOPNOTSUPP, "linux.mountLabel: \"%s\": SELinux is not enabled on this machine", s->mount_label);
}

int lsm_open(int proc, const struct spec_process *p)
{
	bool apparmor = p->apparmor_profile && *p->apparmor_profile;
	int r = lsm_check(p);

	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	int fd = apparmor ? openat(proc, "self/attr/apparmor/exec", O_WRONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		fd = openat(proc, "self/attr/exec", O_WRONLY | O_CLOEXEC);
	return fd < 0 ? fail(errno, "open /proc/self/attr/exec") : fd;
}

int lsm_apply(int fd, const struct spec_process *p)
{
	bool apparmor = p->apparmor_profile && *p->apparmor_profile;
	autofree char *text = apparmor ? str_printf("exec %s", p->apparmor_profile) : str_dup(p->selinux_label);

	if (write(fd, text, strlen(text)) < 0)
		return fail(errno, "%s: write \"%s\" to `/proc/self/attr/exec`", apparmor ? "process.apparmorProfile" : "process.selinuxLabel", text);
	return 0;
}
