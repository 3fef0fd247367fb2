/* SPDX-License-Identifier: Apache-2.0 */
/* The snapshot's tree of tasks and its lookups. Lookups are linear over short lists but for tasks and files, which may be many
 * whose ids count from 1. */
#include "model/tree.h"

#include <stdlib.h>

struct tree *tree_new(void)
{
	return mem_zalloc(sizeof(struct tree));
}

void tree_free(struct tree *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->tasks.n; i++) {
		array_free(&t->tasks.data[i]->children);
		free(t->tasks.data[i]->threads);
		free(t->tasks.data[i]);
	}
	for (size_t i = 0; i < t->fdtables.n; i++) {
		array_free(&t->fdtables.data[i]->fds);
		free(t->fdtables.data[i]);
	}
	array_free(&t->tasks);
	array_free(&t->fdtables);
	array_free(&t->files);
	arena_done(&t->arena);
	free(t);
}

struct task *tree_add(struct tree *t, struct task *parent, pid_t pid, size_t n_threads)
{
	struct task *task = mem_zalloc(sizeof *task);

	task->tree = t;
	task->pid = pid;
	task->parent = parent;
	task->state = TASK_ALIVE;
	task->n_threads = n_threads;
	task->threads = mem_zalloc(n_threads * sizeof *task->threads);
	for (size_t i = 0; i < n_threads; i++)
		task->threads[i].task = task;
	if (n_threads)
		task->threads[0].tid = pid;
	array_push(&t->tasks) = task;
	if (parent)
		array_push(&parent->children) = task;
	return task;
}

struct task *tree_find(const struct tree *t, pid_t pid)
{
	for (size_t i = 0; i < t->tasks.n; i++)
		if (t->tasks.data[i]->pid == pid)
			return t->tasks.data[i];
	return NULL;
}

FileEntry *tree_file(const struct tree *t, uint32_t id)
{
	/* ids are given from 1 in order: the usual place first */
	if (id && id <= t->files.n && t->files.data[id - 1]->id == id)
		return t->files.data[id - 1];
	for (size_t i = 0; i < t->files.n; i++)
		if (t->files.data[i]->id == id)
			return t->files.data[i];
	return NULL;
}

struct fdtable *tree_fdtable(const struct tree *t, uint32_t id)
{
	for (size_t i = 0; i < t->fdtables.n; i++)
		if (t->fdtables.data[i]->id == id)
			return t->fdtables.data[i];
	return NULL;
}

struct fdtable *tree_add_fdtable(struct tree *t, uint32_t id, struct task *owner)
{
	struct fdtable *f = mem_zalloc(sizeof *f);

	f->id = id;
	f->owner = owner;
	array_push(&t->fdtables) = f;
	return f;
}
