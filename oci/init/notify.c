/* SPDX-License-Identifier: Apache-2.0 */
/* NOTIFY_SOCKET, over which a service tells its supervisor that it is ready (sd_notify(3)).
 *
 * The socket itself goes into the container: the supervisor's file is bound to /run/notify/notify.sock, and the program's environment
 * names that. So messages come from the container's process, with its credentials: systemd wants NotifyAccess=all (or exec) for them, as
 * its main process is the runtime or the engine's monitor. A socket with an abstract name (@…) is passed on by name, and is reachable only in
 * the host's network namespace. A configuration that has the variable already (engines that relay messages themselves) is left alone. */
#define LOG_PREFIX "notify"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/str.h"
#include "init/internal.h"

#define INSIDE "/run/notify/notify.sock"

static bool has_own(const struct spec_process *p)
{
	for (size_t i = 0; i < p->env.n; i++)
		if (str_starts(p->env.data[i], "NOTIFY_SOCKET="))
			return true;
	return false;
}

static struct strings options(struct arena *arena)
{
	static const char *const names[] = { "bind", "nosuid", "noexec", "nodev" };
	struct strings list = { arena_array(arena, char *, 5), 4 };

	for (size_t i = 0; i < list.n; i++)
		list.data[i] = arena_str(arena, names[i]);
	return list;
}

const char *notify_prepare(struct arena *arena, struct spec *s)
{
	const char *socket = getenv("NOTIFY_SOCKET");
	struct stat st;

	if (!socket || has_own(&s->process) || *socket == '@')
		return socket && *socket == '@' && !has_own(&s->process) ? arena_str(arena, socket) : NULL;
	if (*socket != '/' || stat(socket, &st) < 0 || !S_ISSOCK(st.st_mode)) {
		log_warn("NOTIFY_SOCKET is not passed on: %s is no socket", socket);
		return NULL;
	}
	struct spec_mount *mounts = arena_array(arena, struct spec_mount, s->n_mounts + 1);
	if (s->n_mounts)
		memcpy(mounts, s->mounts, s->n_mounts * sizeof *mounts);
	mounts[s->n_mounts++] = (struct spec_mount){
		.destination = arena_str(arena, INSIDE), .type = arena_str(arena, "bind"), .source = arena_str(arena, socket), .options = options(arena),
	};
	s->mounts = mounts;
	return INSIDE;
}
