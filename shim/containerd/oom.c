/* SPDX-License-Identifier: Apache-2.0 */
/* Word of containers that ran out of memory: one event per look at which the kernel has counted more kills. A container without the memory
 * controller is not watched. cgroup2 tells of a kill up to a tick after it (kernfs_notify()), by which time the killed process may have been
 * reaped: the end of a container's init is therefore a reason to look as well. */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "cgroup/stats.h"
#include "container/container.h"
#include "events.pb-c.h"
#include "containerd/publish.h"
#include "containerd/task.h"

struct oom {
	struct cgroup_oom group;
	struct arena arena;     /* has the directory's name */
};

static int look(struct task *t)
{
	struct oom *o = t->oom_state;
	Events__TaskOOM event = EVENTS__TASK_OOM__INIT;
	int count = cgroup_oom_count(&o->group);

	event.container_id = t->id;
	if (count > 0)
		publish("/tasks/oom", "TaskOOM", &event.base);
	return count;
}

static void on_oom(void *arg, uint32_t events)
{
	if (look(arg) < 0 || events & EPOLLERR)
		oom_forget(arg);   /* the group has gone */
}

void oom_end(struct task *t)
{
	if (t->oom_state)
		look(t);
	oom_forget(t);
}

void oom_watch(struct task *t)
{
	struct container *c;
	struct oom *o = mem_zalloc(sizeof *o);
	struct spec_pairs cgroups = { 0 };
	size_t mark = err_mark();

	t->oom.fd = -1;
	o->group.fd = -1;
	if (container_open(&shim.oci, t->id, &c) == 0) {
		cgroups.n = c->cgroups.n;
		cgroups.data = arena_array(&o->arena, struct spec_pair, c->cgroups.n + 1);
		for (size_t i = 0; i < cgroups.n; i++)
			cgroups.data[i] = (struct spec_pair){ arena_str(&o->arena, c->cgroups.data[i].key),
				arena_str(&o->arena, c->cgroups.data[i].value) };
		container_free(c);
	}
	t->oom_state = o;
	if (cgroup_oom_open(&cgroups, &o->group) < 0) {
		err_rewind(mark);
		oom_forget(t);
		return;
	}
	t->oom = (struct loop_watch){ .fd = o->group.fd, .ready = on_oom, .arg = t };
	if (loop_add(&t->oom, EPOLLIN) < 0)
		oom_forget(t);
	err_rewind(mark);
}

void oom_forget(struct task *t)
{
	struct oom *o = t->oom_state;

	if (!o)
		return;
	loop_remove(&t->oom);
	t->oom.fd = -1;
	fd_close(&o->group.fd);
	arena_done(&o->arena);
	free_pointer(&o);
	t->oom_state = NULL;
}
