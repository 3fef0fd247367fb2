/* SPDX-License-Identifier: Apache-2.0 */
/* Action scripts of containers.
 *
 * First those of the administrator, the executable files of /etc/torpor/actions.d in the order of their names; then those that the
 * container's annotation org.torpor.action-script names, separated by commas; then those of the command line. Each is run with CRIU's
 * interface (hooks/scripts.c) and the container's id in TORPOR_ID.
 *
 * An annotation may come from somebody who may only ask for containers (a pod's author), and scripts run with the runtime's rights on the host:
 * so the annotation chooses among the files of /etc/torpor/actions, and cannot name a path. A script that others than root can change is an
 * error, not a risk to take. */
#define LOG_PREFIX "actions"
#include "actions.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "netlock.h"

#define ALWAYS "/etc/torpor/actions.d"
#define NAMED "/etc/torpor/actions"
#define SCRIPT OCI_ANNOTATIONS "action-script"
#define LOCK OCI_ANNOTATIONS "network-lock"

static const char *find(const struct spec_pairs *pairs, const char *key)
{
	for (size_t i = 0; i < pairs->n; i++)
		if (!strcmp(pairs->data[i].key, key))
			return pairs->data[i].value;
	return NULL;
}

static int check_file(const char *path, bool *runs)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return fail(errno, "action script %s", path);
	*runs = S_ISREG(st.st_mode) && (st.st_mode & 0111);
	if (*runs && (st.st_uid != 0 || st.st_mode & 0022))
		return fail_text(EPERM, "action script %s: others than root can change it (owner %u, mode %03o)", path, st.st_uid, st.st_mode & 0777);
	return 0;
}

static int visible(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return e->d_name[0] != '.' && e->d_name[n - 1] != '~';
}

static int add_directory(struct oci_actions *a)
{
	struct dirent **list;
	int n = scandir(ALWAYS, &list, visible, alphasort), r = 0;

	if (n < 0)
		return errno == ENOENT ? 0 : fail(errno, "list " ALWAYS);
	for (int i = 0; i < n; i++) {
		autofree char *path = str_printf(ALWAYS "/%s", list[i]->d_name);
		bool runs = false;
		if (r >= 0)
			r = check_file(path, &runs);
		if (runs && r >= 0)
			array_push(&a->paths) = take_ptr(&path);
		free(list[i]);
	}
	free(list);
	return r;
}

static int add_named(struct oci_actions *a, const char *names)
{
	autofree char *copy = str_dup(names);
	char *rest = copy;
	int r = 0;

	for (const char *name; r >= 0 && (name = strsep(&rest, ","));) {
		bool runs = false;
		if (!*name || *name == '.' || strchr(name, '/'))
			return fail_text(EINVAL, "annotation " SCRIPT ": \"%s\": expected names of files in " NAMED, names);
		autofree char *path = str_printf(NAMED "/%s", name);
		r = check_file(path, &runs);
		if (r >= 0 && !runs)
			r = fail_text(EACCES, "annotation " SCRIPT ": %s is not an executable file", path);
		if (r >= 0)
			array_push(&a->paths) = take_ptr(&path);
	}
	return r;
}

/* The runner begins with the last one. */
static void reverse(struct oci_actions *a)
{
	for (size_t i = 0, n = a->paths.n; i < n / 2; i++) {
		char *kept = a->paths.data[i];
		a->paths.data[i] = a->paths.data[n - 1 - i];
		a->paths.data[n - 1 - i] = kept;
	}
}

int oci_actions_begin(struct oci_actions *a, const struct spec_pairs *annotations, const char *const *more, const char *lock, const char *id)
{
	const char *names = find(annotations, SCRIPT), *method = find(annotations, LOCK);

	*a = (struct oci_actions){ .scripts.id = id };
	int r = netlock_find(lock ? lock : method, &a->lock);
	if (r < 0 && !lock)
		return fail_text(-r, "it is what the annotation " LOCK " says");
	if (r >= 0)
		r = add_directory(a);
	if (r >= 0 && names && *names)
		r = add_named(a, names);
	for (size_t i = 0; r >= 0 && more && more[i]; i++)
		array_push(&a->paths) = str_dup(more[i]);
	reverse(a);
	array_push(&a->paths) = NULL;
	a->scripts.paths = (const char *const *)a->paths.data;
	a->actions = (struct ck_actions){ .run = action_scripts_run, .arg = &a->scripts };
	return r;
}

void oci_actions_end(struct oci_actions *a)
{
	for (size_t i = 0; i < a->paths.n; i++)
		free(a->paths.data[i]);
	array_free(&a->paths);
}

const struct ck_actions *oci_actions_or_null(const struct oci_actions *a)
{
	return a->paths.n > 1 ? &a->actions : NULL;
}
