/* SPDX-License-Identifier: Apache-2.0 */
/* torpor: the runtime's command line. Global options, then a verb with its own, as runc has it.
 *
 * Exit status: that of the container's process for run, exec and restore in the foreground; 0; or 1 after an error (255 when exec
 * could not start the process). Errors go to stderr, root cause first, and to the --log file, there as one entry.
 *
 * Messages below errors are not logged in JSON unless asked for: podman reads the log of a failed call as one JSON object. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "cmd/cmd.h"
#include "cmd/version.h"

/* What runs each verb and how many arguments it takes. */
static const struct {
	shim_command *run;   /* NULL: not done */
	int min, max;
} commands[SHIM_VERBS] = {
	[SHIM_CHECKPOINT] = { shim_checkpoint, 1, 1 },
	[SHIM_CREATE] = { shim_create, 1, 1 },
	[SHIM_DELETE] = { shim_delete, 1, 1 },
	[SHIM_EVENTS] = { shim_events, 1, 1 },
	[SHIM_EXEC] = { shim_exec, 1, INT_MAX },
	[SHIM_FEATURES] = { shim_features, 0, 0 },
	[SHIM_KILL] = { shim_kill, 1, 2 },
	[SHIM_LIST] = { shim_list, 0, 0 },
	[SHIM_PAUSE] = { shim_pause, 1, 1 },
	[SHIM_PS] = { shim_ps, 1, INT_MAX },
	[SHIM_RESTORE] = { shim_restore, 1, 1 },
	[SHIM_RESUME] = { shim_resume, 1, 1 },
	[SHIM_RUN] = { shim_run, 1, 1 },
	[SHIM_SPEC] = { shim_spec, 0, 0 },
	[SHIM_START] = { shim_start, 1, 1 },
	[SHIM_STATE] = { shim_state, 1, 1 },
	[SHIM_UPDATE] = { shim_update, 1, 1 },
};

static void usage(FILE *out)
{
	option_help(out, &shim_torpor_global, 0);
	fprintf(out, "\nCommands:\n");
	option_help_verbs(out, &shim_torpor_table);
	fprintf(out, "\n`torpor COMMAND --help` shows a command's options.\n");
}

static int open_log(const struct shim_options *o, int *fd)
{
	enum log_level level = o->log_format == LOG_JSON ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN;

	if (o->log_level >= 0)
		level = (enum log_level)o->log_level;
	if (o->debug)
		level = LOG_LEVEL_DEBUG;
	if (o->log && *o->log) {
		*fd = open(o->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
		if (*fd < 0)
			return fail(errno, "open the log file %s", o->log);
	}
	log_open(*fd >= 0 ? *fd : STDERR_FILENO, (enum log_format)o->log_format, level);
	return 0;
}

static int check_global(const struct shim_options *o)
{
	if (o->root && !*o->root)
		return fail_text(EINVAL, "--root: the name of the state directory is empty");
	if (o->cgroup_manager != SHIM_SYSTEMD)
		return 0;
	return fail_text(EOPNOTSUPP, "--cgroup-manager systemd: not supported by this version of torpor: control groups are made directly (cgroupfs)");
}

/* A user's own directory is his, also where he is root of a user namespace: rootless podman calls its runtime so. */
static bool is_users(const char *runtime_dir)
{
	const char *user = getenv("USER");

	if (!runtime_dir || *runtime_dir != '/')
		return false;
	return geteuid() || (oci_unprivileged() && (!user || strcmp(user, "root") != 0));
}

/* A state directory as an absolute path: it is noted, and used after the working directory has changed. */
static char *choose_root(const struct shim_options *o)
{
	const char *runtime_dir = getenv("XDG_RUNTIME_DIR");

	if (o->root && *o->root != '/') {
		autofree char *cwd = getcwd(NULL, 0);
		return str_printf("%s/%s", cwd ? cwd : "", o->root);
	}
	if (o->root)
		return str_dup(o->root);
	return is_users(runtime_dir) ? str_printf("%s/torpor", runtime_dir) : str_dup("/run/torpor");
}

static int run_verb(struct shim_call *c, struct shim_options *o)
{
	const char *verb = shim_torpor_table.verbs[c->verb].name;

	if (!commands[c->verb].run)
		return fail_text(EOPNOTSUPP, "%s: not supported by this version of torpor", verb);
	int r = option_parse(&shim_torpor_table, c->verb, &c->argc, &c->argv, o);
	if (r < 0)
		return r;
	if (o->help) {
		option_help(stdout, &shim_torpor_table, c->verb);
		return 0;
	}
	if (c->argc < commands[c->verb].min || c->argc > commands[c->verb].max) {
		const char *arguments = shim_torpor_table.verbs[c->verb].arguments;
		return fail_text(EINVAL, "%s: %s arguments; it takes %s", verb, c->argc < commands[c->verb].min ? "missing" : "too many",
			arguments ? arguments : "none");
	}
	return commands[c->verb].run(c);
}

static int run(int argc, char **argv, struct shim_options *o, int *log)
{
	int at = option_first_positional(&shim_torpor_global, argc, argv), given = at;
	char **global = argv;
	int r = option_parse(&shim_torpor_global, 0, &given, &global, o);

	if (r < 0) {   /* a --log before it still hears of it */
		size_t mark = err_mark();
		if (open_log(o, log) < 0)
			err_rewind(mark);
		return r;
	}
	if (o->version) {
		shim_version_print(stdout);
		return 0;
	}
	if (o->help || at == argc || !strcmp(argv[at], "help")) {
		usage(stdout);
		return o->help || at < argc ? 0 : 1;
	}
	r = open_log(o, log);
	if (r == 0)
		r = check_global(o);
	if (r < 0)
		return r;
	int verb = option_verb_find(&shim_torpor_table, argv[at]);
	if (verb < 0)
		return fail_text(EINVAL, "unknown command \"%s\"; `torpor --help` lists them", argv[at]);
	autofree char *root = choose_root(o);
	struct shim_call call = { o, { .root = root }, (enum shim_verb)verb, argc - at - 1, argv + at + 1 };
	return run_verb(&call, o);
}

/* What is opened later must not become somebody's stdin: a caller may have closed it. */
static void open_stdio(void)
{
	for (int fd = 0; fd < 3; fd++)
		while (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) >= 0)
			;
}

int main(int argc, char **argv)
{
	open_stdio();
	struct shim_options o = shim_torpor_defaults;
	autoclose int log = -1;
	int status = run(argc - 1, argv + 1, &o, &log);

	bool lost = fflush(stdout) == EOF;
	if ((lost || ferror(stdout)) && status >= 0)
		status = lost ? fail(errno, "write to standard output") : fail_text(EIO, "standard output could not be written");
	if (err_count())
		log_trail();
	option_free(&shim_torpor_table, &o);
	return status < 0 ? 1 : status;
}
