/* SPDX-License-Identifier: Apache-2.0 */
/* containerd's shim: io.containerd.torpor.v1. Three short lives and a long one, as containerd asks for them on the command line:
 *
 *   start    makes the long-running shim of a container's group, or finds the one that is there, and prints where it listens
 *   delete   cleans up after a shim that has died
 *   -info    says what this runtime is
 *   (serve)  the shim itself: started by `start` with its socket as descriptor 3 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/str.h"
#include "containerd/bootstrap.h"

struct flag {
	const char *name;
	const char **value;
	bool *set;
};

static int take_flag(const struct flag *flags, char **argv, int *at, int argc)
{
	const char *name = argv[*at] + 1 + (argv[*at][1] == '-');
	size_t len = strcspn(name, "=");

	for (; flags->name; flags++) {
		if (strlen(flags->name) != len || strncmp(flags->name, name, len) != 0)
			continue;
		if (flags->set) {
			*flags->set = strcmp(name + len, "=false") != 0;
			return 0;
		}
		*flags->value = name[len] ? name + len + 1 : *at + 1 < argc ? argv[++*at] : NULL;
		return *flags->value ? 0 : fail_text(EINVAL, "flag needs an argument: -%s", flags->name);
	}
	return fail_text(EINVAL, "flag provided but not defined: %s", argv[*at]);
}

static int parse(int argc, char **argv, struct bootstrap *b, const char **action)
{
	const struct flag flags[] = {
		{ "namespace", &b->ns, NULL }, { "id", &b->id, NULL }, { "address", &b->address, NULL }, { "bundle", &b->bundle, NULL },
		{ "publish-binary", &b->publish_binary, NULL }, { "socket", &b->socket, NULL }, { "debug-socket", &b->debug_socket, NULL },
		{ "debug", NULL, &b->debug }, { "v", NULL, &b->version }, { "version", NULL, &b->version }, { "info", NULL, &b->info }, { 0 },
	};

	*action = "";
	for (int i = 1; i < argc; i++) {
		if (argv[i][0] != '-' || !argv[i][1]) {
			*action = argv[i];
			return 0;
		}
		int r = take_flag(flags, argv, &i, argc);
		if (r < 0)
			return r;
	}
	return 0;
}

static int run(const struct bootstrap *b, const char *action)
{
	if (b->debug_socket)   /* containerd does not pass it; shims written in Go pass it to themselves */
		return fail_text(ENOTSUP, "-debug-socket %s: it is for profiles of the Go runtime, which this shim does not have; leave it out",
			b->debug_socket);
	if (*action && b->socket)
		return fail_text(EINVAL, "-socket %s: it is for the shim itself, not for the action %s", b->socket, action);
	if (b->info)
		return bootstrap_info();
	if (!strcmp(action, "start"))
		return bootstrap_start(b);
	if (!strcmp(action, "delete"))
		return bootstrap_delete(b);
	return *action ? fail_text(EINVAL, "unknown action %s: start and delete are known", action) : bootstrap_serve(b);
}

int main(int argc, char **argv)
{
	struct bootstrap b = { .program = argv[0], .ns = "", .id = "", .address = "", .title = argv[0],
		.title_size = (size_t)(argv[argc - 1] + strlen(argv[argc - 1]) - argv[0]) };
	const char *action;
	int r = parse(argc, argv, &b, &action);

	log_open(2, LOG_TEXT, b.debug ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	if (r >= 0 && b.version) {
		printf("%s:\n  Version:  " TORPOR_VERSION "\n", argv[0]);
		return 0;
	}
	if (r >= 0)
		r = run(&b, action);
	if (r < 0)
		log_trail();
	return r < 0 ? 1 : 0;
}
