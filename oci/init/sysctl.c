/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel parameters of the container's own namespaces.
 *
 * /proc/sys/net, kernel/msg…, fs/mqueue are of the namespaces of the task that opens them, whatever procfs instance it uses. So
 * they are written through the host's /proc, which the runtime verified, after init entered its namespaces: the container's
 * own /proc may be anything. Which keys are allowed was decided with the configuration (spec/check.c). */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "init/internal.h"

int proc_open_host(void)
{
	struct statfs st;
	autoclose int fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fstatfs(fd, &st) < 0)
		return fail(errno, "open /proc");
	return st.f_type == PROC_SUPER_MAGIC ? take_fd(&fd) : fail_text(EINVAL, "/proc is not the kernel's procfs");
}

static int apply(int proc, const struct spec_pair *p)
{
	char file[256];
	struct open_how how = { .flags = O_WRONLY | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV };
	int r = spec_sysctl_path(p->key, file, sizeof file);

	if (r < 0)
		return fail_text(-r, "linux.sysctl: \"%s\" is no kernel parameter", p->key);
	autofree char *path = str_printf("sys/%s", file);
	autoclose int fd = (int)syscall(SYS_openat2, proc, path, &how, sizeof how);
	if (fd < 0)
		return fail(errno, "linux.sysctl: open %s", p->key);
	if (write(fd, p->value, strlen(p->value)) < 0)
		return fail(errno, "linux.sysctl: set %s to \"%s\"", p->key, p->value);
	return 0;
}

int sysctls_apply(int proc, const struct spec *s)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < s->sysctl.n; i++)
		r = apply(proc, &s->sysctl.data[i]);
	return r;
}
