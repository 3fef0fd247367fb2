/* SPDX-License-Identifier: Apache-2.0 */
/* Namespaces that a restored tree does not get new, but has with others: those that the dump was told are external (pid[INODE]:KEY),
 * which the caller gives back as a descriptor (--inherit-fd fd[N]:KEY), and those of --join-ns. Network namespaces: net.c.
 *
 * The engine's thread enters them just for the clone of the root husk and comes back. What is in them belongs to others and is not restored. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "files/kinds.h"
#include "ns/internal.h"
#include "pidns.pb-c.h"

struct ns_joins {
	struct {
		bool wanted;
		int fd, mine;   /* of the namespace; the engine's own, to come back */
	} of[NSK_KINDS];
};

static void want(struct restore *r, enum ns_kind kind, int fd)
{
	if (!r->joins)
		r->joins = arena_new(r->arena, struct ns_joins);
	if (r->joins->of[kind].wanted)
		close(r->joins->of[kind].fd);
	r->joins->of[kind].wanted = true;
	r->joins->of[kind].fd = fd;
	r->clone_flags &= ~ns_rows[kind].clone_flag;
}

bool ns_joined(const struct restore *r, enum ns_kind kind)
{
	return r->joins && r->joins->of[kind].wanted;
}

static int inherit(struct restore *r, enum ns_kind kind, const char *key)
{
	int fd = file_inherited(r, key);

	if (fd == -ENOENT)
		return fail_text(ENOENT, "the %s namespace of the checkpoint was external: give it with --inherit-fd 'fd[N]:%s'", ns_rows[kind].proc,
				 key);
	if (fd >= 0)
		want(r, kind, fd);
	return fd < 0 ? fd : 0;
}

static int read_pid(struct restore *r, uint32_t id)
{
	PidnsEntry *e;
	int ret = image_read_one(r->images, IMG_PIDNS, id, r->arena, &e);

	if (ret < 0)
		return ret == -ENOENT ? 0 : ret;
	return e->ext_key && *e->ext_key ? inherit(r, NSK_PID, e->ext_key) : 0;
}

/* "net:1234", "ipc:/run/ns/ipc" */
static int read_join(struct restore *r, const char *text)
{
	static const enum ns_kind kinds[] = { NSK_UTS, NSK_IPC, NSK_TIME };
	const char *where = strchr(text, ':');
	uint64_t pid;

	if (!where || !where[1])
		return fail_text(EINVAL, "--join-ns %s: expected KIND:PID or KIND:FILE", text);
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		const char *name = ns_rows[kinds[i]].proc;
		if (strlen(name) != (size_t)(where - text) || strncmp(name, text, strlen(name)) != 0)
			continue;
		char *path = parse_u64(where + 1, 10, &pid) < 0 ? arena_str(r->arena, where + 1) :
								 arena_printf(r->arena, "/proc/%s/ns/%s", where + 1, name);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return fail(errno, "--join-ns %s: open %s", text, path);
		want(r, kinds[i], fd);
		return 0;
	}
	return fail_text(ENOTSUP, "--join-ns %s: net, uts, ipc and time namespaces can be joined", text);
}

int ns_join_read(struct restore *r, const TaskKobjIdsEntry *ids)
{
	int ret = r->own_ns[NSK_PID] ? read_pid(r, ids->pid_ns_id) : 0;

	for (const char *const *j = r->o->join_ns; j && *j && ret >= 0; j++)
		if (strncmp(*j, "net:", 4) != 0)
			ret = read_join(r, *j);
	return ret;
}

int ns_join_enter(struct restore *r)
{
	for (int k = 0; k < NSK_KINDS; k++) {
		char path[64];
		if (!ns_joined(r, (enum ns_kind)k))
			continue;
		snprintf(path, sizeof path, "/proc/thread-self/ns/%s", ns_rows[k].proc);
		r->joins->of[k].mine = open(path, O_RDONLY | O_CLOEXEC);
		if (r->joins->of[k].mine < 0 || setns(r->joins->of[k].fd, (int)ns_rows[k].clone_flag) < 0)
			return fail(errno, "enter the %s namespace that was given", ns_rows[k].proc);
	}
	return 0;
}

int ns_join_leave(struct restore *r)
{
	int ret = 0;

	for (int k = 0; k < NSK_KINDS; k++) {
		int mine = ns_joined(r, (enum ns_kind)k) ? r->joins->of[k].mine : 0;
		if (mine <= 0)
			continue;
		if (setns(mine, (int)ns_rows[k].clone_flag) < 0)
			ret = fail(errno, "come back to the engine's own %s namespace", ns_rows[k].proc);
		fd_close(&r->joins->of[k].mine);
	}
	return ret;
}

void ns_join_end(struct restore *r)
{
	for (int k = 0; k < NSK_KINDS; k++)
		if (ns_joined(r, (enum ns_kind)k))
			fd_close(&r->joins->of[k].fd);
	r->joins = NULL;
}
