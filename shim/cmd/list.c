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

static char *owner_name(const struct container *c)
{
	struct stat st;
	char *name = NULL;

	if (fstat(c->dir_fd, &st) < 0)
		return str_dup("");
	FILE *users = fopen("/etc/passwd", "re");
	for (const struct passwd *user; users && !name && (user = fgetpwent(users));)
		if (user->pw_uid == st.st_uid)
			name = str_dup(user->pw_name);
	if (users)
		fclose(users);
	return name ? name : str_printf("#%u", st.st_uid);
}

static struct line make_line(struct container *c)
{
	return (struct line){ {
		[ID] = str_dup(c->id),
		[PID] = str_printf("%d", container_init_pid(c)),
		[STATUS] = str_dup(oci_status_names[container_status(c)]),
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

/* Opens container number i; NULL when it cannot be read (said as a warning) or is gone by now. */
static struct container *open_listed(struct shim_call *c, const char *id)
{
	size_t mark = err_mark();
	struct container *container;
	int r = container_open(&c->oci, id, &container);

	if (r < 0 && r != -ENOENT)
		log_warn("list: %s: %s", id, err_line(mark));
	err_rewind(mark);
	if (r < 0)
		return NULL;
	autofree char *owner = owner_name(container);
	container->owner = container_str(container, owner);
	return container;
}

int shim_list(struct shim_call *c)
{
	ARRAY(struct line) lines = { 0 };
	struct json_out json = { 0 };
	char **ids;
	ssize_t n = container_list(&c->oci, &ids);

	if (n < 0)
		return (int)n;
	json_open_array(&json, NULL);
	for (ssize_t i = 0; i < n; i++) {
		struct container *container = open_listed(c, ids[i]);
		if (container) {
			container_describe(container, &json);
			array_push(&lines) = make_line(container);
		}
		container_free(container);
		free(ids[i]);
	}
	free(ids);
	json_close_array(&json);
	autofree char *text = json_take(&json);
	if (c->o->quiet)
		for (size_t i = 0; i < lines.n; i++)
			puts(lines.data[i].column[ID]);
	else if (c->o->format == SHIM_JSON)
		puts(lines.n ? text : "null");   /* what runc prints for none */
	else
		print_table(lines.data, lines.n);
	free_lines(lines.data, lines.n);
	array_free(&lines);
	return 0;
}
