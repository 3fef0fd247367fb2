/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a bundle's config.json: text, tree (json_read.c), structs (map.c by table.c), rules between properties (check.c).
 *
 * Nothing of the bundle but the file itself is touched here, except that root.path is resolved when it exists: whether it does is
 * asked again at create, by descriptor. */
#include "spec/spec.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "spec/internal.h"

static char *resolve_bundle(struct arena *arena, const char *bundle)
{
	char absolute[PATH_MAX];

	if (realpath(bundle, absolute))
		return arena_str(arena, absolute);
	char *copy = arena_str(arena, bundle);
	for (size_t n = strlen(copy); n > 1 && copy[n - 1] == '/';)
		copy[--n] = '\0';
	return copy;
}

static void resolve_root(struct spec *s)
{
	char absolute[PATH_MAX];

	if (*s->root_path != '/')
		s->root_path = arena_printf(s->arena, "%s/%s", s->bundle, s->root_path);
	if (realpath(s->root_path, absolute))
		s->root_path = arena_str(s->arena, absolute);
}

static int parse_into(struct spec *s, const char *name)
{
	struct map m = { s->arena, name };
	struct json *tree;
	int r = json_parse(s->arena, name, s->text, s->text_size, &tree);

	if (r < 0)
		return r;
	r = map_object(&m, &spec_table, NULL, tree, s);
	if (r < 0)
		return r;
	spec_resources_settle(&s->resources);
	r = spec_check(name, s);
	if (r == 0)
		resolve_root(s);
	return r;
}

int spec_parse(const char *bundle, const char *name, const char *text, size_t size, struct spec **out)
{
	struct arena *arena = mem_zalloc(sizeof *arena);
	struct spec *s = arena_new(arena, struct spec);
	const char *base = name ? strrchr(name, '/') : NULL;

	s->arena = arena;
	s->bundle = resolve_bundle(arena, bundle);
	s->text = size <= JSON_MAX_SIZE ? arena_dup(arena, text, size) : text;
	s->text_size = size;
	int r = parse_into(s, base ? base + 1 : name ? name : "config.json");
	if (r < 0)
		spec_free(s);
	*out = r < 0 ? NULL : s;
	return r;
}

int spec_load(const char *bundle, const char *name, struct spec **out)
{
	autofree char *path = str_printf("%s/%s", name && *name == '/' ? "" : bundle, name ? name : "config.json");
	autofree char *text = NULL;
	ssize_t size = file_read(AT_FDCWD, path, &text, JSON_MAX_SIZE);

	if (size == -EFBIG)
		return fail_text(EFBIG, "%s: larger than %u MiB", path, JSON_MAX_SIZE >> 20);
	if (size < 0) {
		int r = fail((int)-size, "read the container's configuration %s", path);
		fail_hint("A bundle is a directory with a config.json; `torpor spec` writes one, --bundle names the directory.");
		return r;
	}
	return spec_parse(bundle, name, text, (size_t)size, out);
}

void spec_free(struct spec *s)
{
	if (!s)
		return;
	struct arena *arena = s->arena;   /* s itself lives in it */
	arena_done(arena);
	free(arena);
}

int spec_process_parse(struct arena *arena, const char *name, const char *text, size_t size, struct spec_process *out)
{
	struct map m = { arena, name };
	struct json *tree;
	int r = json_parse(arena, name, text, size, &tree);

	if (r < 0)
		return r;
	*out = (struct spec_process){ 0 };
	r = map_object(&m, &spec_process_table, NULL, tree, out);
	return r < 0 ? r : spec_check_process(name, "", out);
}
