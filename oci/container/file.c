/* SPDX-License-Identifier: Apache-2.0 */
/* state.json: a container's facts as JSON text and back.
 *
 * The reader takes what an older or newer version wrote: unknown members are left alone, absent ones keep their zero. What must
 * be there is the id, the same as the directory's: a state file copied elsewhere is not taken for another container's. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/err.h"
#include "base/fd.h"
#include "container/internal.h"
#include "spec/json.h"

/* Members that are plain strings. */
static const struct {
	const char *key;
	size_t at;
} strings[] = {
	{ "ociVersion", offsetof(struct container, oci_version) }, { "bundle", offsetof(struct container, bundle) },
	{ "config", offsetof(struct container, config) },          { "rootfs", offsetof(struct container, rootfs) },
	{ "created", offsetof(struct container, created) },        { "owner", offsetof(struct container, owner) },
	{ "stdin", offsetof(struct container, descriptors[0]) },   { "stdout", offsetof(struct container, descriptors[1]) },
	{ "stderr", offsetof(struct container, descriptors[2]) },
};

static const struct {
	const char *key;
	size_t at;
} flags[] = {
	{ "restored", offsetof(struct container, restored) }, { "noNewKeyring", offsetof(struct container, no_new_keyring) },
	{ "privatePid", offsetof(struct container, private_pid) },
	{ "poststart", offsetof(struct container, poststart) }, { "poststop", offsetof(struct container, poststop) },
};

static const struct {
	const char *key;
	size_t at;
} pairs[] = {
	{ "annotations", offsetof(struct container, annotations) }, { "cgroups", offsetof(struct container, cgroups) },
	{ "joined", offsetof(struct container, joined) },           { "resctrl", offsetof(struct container, resctrl) },
};

#define COUNT(a) (sizeof(a) / sizeof *(a))

char *container_state_encode(const struct container *c)
{
	struct json_out o = { .pretty = true };
	const char *base = (const char *)c;

	json_open_object(&o, NULL);
	json_add_string(&o, "id", c->id);
	json_add_i64(&o, "pid", c->pid);
	json_add_u64(&o, "pidStart", c->pid_start);
	for (size_t i = 0; i < COUNT(strings); i++)
		json_add_string(&o, strings[i].key, *(char *const *)(const void *)(base + strings[i].at));
	for (size_t i = 0; i < COUNT(flags); i++)
		json_add_bool(&o, flags[i].key, *(const bool *)(base + flags[i].at));
	for (size_t i = 0; i < COUNT(pairs); i++) {
		const struct spec_pairs *list = (const void *)(base + pairs[i].at);
		json_open_object(&o, pairs[i].key);
		for (size_t k = 0; k < list->n; k++)
			json_add_string(&o, list->data[k].key, list->data[k].value);
		json_close_object(&o);
	}
	json_close_object(&o);
	return json_take(&o);
}

static void decode_pairs(struct container *c, struct spec_pairs *list, const struct json *object)
{
	*list = (struct spec_pairs){ 0 };
	if (!object || object->type != JSON_OBJECT)
		return;
	for (const struct json *m = object->first; m; m = m->next)
		if (m->type == JSON_STRING)
			container_add_pair(c, list, m->key, m->text);
}

int container_state_decode(struct container *c, const char *text, size_t size)
{
	char *base = (char *)c;
	struct json *top;
	uint64_t pid = 0;
	int r = json_parse(&c->arena, "state.json", text, size, &top);

	if (r < 0)
		return r;
	const char *id = json_string(top, "id");
	if (!id || strcmp(id, c->id) != 0)
		return fail_text(EBADMSG, "state.json: not the state of container %s", c->id);
	if (!json_u64(top, "pid", &pid) || pid > INT32_MAX || !json_u64(top, "pidStart", &c->pid_start))
		return fail_text(EBADMSG, "state.json: no valid pid");
	c->pid = (pid_t)pid;
	for (size_t i = 0; i < COUNT(strings); i++)
		*(char **)(void *)(base + strings[i].at) = container_str(c, json_string(top, strings[i].key));
	for (size_t i = 0; i < COUNT(flags); i++) {
		const struct json *flag = json_get(top, flags[i].key);
		*(bool *)(base + flags[i].at) = flag && flag->type == JSON_BOOL && flag->boolean;
	}
	for (size_t i = 0; i < COUNT(pairs); i++)
		decode_pairs(c, (void *)(base + pairs[i].at), json_get(top, pairs[i].key));
	return 0;
}

int container_save(struct container *c)
{
	autofree char *text = container_state_encode(c);
	int r = file_swap(c->dir_fd, "state.json", text, strlen(text), 0600);

	return r < 0 ? fail(-r, "write %s/state.json", c->dir) : 0;
}
