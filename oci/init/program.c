/* SPDX-License-Identifier: Apache-2.0 */
/* The program that a container's process executes, and its environment.
 *
 * A name without a slash is searched in the PATH of the process's own environment, inside the container. The check happens once
 * before init waits, so that create already says that there is no such file, and again at the execve(). The words of the errors
 * are those that engines look for to tell "not found" (exit status 127) from "not executable" (126).
 *
 * HOME is set from the container's /etc/passwd when the configuration has none; the file is parsed here, since the C library's
 * getpwuid() would load modules of the container into the runtime. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "init/internal.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static const char *variable(const struct spec_process *p, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = p->env.n; i-- > 0;)   /* the last one counts, as for execve()'s receiver */
		if (strncmp(p->env.data[i], name, n) == 0 && p->env.data[i][n] == '=')
			return p->env.data[i] + n + 1;
	return NULL;
}

/* 0, or why not. */
static int executable(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0 ? -errno : 0;
}

static int search(const char *name, const char *list, char **path)
{
	int best = -ENOENT;

	for (const char *at = list;; at++) {
		size_t n = strcspn(at, ":");
		autofree char *candidate = str_printf("%.*s%s%s", (int)n, at, n ? "/" : "./", name);
		int r = executable(candidate);
		if (r == 0) {
			*path = take_ptr(&candidate);
			return 0;
		}
		if (r == -EACCES)
			best = r;
		at += n;
		if (!*at)
			return best;
	}
}

int program_find(const struct spec_process *p, char **path)
{
	const char *name = p->args.n ? p->args.data[0] : "", *list = variable(p, "PATH");

	if (!*name)
		return fail_text(EINVAL, "process.args: no program is named");
	if (strchr(name, '/')) {
		int r = executable(name);
		if (r < 0)
			return fail(-r, "exec: \"%s\": stat %s", name, name);
		*path = str_dup(name);
		return 0;
	}
	int r = search(name, list ? list : DEFAULT_PATH, path);
	if (r == -ENOENT) {
		r = fail_text(ENOENT, "exec: \"%s\": executable file not found in $PATH", name);
		fail_hint("searched in the container's root filesystem: %s", list ? list : DEFAULT_PATH);
		return r;
	}
	return r < 0 ? fail(-r, "exec: \"%s\"", name) : 0;
}

/* The image decides what is at this path: a fifo must not make init wait, nor a device feed it for ever. */
static char *read_passwd(void)
{
	struct stat st;
	autoclose int fd = open("/etc/passwd", O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > 1 << 20)
		return NULL;
	char *text = mem_zalloc((size_t)st.st_size + 1);
	return fd_pread_all(fd, text, (size_t)st.st_size, 0) < 0 ? free(text), NULL : text;
}

/* name:password:uid:gid:comment:home:shell */
static char *home_of(uint32_t uid)
{
	autofree char *text = read_passwd();

	for (char *line = text, *next; line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = 0;
		char *field[6];
		size_t n = 0;
		for (char *at = line; n < 6 && at; n++)
			field[n] = strsep(&at, ":");
		uint64_t id;
		if (n == 6 && parse_u64(field[2], 10, &id) == 0 && id == uid && *field[5] == '/')
			return str_dup(field[5]);
	}
	return str_dup("/");
}

char **program_environment(const struct init *i)
{
	const struct spec_process *p = i->process;
	const char *listen = getenv("LISTEN_FDS"), *names = getenv("LISTEN_FDNAMES");
	char **env = mem_zalloc((p->env.n + 6) * sizeof *env);
	size_t n = 0;

	for (size_t k = 0; k < p->env.n; k++)
		env[n++] = p->env.data[k];
	if (!variable(p, "HOME")) {
		autofree char *home = home_of(p->uid);
		env[n++] = str_printf("HOME=%s", home);
	}
	if (i->notify)
		env[n++] = str_printf("NOTIFY_SOCKET=%s", i->notify);
	if (i->preserve_fds && listen && !variable(p, "LISTEN_FDS")) {
		env[n++] = str_printf("LISTEN_FDS=%s", listen);
		env[n++] = str_printf("LISTEN_PID=%d", getpid());
		if (names)
			env[n++] = str_printf("LISTEN_FDNAMES=%s", names);
	}
	return env;
}
