/* SPDX-License-Identifier: Apache-2.0 */
/* Extended attributes (xattr(7)) in archives: pax records "SCHILY.xattr.NAME", as star and GNU tar (--xattrs) write them; others pass them over.
 * They are asked for by a path through /proc/self/fd, and set through a descriptor: where an archive is unpacked there may be no /proc.
 *
 * Left out: security.selinux, which is the mount's affair; those of symbolic links and nodes. */
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "ns/tar_format.h"

#define NAMES_MAX (64u << 10)
#define VALUE_MAX (64u << 10)

static void append(struct pax *p, const void *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		array_push(&p->text) = ((const char *)data)[i];
}

void pax_add(struct pax *p, const char *key, const void *value, size_t size)
{
	size_t len = strlen(key) + size + 3, digits = 1;
	char number[24];

	while ((size_t)snprintf(number, sizeof number, "%zu", len + digits) > digits)
		digits++;
	append(p, number, strlen(number));
	append(p, " ", 1);
	append(p, key, strlen(key));
	append(p, "=", 1);
	append(p, value, size);
	append(p, "\n", 1);
}

static int add_one(struct pax *p, const char *path, const char *name, char *value)
{
	char key[XATTR_NAME_MAX + sizeof XATTR_KEY];
	ssize_t n = lgetxattr(path, name, value, VALUE_MAX);

	if (n < 0)
		return errno == ENODATA ? 0 : -errno;
	snprintf(key, sizeof key, XATTR_KEY "%s", name);
	pax_add(p, key, value, (size_t)n);
	return 0;
}

int xattrs_collect(struct pax *p, int dir, const char *name)
{
	autofree char *path = str_printf("/proc/self/fd/%d/%s", dir, name), *names = mem_alloc(NAMES_MAX + 1), *value = NULL;
	ssize_t n = llistxattr(path, names, NAMES_MAX);
	int r = 0;

	if (n <= 0)
		return n == 0 || errno == ENOTSUP || errno == ENOENT ? 0 : fail(errno, "list the extended attributes of %s", name);
	names[n] = 0;
	value = mem_alloc(VALUE_MAX);
	for (const char *at = names; r >= 0 && at < names + n; at += strlen(at) + 1)
		if (strcmp(at, "security.selinux") != 0)
			r = add_one(p, path, at, value);
	return r < 0 ? fail(-r, "read the extended attributes of %s", name) : 0;
}

void xattrs_add(struct xattrs *x, const char *record, size_t size)
{
	const char *value = memchr(record, '=', size);

	if (!value || (size_t)(value - record) <= strlen(XATTR_KEY))
		return;
	struct xattr *a = &array_push(&x->list);
	a->name = str_printf("%.*s", (int)(value - record - (ptrdiff_t)strlen(XATTR_KEY)), record + strlen(XATTR_KEY));
	a->size = size - (size_t)(value + 1 - record);
	a->value = mem_dup(value + 1, a->size ? a->size : 1);
}

void xattrs_clear(struct xattrs *x)
{
	while (x->list.n) {
		struct xattr *a = &x->list.data[--x->list.n];
		free(a->name);
		free(a->value);
	}
	array_free(&x->list);
}

int xattrs_apply(const struct xattrs *x, int dir, const char *name, const char *path)
{
	if (!x->list.n)
		return 0;
	autoclose int fd = openat(dir, *name ? name : ".", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return fail(errno, "open %s to set its extended attributes", path);
	for (size_t i = 0; i < x->list.n; i++)
		if (fsetxattr(fd, x->list.data[i].name, x->list.data[i].value, x->list.data[i].size, 0) < 0)
			return fail(errno, "set the extended attribute %s of %s", x->list.data[i].name, path);
	return 0;
}
