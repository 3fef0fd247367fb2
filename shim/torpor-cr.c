/* SPDX-License-Identifier: Apache-2.0 */
/* torpor-cr: the engine by itself, with CRIU's command line. This file turns options into the engine's structs and results into exit
 * codes and output; what an option means is in the engine. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "checkpoint.h"
#include "cr/options.h"
#include "cr/args.h"
#include "cr/verbs.h"

static int usage(FILE *out)
{
	fprintf(out, "Usage: torpor-cr COMMAND [OPTIONS]\n\nCommands:\n");
	option_help_verbs(out, &cr_options_table);
	fprintf(out, "\ntorpor-cr COMMAND --help shows a command's options.\n");
	return out == stdout ? 0 : 1;
}

/* Commands that CRIU had once. */
static bool is_gone(const char *verb)
{
	return !strcmp(verb, "exec") || !strcmp(verb, "show");
}

/* The verb may come before or after options, as with CRIU. */
static int find_verb(int argc, char **argv, int *at)
{
	*at = option_first_positional(&cr_options_table, argc, argv);
	if (*at >= argc)
		return -ENOENT;
	if (is_gone(argv[*at]))
		return fail_text(EBADRQC, "the command %s is no more", argv[*at]);
	int verb = option_verb_find(&cr_options_table, argv[*at]);
	return verb < 0 ? fail_text(EINVAL, "unknown command %s: torpor-cr --help lists the commands", argv[*at]) : verb;
}

static bool asks(int argc, char **argv, const char *name, const char *short_name)
{
	for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (!strcmp(argv[i], name) || !strcmp(argv[i], short_name))
			return true;
	return false;
}

/* The value of an option that says where options come from, before there is a parser for it. */
static const char *early(int argc, char **argv, const char *name)
{
	size_t len = strlen(name);

	for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (!strncmp(argv[i], name, len) && (argv[i][len] == '=' || (!argv[i][len] && i + 1 < argc)))
			return argv[i][len] ? argv[i] + len + 1 : argv[i + 1];
	return NULL;
}

static int parse(int argc, char **argv, struct cr_args *args, struct cr_options *o)
{
	int at, v = find_verb(argc, argv, &at);

	if (v < 0)
		return v == -ENOENT ? fail_text(EINVAL, "no command given: torpor-cr --help lists the commands") : v;
	args->verb = (enum cr_verb)v;
	int r = v == CR_SWRK ? 0 : cr_args_files(args, !asks(argc, argv, "--no-default-config", ""), early(argc, argv, "--config"));
	for (int i = 0; i < argc; i++)
		if (i != at)
			cr_args_word(args, argv[i]);
	return r < 0 ? r : cr_args_parse(args, o);
}

/* What callers read: the release of CRIU that this stands for. */
static int version(void)
{
	printf("Version: %d.%d\ntorpor " TORPOR_VERSION "\n", CR_CRIU_MAJOR, CR_CRIU_MINOR);
	return 0;
}

static int run(struct cr_args *args, struct cr_options *o)
{
	if (o->help) {
		option_help(stdout, &cr_options_table, args->verb);
		return 0;
	}
	if (o->close_fd >= 0)
		close(o->close_fd);
	return cr_run(args->verb, o);
}

/* CRIU's. */
static int exit_status(int r, const struct cr_args *args, const struct cr_options *o)
{
	bool dumped_cpu = args->verb == CR_CPUINFO && o->positional && !strcmp(o->positional, "dump");

	if (r >= 0)
		return 0;
	return o->exit_status ? o->exit_status : r == -EBADRQC || dumped_cpu ? 255 : 1;
}

int main(int argc, char **argv)
{
	struct cr_options o = CR_OPTIONS_INIT;
	struct cr_args args = { .verb = CR_CHECK };

	argc--;
	argv++;
	if (asks(argc, argv, "--version", "-V"))
		return version();
	bool has_verb = option_first_positional(&cr_options_table, argc, argv) < argc;
	if (!has_verb && (argc == 0 || asks(argc, argv, "--help", "-h")))
		return usage(argc ? stdout : stderr);
	int r = parse(argc, argv, &args, &o);
	if (r >= 0)
		r = run(&args, &o);
	if (r < 0)
		log_trail();
	int status = exit_status(r, &args, &o);
	option_free(&cr_options_table, &o);
	cr_args_free(&args);
	return status;
}
