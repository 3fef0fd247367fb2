/* SPDX-License-Identifier: Apache-2.0 */
/* linux.seccomp: names to the numbers of libseccomp and the kernel. System call names stay names: which of them exist depends on the
 * architecture and the library, and the specification wants unknown ones skipped; oci/security does that when it builds the filter.
 *
 * SCMP_ACT_NOTIFY needs somebody who listens. As default action it is refused: the process would wait for an answer to every call that
 * the runtime makes in it before it is told who it is. */
#include <ctype.h>
#include <errno.h>
#include <seccomp.h>
#include <string.h>

#include "spec/internal.h"
#include "spec/seccomp.h"

/* Matches the kernel's values, which older headers lack. */
enum { FLAG_TSYNC = 1, FLAG_LOG = 2, FLAG_SPEC_ALLOW = 4, FLAG_WAIT_KILLABLE_RECV = 32 };

const struct map_name spec_seccomp_actions[] = {
	{ "SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD }, { "SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS },
	{ "SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD }, { "SCMP_ACT_TRAP", SCMP_ACT_TRAP }, { "SCMP_ACT_ERRNO", SCMP_ACT_ERRNO(0) },
	{ "SCMP_ACT_TRACE", SCMP_ACT_TRACE(0) }, { "SCMP_ACT_ALLOW", SCMP_ACT_ALLOW }, { "SCMP_ACT_LOG", SCMP_ACT_LOG },
	{ "SCMP_ACT_NOTIFY", SCMP_ACT_NOTIFY }, { NULL, 0 },
};

const struct map_name spec_seccomp_operators[] = {
	{ "SCMP_CMP_NE", SCMP_CMP_NE }, { "SCMP_CMP_LT", SCMP_CMP_LT }, { "SCMP_CMP_LE", SCMP_CMP_LE }, { "SCMP_CMP_EQ", SCMP_CMP_EQ },
	{ "SCMP_CMP_GE", SCMP_CMP_GE }, { "SCMP_CMP_GT", SCMP_CMP_GT }, { "SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ }, { NULL, 0 },
};

const struct map_name spec_seccomp_flags[] = {
	{ "SECCOMP_FILTER_FLAG_TSYNC", FLAG_TSYNC }, { "SECCOMP_FILTER_FLAG_LOG", FLAG_LOG },
	{ "SECCOMP_FILTER_FLAG_SPEC_ALLOW", FLAG_SPEC_ALLOW },
	{ "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", FLAG_WAIT_KILLABLE_RECV }, { NULL, 0 },
};

const char *const spec_seccomp_architectures[] = {
	"SCMP_ARCH_X86", "SCMP_ARCH_X86_64", "SCMP_ARCH_X32", "SCMP_ARCH_ARM", "SCMP_ARCH_AARCH64", "SCMP_ARCH_LOONGARCH64",
	"SCMP_ARCH_M68K", "SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64", "SCMP_ARCH_MIPS64N32", "SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64",
	"SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_PPC", "SCMP_ARCH_PPC64", "SCMP_ARCH_PPC64LE", "SCMP_ARCH_S390", "SCMP_ARCH_S390X",
	"SCMP_ARCH_SH", "SCMP_ARCH_SHEB", "SCMP_ARCH_PARISC", "SCMP_ARCH_PARISC64", "SCMP_ARCH_RISCV64", NULL,
};

/* SCMP_ARCH_X86_64 is what libseccomp calls "x86_64". */
uint32_t spec_seccomp_architecture(const char *name)
{
	static const char prefix[] = "SCMP_ARCH_";
	char lower[32] = "";

	if (!str_starts(name, prefix))
		return 0;
	name += sizeof prefix - 1;
	for (size_t i = 0; i < sizeof lower - 1 && name[i]; i++)
		lower[i] = (char)tolower((unsigned char)name[i]);
	return *lower ? seccomp_arch_resolve_name(lower) : 0;
}

/* What an action carries has 16 bits, which a tracer gets as they are; the kernel makes of an errno that is larger the largest. */
#define DATA_MAX 65535
#define ERRNO_MAX 4095

/* As the configuration has an action: its number and the errno that goes into it. */
struct action {
	uint32_t action, errno_ret;
	bool has_errno;
};

struct raw_seccomp {
	struct spec_seccomp s;
	struct action fallback;
};

struct raw_rule {
	struct spec_seccomp_rule rule;
	struct action action;
};

static int finish_action(struct map *m, const struct map_path *path, const struct action *a, uint32_t *out)
{
	bool is_errno = a->action == SCMP_ACT_ERRNO(0), is_trace = a->action == SCMP_ACT_TRACE(0);

	if (a->has_errno && a->errno_ret && !is_errno && !is_trace)
		return map_fail(m, path, "an errno is given for an action that returns none");
	if (a->has_errno && a->errno_ret > ERRNO_MAX && is_errno)
		return map_fail(m, path, "the errno is %u: SCMP_ACT_ERRNO returns %d at most", a->errno_ret, ERRNO_MAX);
	*out = a->action | (is_errno || is_trace ? (a->has_errno ? a->errno_ret : EPERM) & 0xffff : 0);
	return 0;
}

#define AT(field) .at = offsetof(struct ROW_OF, field)
#define ROW_OF spec_seccomp_arg
static const struct map_row arg_rows[] = {
	{ "index", MAP_U32, AT(index), .max = 5, .required = true },
	{ "value", MAP_U64, AT(value), .required = true },
	{ "valueTwo", MAP_U64, AT(value_two) },
	{ "op", MAP_ENUM, AT(op), .names = spec_seccomp_operators, .required = true },
};
static const struct map_table arg_table = MAP_TABLE_OF(arg_rows, struct spec_seccomp_arg, NULL);
#undef ROW_OF

#define ROW_OF raw_rule
static const struct map_row rule_rows[] = {
	{ "names", MAP_STRINGS, AT(rule.names), .required = true },
	{ "action", MAP_ENUM, AT(action.action), .names = spec_seccomp_actions, .required = true },
	{ "errnoRet", MAP_U32, AT(action.errno_ret), .has = MAP_HAS(struct raw_rule, action.has_errno), .max = DATA_MAX },
	{ "args", MAP_LIST, AT(rule.args), .count = offsetof(struct raw_rule, rule.n_args), .of = &arg_table },
};
static const struct map_table rule_table = MAP_TABLE_OF(rule_rows, struct raw_rule, NULL);
#undef ROW_OF

static int map_rule(struct map *m, const struct map_path *path, const struct json *node, struct spec_seccomp_rule *out)
{
	struct raw_rule raw = { 0 };
	int r = map_object(m, &rule_table, path, node, &raw);

	if (r < 0)
		return r;
	if (!raw.rule.names.n)
		return map_fail(m, path, "names is empty");
	*out = raw.rule;
	return finish_action(m, path, &raw.action, &out->action);
}

static int map_rules(struct map *m, const struct map_row *row, const struct map_path *path, const struct json *node, void *field)
{
	struct map_path element = { path, NULL, 0 };
	struct spec_seccomp *s = field;
	int r = map_want(m, path, node, JSON_ARRAY);

	(void)row;
	s->rules = arena_array(m->arena, struct spec_seccomp_rule, node->n + 1);
	for (const struct json *e = node->first; e && r >= 0; e = e->next, element.index++)
		r = map_rule(m, &element, e, &s->rules[s->n_rules++]);
	for (size_t i = 0; r >= 0 && i < s->n_rules; i++)
		s->notify |= s->rules[i].action == SCMP_ACT_NOTIFY;
	return r;
}

static int map_flags(struct map *m, const struct map_row *row, const struct map_path *path, const struct json *node, void *field)
{
	struct map_path element = { path, NULL, 0 };
	struct spec_seccomp *s = field;
	int r = map_want(m, path, node, JSON_ARRAY);

	for (const struct json *e = node->first; e && r >= 0; e = e->next, element.index++) {
		uint32_t flag = 0;
		r = map_enum(m, &element, e, row->names, &flag);
		s->flags |= flag;
	}
	return r;
}

static int map_architecture(struct map *m, const struct map_path *path, const struct json *node, uint32_t *out)
{
	int r = map_want(m, path, node, JSON_STRING);

	if (r < 0)
		return r;
	*out = spec_seccomp_architecture(node->text);
	return *out ? 0 : map_fail(m, path, "unknown value \"%s\": not an architecture that the installed libseccomp has", node->text);
}

static int map_architectures(struct map *m, const struct map_row *row, const struct map_path *path, const struct json *node, void *field)
{
	struct map_path element = { path, NULL, 0 };
	struct spec_seccomp *s = field;
	int r = map_want(m, path, node, JSON_ARRAY);

	(void)row;
	s->architectures = arena_array(m->arena, uint32_t, node->n + 1);
	for (const struct json *e = node->first; e && r >= 0; e = e->next, element.index++)
		r = map_architecture(m, &element, e, &s->architectures[s->n_architectures++]);
	return r;
}

#define ROW_OF raw_seccomp
static const struct map_row seccomp_rows[] = {
	{ "defaultAction", MAP_ENUM, AT(fallback.action), .names = spec_seccomp_actions, .required = true },
	{ "defaultErrnoRet", MAP_U32, AT(fallback.errno_ret), .has = MAP_HAS(struct raw_seccomp, fallback.has_errno), .max = DATA_MAX },
	{ "architectures", MAP_CALL, AT(s), .call = map_architectures },
	{ "flags", MAP_CALL, AT(s), .call = map_flags, .names = spec_seccomp_flags },
	{ "syscalls", MAP_CALL, AT(s), .call = map_rules },
	{ "listenerPath", MAP_STRING, AT(s.listener_path) },
	{ "listenerMetadata", MAP_STRING, AT(s.listener_metadata) },
};
static const struct map_table seccomp_table = MAP_TABLE_OF(seccomp_rows, struct raw_seccomp, NULL);
#undef ROW_OF

static int check_listener(struct map *m, const struct map_path *path, const struct raw_seccomp *raw)
{
	const struct spec_seccomp *s = &raw->s;

	if (raw->fallback.action == SCMP_ACT_NOTIFY)
		return map_fail(m, path, "SCMP_ACT_NOTIFY cannot be the default action");
	if (s->notify && !s->listener_path)
		return map_fail(m, path, "SCMP_ACT_NOTIFY needs a listenerPath");
	if (s->listener_path && *s->listener_path != '/')
		return map_fail(m, path, "listenerPath \"%s\" is not an absolute path", s->listener_path);
	if (s->listener_metadata && !s->listener_path)
		return map_fail(m, path, "listenerMetadata needs a listenerPath");
	if (s->flags & FLAG_WAIT_KILLABLE_RECV && !s->notify)
		return map_fail(m, path, "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV goes with SCMP_ACT_NOTIFY");
	return 0;
}

int spec_map_seccomp(struct map *m, const struct map_row *row, const struct map_path *path, const struct json *node, void *field)
{
	struct raw_seccomp raw = { .s.present = true };
	struct spec_seccomp *out = field;
	int r = map_object(m, &seccomp_table, path, node, &raw);

	(void)row;
	if (r >= 0)
		r = check_listener(m, path, &raw);
	if (r < 0)
		return r;
	*out = raw.s;
	return finish_action(m, path, &raw.fallback, &out->default_action);
}
