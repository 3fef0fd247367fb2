/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled seccomp filters, kept below the state directory's root: engines give every container the same profile of 400 calls, and compiling
 * it costs more than any other step of a start.
 *
 * A file is named after a digest of the profile, but is only believed if the profile that it has inside is the same, byte by byte: so a
 * digest that collides, by chance or by intent, gives nobody another one's filter. The profile as bytes begins with what else the
 * result depends on: the library's version and its API level (which it takes from the kernel).
 *
 * The directory and its files must belong to this user and be writable by nobody else, or they are not used. Whatever goes wrong
 * with the cache, the filter is compiled: a cache is never a reason for a failure. Its name is none that a container can have. It is
 * emptied when it has MAX_FILES. */
#define LOG_PREFIX "seccomp"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "security/security.h"

#define DIRECTORY "seccomp~"
#define MAX_FILES 64
#define MAX_SIZE (1u << 20)

/* A growing text: numbers and NUL-terminated strings, each list with its length in front. */
struct bytes {
	ARRAY(char) a;
};

static void put(struct bytes *b, const void *p, size_t n)
{
	if (!n)
		return;
	while (b->a.cap < b->a.n + n)
		b->a.data = array_grow(b->a.data, b->a.cap, &b->a.cap, 1);
	memcpy(b->a.data + b->a.n, p, n);
	b->a.n += n;
}

static void put_number(struct bytes *b, uint64_t n)
{
	put(b, &n, sizeof n);
}

static void put_rule(struct bytes *b, const struct spec_seccomp_rule *r)
{
	put_number(b, r->action);
	put_number(b, r->names.n);
	for (size_t i = 0; i < r->names.n; i++)
		put(b, r->names.data[i], strlen(r->names.data[i]) + 1);
	put_number(b, r->n_args);
	for (size_t i = 0; i < r->n_args; i++) {
		const uint64_t arg[] = { r->args[i].index, r->args[i].value, r->args[i].value_two, (uint64_t)r->args[i].op };
		put(b, arg, sizeof arg);
	}
}

static void put_profile(struct bytes *b, const struct spec_seccomp *s)
{
	const struct scmp_version *v = seccomp_version();

	put(b, "torpor seccomp 2", 16);
	put_number(b, v ? v->major * 1000000ull + v->minor * 1000ull + v->micro : 0);
	put_number(b, seccomp_api_get());
	put_number(b, s->default_action);
	put_number(b, s->n_architectures);
	put(b, s->architectures, s->n_architectures * sizeof *s->architectures);
	put_number(b, s->n_rules);
	for (size_t i = 0; i < s->n_rules; i++)
		put_rule(b, &s->rules[i]);
	put_number(b, b->a.n);
}

/* FNV-1a: it only has to spread. */
static void name_of(const struct bytes *b, char name[17])
{
	uint64_t h = 0xcbf29ce484222325;

	for (size_t i = 0; i < b->a.n; i++)
		h = (h ^ (unsigned char)b->a.data[i]) * 0x100000001b3;
	snprintf(name, 17, "%016" PRIx64, h);
}

static bool is_safe(int fd, mode_t type)
{
	struct stat st;

	return fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) == type && st.st_uid == geteuid() && !(st.st_mode & 022);
}

static int open_directory(const char *root)
{
	autoclose int parent = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent < 0 || (mkdirat(parent, DIRECTORY, 0700) < 0 && errno != EEXIST))
		return -errno;
	autoclose int fd = openat(parent, DIRECTORY, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (is_safe(fd, S_IFDIR))
		return take_fd(&fd);
	log_warn("%s/" DIRECTORY " is not this user's alone: compiled filters are not kept", root);
	return -EPERM;
}

static int find(int dir, const char *name, const struct bytes *profile, struct seccomp_program *out)
{
	autoclose int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || !is_safe(fd, S_IFREG) || fstat(fd, &st) < 0 || st.st_size <= (off_t)profile->a.n || st.st_size > MAX_SIZE)
		return -ENOENT;
	size_t n = (size_t)st.st_size - profile->a.n;
	autofree char *text = mem_alloc((size_t)st.st_size);
	if (n % sizeof *out->code || n / sizeof *out->code > BPF_MAXINSNS || fd_pread_all(fd, text, (size_t)st.st_size, 0) < 0)
		return -ENOENT;
	if (memcmp(text, profile->a.data, profile->a.n) != 0)
		return -ENOENT;
	out->code = mem_dup(text + profile->a.n, n);
	out->n = (unsigned short)(n / sizeof *out->code);
	return 0;
}

static void make_room(int dir)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), n = 0;
	DIR *d = copy < 0 ? NULL : fdopendir(copy);

	if (!d) {
		fd_close(&copy);
		return;
	}
	while (readdir(d))
		n++;
	rewinddir(d);
	for (struct dirent *e; n > MAX_FILES && (e = readdir(d));)
		unlinkat(dir, e->d_name, 0);
	closedir(d);
}

static void keep(int dir, const char *name, struct bytes *profile, const struct seccomp_program *p)
{
	make_room(dir);
	put(profile, p->code, p->n * sizeof *p->code);
	int r = file_replace(dir, name, profile->a.data, profile->a.n, 0600);
	if (r < 0)
		log_debug("a compiled filter cannot be kept: %s", strerror(-r));
}

int seccomp_cached(const char *root, const struct spec_seccomp *s, struct seccomp_program *out)
{
	struct bytes profile = { 0 };
	char name[17];

	if (!s->present)
		return seccomp_build(s, out);
	autoclose int dir = open_directory(root);
	if (dir < 0)
		return seccomp_build(s, out);
	*out = (struct seccomp_program){ .flags = s->flags, .notify = s->notify };
	put_profile(&profile, s);
	name_of(&profile, name);
	int r = find(dir, name, &profile, out);
	if (r < 0) {
		r = seccomp_build(s, out);
		if (r >= 0)
			keep(dir, name, &profile, out);
	}
	array_free(&profile.a);
	return r;
}
