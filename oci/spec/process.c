/* SPDX-License-Identifier: Apache-2.0 */
/* What this runtime reads of config.json's `process`, which exec has as a document of its own, and the rules between its properties.
 * commandLine and user.username are Windows's, and have no row. */
#define LOG_PREFIX "spec"
#include <errno.h>
#include <inttypes.h>
#include <linux/ioprio.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/resource.h>

#include "base/err.h"
#include "base/log.h"
#include "spec/internal.h"

const struct map_name spec_rlimit_names[] = {
	{ "RLIMIT_AS", RLIMIT_AS }, { "RLIMIT_CORE", RLIMIT_CORE }, { "RLIMIT_CPU", RLIMIT_CPU }, { "RLIMIT_DATA", RLIMIT_DATA },
	{ "RLIMIT_FSIZE", RLIMIT_FSIZE }, { "RLIMIT_LOCKS", RLIMIT_LOCKS }, { "RLIMIT_MEMLOCK", RLIMIT_MEMLOCK },
	{ "RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE }, { "RLIMIT_NICE", RLIMIT_NICE }, { "RLIMIT_NOFILE", RLIMIT_NOFILE },
	{ "RLIMIT_NPROC", RLIMIT_NPROC }, { "RLIMIT_RSS", RLIMIT_RSS }, { "RLIMIT_RTPRIO", RLIMIT_RTPRIO },
	{ "RLIMIT_RTTIME", RLIMIT_RTTIME }, { "RLIMIT_SIGPENDING", RLIMIT_SIGPENDING }, { "RLIMIT_STACK", RLIMIT_STACK }, { NULL, 0 },
};

#define ROW_OF spec_rlimit
static const struct map_row rlimit_rows[] = {
	{ "type", MAP_ENUM, AT(resource), .names = spec_rlimit_names, .required = true },
	{ "soft", MAP_U64, AT(soft), .required = true },
	{ "hard", MAP_U64, AT(hard), .required = true },
};
static const struct map_table rlimit_table = MAP_TABLE_OF(rlimit_rows, struct spec_rlimit, NULL);
#undef ROW_OF

/* A name that this kernel or library does not know is a warning, not an error (runtime-spec: it cannot be granted anyway). */
static int map_capabilities(struct map *m, const struct map_row *row, const struct map_path *path, const struct json *node, void *field)
{
	struct map_path element = { path, NULL, 0 };
	uint64_t *set = field;
	int r = map_want(m, path, node, JSON_ARRAY);

	(void)row;
	for (const struct json *e = node->first; e && r >= 0; e = e->next, element.index++) {
		r = map_want(m, &element, e, JSON_STRING);
		if (r < 0)
			return r;
		int capability = spec_capability(e->text);
		if (capability < 0)
			log_warn("%s: capability \"%s\" is unknown here and cannot be granted", m->name, e->text);
		else
			*set |= UINT64_C(1) << capability;
	}
	return r;
}

/* A list of names, each a bit. */
int spec_map_flags(struct map *m, const struct map_row *row, const struct map_path *path, const struct json *node, void *field)
{
	struct map_path element = { path, NULL, 0 };
	int r = map_want(m, path, node, JSON_ARRAY);

	for (const struct json *e = node->first; e && r >= 0; e = e->next, element.index++) {
		uint32_t bit = 0;
		r = map_enum(m, &element, e, row->names, &bit);
		*(uint32_t *)field |= bit;
	}
	return r;
}

static const struct map_name io_classes[] = {
	{ "IOPRIO_CLASS_RT", IOPRIO_CLASS_RT }, { "IOPRIO_CLASS_BE", IOPRIO_CLASS_BE }, { "IOPRIO_CLASS_IDLE", IOPRIO_CLASS_IDLE }, { NULL, 0 },
};
static const struct map_name policies[] = {
	{ "SCHED_OTHER", SCHED_NORMAL }, { "SCHED_FIFO", SCHED_FIFO }, { "SCHED_RR", SCHED_RR }, { "SCHED_BATCH", SCHED_BATCH },
	{ "SCHED_ISO", SPEC_SCHED_ISO }, { "SCHED_IDLE", SCHED_IDLE }, { "SCHED_DEADLINE", SCHED_DEADLINE }, { NULL, 0 },
};
static const struct map_name scheduler_flags[] = {
	{ "SCHED_FLAG_RESET_ON_FORK", SCHED_FLAG_RESET_ON_FORK }, { "SCHED_FLAG_RECLAIM", SCHED_FLAG_RECLAIM },
	{ "SCHED_FLAG_DL_OVERRUN", SCHED_FLAG_DL_OVERRUN }, { "SCHED_FLAG_KEEP_POLICY", SCHED_FLAG_KEEP_POLICY },
	{ "SCHED_FLAG_KEEP_PARAMS", SCHED_FLAG_KEEP_PARAMS }, { "SCHED_FLAG_UTIL_CLAMP_MIN", SCHED_FLAG_UTIL_CLAMP_MIN },
	{ "SCHED_FLAG_UTIL_CLAMP_MAX", SCHED_FLAG_UTIL_CLAMP_MAX }, { NULL, 0 },
};

/* To setresuid() and setresgid() it means "stay who you are", which is root. */
#define NO_ID UINT32_MAX

#define ROW_OF spec_process
#define CAPABILITIES(set) { "capabilities." #set, MAP_CALL, AT(capabilities.set), .call = map_capabilities }
static const struct map_row process_rows[] = {
	{ "args", MAP_STRINGS, AT(args) },
	{ "env", MAP_STRINGS, AT(env) },
	{ "cwd", MAP_STRING, AT(cwd), .required = true },
	{ "terminal", MAP_BOOL, AT(terminal) },
	{ "consoleSize", MAP_OBJECT, HAS(has_console_size) },
	{ "consoleSize.height", MAP_U64, AT(console_height), .required = true },
	{ "consoleSize.width", MAP_U64, AT(console_width), .required = true },
	{ "user", MAP_OBJECT },
	{ "user.uid", MAP_U32, AT(uid), .max = NO_ID - 1 },
	{ "user.gid", MAP_U32, AT(gid), .max = NO_ID - 1 },
	{ "user.umask", MAP_U32, AT(umask), HAS(has_umask), .max = 0777 },
	{ "user.additionalGids", MAP_U32S, AT(additional_gids), COUNT(n_additional_gids) },
	{ "capabilities", MAP_OBJECT, HAS(capabilities.present) },
	CAPABILITIES(bounding),
	CAPABILITIES(permitted),
	CAPABILITIES(effective),
	CAPABILITIES(inheritable),
	CAPABILITIES(ambient),
	{ "rlimits", MAP_LIST, AT(rlimits), COUNT(n_rlimits), .of = &rlimit_table },
	{ "noNewPrivileges", MAP_BOOL, AT(no_new_privileges) },
	{ "oomScoreAdj", MAP_INT, AT(oom_score_adj), HAS(has_oom_score_adj), .min = -1000, .max = 1000 },
	{ "apparmorProfile", MAP_STRING, AT(apparmor_profile) },
	{ "selinuxLabel", MAP_STRING, AT(selinux_label) },
	{ "ioPriority", MAP_OBJECT, HAS(has_io_priority) },
	{ "ioPriority.class", MAP_ENUM, AT(io_class), .names = io_classes, .required = true },
	{ "ioPriority.priority", MAP_INT, AT(io_priority), .max = 7 },
	{ "scheduler", MAP_OBJECT, HAS(scheduler.present) },
	{ "scheduler.policy", MAP_ENUM, AT(scheduler.policy), .names = policies, .required = true },
	{ "scheduler.nice", MAP_INT, AT(scheduler.nice), .min = -20, .max = 19 },
	{ "scheduler.priority", MAP_INT, AT(scheduler.priority), .max = 99 },
	{ "scheduler.flags", MAP_CALL, AT(scheduler.flags), .call = spec_map_flags, .names = scheduler_flags },
	{ "scheduler.runtime", MAP_U64, AT(scheduler.runtime) },
	{ "scheduler.deadline", MAP_U64, AT(scheduler.deadline) },
	{ "scheduler.period", MAP_U64, AT(scheduler.period) },
	{ "execCPUAffinity", MAP_OBJECT },
	{ "execCPUAffinity.initial", MAP_STRING, AT(affinity_initial) },
	{ "execCPUAffinity.final", MAP_STRING, AT(affinity_final) },
};
const struct map_table spec_process_table = MAP_TABLE_OF(process_rows, struct spec_process, NULL);
#undef ROW_OF

/* rules */

static int check_env(const char *name, const char *prefix, const struct spec_process *p)
{
	for (size_t i = 0; i < p->env.n; i++) {
		const char *equals = strchr(p->env.data[i], '=');
		if (!equals || equals == p->env.data[i])
			return fail_text(EINVAL, "%s: %senv[%zu]: \"%s\" is not NAME=VALUE", name, prefix, i, p->env.data[i]);
	}
	return 0;
}

static int check_rlimits(const char *name, const char *prefix, const struct spec_process *p)
{
	uint32_t seen = 0;

	for (size_t i = 0; i < p->n_rlimits; i++) {
		const struct spec_rlimit *l = &p->rlimits[i];
		if (seen & 1u << l->resource)
			return fail_text(EINVAL, "%s: %srlimits[%zu].type: the limit is listed twice", name, prefix, i);
		seen |= 1u << l->resource;
		if (l->soft > l->hard)
			return fail_text(EINVAL, "%s: %srlimits[%zu]: soft %" PRIu64 " is above hard %" PRIu64, name, prefix, i, l->soft,
				l->hard);
	}
	return 0;
}

static int check_scheduler(const char *name, const char *prefix, const struct spec_scheduler *s)
{
	bool real_time = s->policy == SCHED_FIFO || s->policy == SCHED_RR, deadline = s->policy == SCHED_DEADLINE;

	if (!s->present)
		return 0;
	if (s->policy == SPEC_SCHED_ISO)
		return fail_text(ENOTSUP, "%s: %sscheduler.policy: SCHED_ISO: no Linux kernel has this policy", name, prefix);
	if (s->flags & (SCHED_FLAG_UTIL_CLAMP_MIN | SCHED_FLAG_UTIL_CLAMP_MAX))
		return fail_text(ENOTSUP, "%s: %sscheduler.flags: SCHED_FLAG_UTIL_CLAMP_MIN and …_MAX: the specification has no values for them",
			name, prefix);
	if (s->nice && (real_time || deadline))
		return fail_text(EINVAL, "%s: %sscheduler.nice: has no meaning for a real-time policy", name, prefix);
	if (real_time ? s->priority < 1 : s->priority != 0)
		return fail_text(EINVAL, "%s: %sscheduler.priority: SCHED_FIFO and SCHED_RR need 1 to 99, the others have none", name, prefix);
	if (!deadline && (s->runtime || s->deadline || s->period))
		return fail_text(EINVAL, "%s: %sscheduler: runtime, deadline and period are SCHED_DEADLINE's", name, prefix);
	return 0;
}

static int check_affinity(const char *name, const char *prefix, const char *which, const char *list)
{
	unsigned long bits[SPEC_CPU_WORDS];

	if (!list || spec_number_list(list, bits, SPEC_CPU_WORDS) >= 0)
		return 0;
	return fail_text(EINVAL, "%s: %sexecCPUAffinity.%s: \"%s\" is not a list of CPUs like \"0-3,7\"", name, prefix, which, list);
}

static int check_attributes(const char *name, const char *prefix, const struct spec_process *p)
{
	int r = check_scheduler(name, prefix, &p->scheduler);

	if (r == 0)
		r = check_affinity(name, prefix, "initial", p->affinity_initial);
	if (r == 0)
		r = check_affinity(name, prefix, "final", p->affinity_final);
	if (r == 0 && p->has_io_priority && p->io_class == IOPRIO_CLASS_IDLE && p->io_priority)
		r = fail_text(EINVAL, "%s: %sioPriority.priority: IOPRIO_CLASS_IDLE has none", name, prefix);
	if (r == 0 && p->apparmor_profile && *p->apparmor_profile && p->selinux_label && *p->selinux_label)
		r = fail_text(EINVAL, "%s: %sapparmorProfile and selinuxLabel: only one of them can be set", name, prefix);
	return r;
}

int spec_check_process(const char *name, const char *prefix, const struct spec_process *p)
{
	if (!p->args.n)
		return fail_text(EINVAL, "%s: %sargs: at least one is needed, the program", name, prefix);
	if (*p->cwd != '/')
		return fail_text(EINVAL, "%s: %scwd: \"%s\" is not an absolute path", name, prefix, p->cwd);
	if (p->has_console_size && (p->console_height > UINT16_MAX || p->console_width > UINT16_MAX))
		return fail_text(EINVAL, "%s: %sconsoleSize: at most 65535 rows and columns", name, prefix);
	int r = check_env(name, prefix, p);
	if (r == 0)
		r = check_attributes(name, prefix, p);
	return r < 0 ? r : check_rlimits(name, prefix, p);
}
