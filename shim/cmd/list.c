/* SPDX-License-Identifier: Apache-2.0 */
/* state and list. The document of a container is the same in both; list's has the owner's name, who is the user that owns the
 * state directory. A container whose state cannot be read is reported and does not hide the others. */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/log.h"
#include "base/str.h"
#include "cmd/cmd.h"
#include "container/container.h"
#include "spec/json.h"

int shim_state(struct shim_call *c)
{
	struct container *container;
	autofree char *json = NULL;
	int r = container_open(&c->oci, c->argv[0], &container);

	if (r < 0)
		return r;
	r = container_state_json(container, &json);
	container_free(container);
	if (r == 0)
		puts(json);
	return r;
}

enum { ID, PID, STATUS, BUNDLE, CREATED, OWNER, COLUMNS };

struct line {
	char *column[COLUMNS];
};

static const char *const titles[COLUMNS] = { "ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER" };

/* Whose containers these are; most belong to one user, who is looked up once. */
struct owner {
	uid_t uid;
	char *name;
};

static const char *owner_name(struct owner *last, const struct container *c)
{
	struct stat st;

	if (fstat(c->dir_fd, &st) < 0)
		return "";
	if (last->name && last->uid == st.st_uid)
		return last->name;
	free_pointer(&last->name);
	last->uid = st.st_uid;
	FILE *users = fopen("/etc/passwd", "re");
	for (const struct passwd *user; users && !last->name && (user = fgetpwent(users));)
		if (user->pw_uid == st.st_uid)
			last->name = str_dup(user->pw_name);
	if (users)
		fclose(users);
	if (!last->name)
		last->name = str_printf("#%u", st.st_uid);
	return last->name;
}

static struct line make_line(struct container *c)
{
	enum oci_status status = container_status(c);

	return (struct line){ {
		[ID] = str_dup(c->id),
		[PID] = str_printf("%d", status == OCI_STOPPED ? 0 : c->pid),
		[STATUS] = str_dup(oci_status_names[status]),
		[BUNDLE] = str_dup(c->bundle ? c->bundle : ""),
		[CREATED] = str_dup(c->created ? c->created : ""),
		[OWNER] = str_dup(c->owner ? c->owner : ""),
	} };
}

static void print_line(const char *const *column, const size_t *width)
{
	for (int i = 0; i + 1 < COLUMNS; i++)
		printf("%-*s   ", (int)width[i], column[i]);
	puts(column[COLUMNS - 1]);
}

static void print_table(struct line *lines, size_t n)
{
	size_t width[COLUMNS];

	for (int k = 0; k < COLUMNS; k++) {
		width[k] = strlen(titles[k]) < 9 ? 9 : strlen(titles[k]);
		for (size_t i = 0; i < n; i++)
			if (strlen(lines[i].column[k]) > width[k])
				width[k] = strlen(lines[i].column[k]);
	}
	print_line(titles, width);
	for (size_t i = 0; i < n; i++)
		print_line((const char *const *)lines[i].column, width);
}

static void free_lines(struct line *lines, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (int k = 0; k < COLUMNS; k++)
			free(lines[i].column[k]);
}

/* NULL when it cannot be read (said as a warning) or is gone by now. */
static struct container *open_listed(struct shim_call *c, const char *id, struct owner *owner)
{
	size_t mark = err_mark();
	struct container *container;
	int r = container_open(&c->oci, id, &container);

	if (r < 0 && r != -ENOENT)
		log_warn("list: %s: %s", id, err_line(mark));
	err_rewind(mark);
	if (r < 0)
		return NULL;
	container->owner = container_str(container, owner_name(owner, container));
	return container;
}

/* What is asked for, of containers that are open one at a time. */
struct listing {
	const struct shim_options *o;
	struct json_out json;
	ARRAY(struct line) lines;
};

static void list_one(struct listing *l, struct container *c)
{
	if (l->o->quiet)
		puts(c->id);
	else if (l->o->format == SHIM_JSON)
		container_describe(c, &l->json);
	else
		array_push(&l->lines) = make_line(c);
}

static void print(struct listing *l, bool any)
{
	autofree char *text = json_take(&l->json);

	if (l->o->quiet)
		return;
	if (l->o->format == SHIM_JSON)
		puts(any ? text : "null");   /* what runc prints for none */
	else
		print_table(l->lines.data, l->lines.n);
}

int shim_list(struct shim_call *c)
{
	struct listing l = { .o = c->o };
	struct owner owner = { 0 };
	bool any = false;
	char **ids;
	ssize_t n = container_list(&c->oci, &ids);

	if (n < 0)
		return (int)n;
	json_open_array(&l.json, NULL);
	for (ssize_t i = 0; i < n; i++) {
		struct container *container = open_listed(c, ids[i], &owner);
		if (container)
			list_one(&l, container);
		any |= container != NULL;
		container_free(container);
		free(ids[i]);
	}
	free(ids);
	free(owner.name);
	json_close_array(&l.json);
	print(&l, any);
	free_lines(l.lines.data, l.lines.n);
	array_free(&l.lines);
	return 0;
}
