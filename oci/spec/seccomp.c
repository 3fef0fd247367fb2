/* SPDX-License-Identifier: Apache-2.0 */
/* linux.seccomp: names to the numbers of libseccomp and the kernel. System call names stay names: which of them exist depends on the
 * architecture and the library, and the specification wants unknown ones skipped; oci/security does that when it builds the filter.
 *
 * SCMP_ACT_NOTIFY and the listener are not done (they need an agent's socket): asked for, they are an error. */
#include <errno.h>
#include <seccomp.h>
#include <string.h>

#include "spec/internal.h"

/* Matches the kernel's values, which older headers lack. */
enum { FLAG_TSYNC = 1, FLAG_LOG = 2, FLAG_SPEC_ALLOW = 4, FLAG_WAIT_KILLABLE_RECV = 32 };

static const struct map_name actions[] = {
	{ "SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD }, { "SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS },
	{ "SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD }, { "SCMP_ACT_TRAP", SCMP_ACT_TRAP }, { "SCMP_ACT_ERRNO", SCMP_ACT_ERRNO(0) },
	{ "SCMP_ACT_TRACE", SCMP_ACT_TRACE(0) }, { "SCMP_ACT_ALLOW", SCMP_ACT_ALLOW }, { "SCMP_ACT_LOG", SCMP_ACT_LOG },
	{ "SCMP_ACT_NOTIFY", SCMP_ACT_NOTIFY }, { NULL, 0 },
};

static const struct map_name operators[] = {
	{ "SCMP_CMP_NE", SCMP_CMP_NE }, { "SCMP_CMP_LT", SCMP_CMP_LT }, { "SCMP_CMP_LE", SCMP_CMP_LE }, { "SCMP_CMP_EQ", SCMP_CMP_EQ },
	{ "SCMP_CMP_GE", SCMP_CMP_GE }, { "SCMP_CMP_GT", SCMP_CMP_GT }, { "SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ }, { NULL, 0 },
};

static const struct map_name flags[] = {
	{ "SECCOMP_FILTER_FLAG_TSYNC", FLAG_TSYNC }, { "SECCOMP_FILTER_FLAG_LOG", FLAG_LOG },
	{ "SECCOMP_FILTER_FLAG_SPEC_ALLOW", FLAG_SPEC_ALLOW },
	{ "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", FLAG_WAIT_KILLABLE_RECV }, { NULL, 0 },
};

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

	if (a->action == SCMP_ACT_NOTIFY)
		return map_fail(m, path, "SCMP_ACT_NOTIFY: not supported by this version of torpor");
	if (a->has_errno && a->errno_ret && !is_errno && !is_trace)
		return map_fail(m, path, "an errno is given for an action that returns none");
	*out = a->action | (is_errno || is_trace ? (a->has_errno ? a->errno_ret : EPERM) & 0xffff : 0);
	return 0;
}

#define AT(field) .at = offsetof(struct ROW_OF, field)
#define ROW_OF spec_seccomp_arg
static const struct map_row arg_rows[] = {
	{ "index", MAP_U32, AT(index), .max = 5, .required = true },
	{ "value", MAP_U64, AT(value), .required = true },
	{ "valueTwo", MAP_U64, AT(value_two) },
	{ "op", MAP_ENUM, AT(op), .names = operators, .required = true },
};
static const struct map_table arg_table = MAP_TABLE_OF(arg_rows, struct spec_seccomp_arg, NULL);
#undef ROW_OF

#define ROW_OF raw_rule
static const struct map_row rule_rows[] = {
	{ "names", MAP_STRINGS, AT(rule.names), .required = true },
	{ "action", MAP_ENUM, AT(action.action), .names = actions, .required = true },
	{ "errnoRet", MAP_U32, AT(action.errno_ret), .has = MAP_HAS(struct raw_rule, action.has_errno), .max = 4095 },
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
		if (flag == FLAG_WAIT_KILLABLE_RECV)
			return map_fail(m, &element, "%s goes with SCMP_ACT_NOTIFY: not supported by this version of torpor", e->text);
		s->flags |= flag;
	}
	return r;
}

/* SCMP_ARCH_X86_64 is what libseccomp calls "x86_64". */
static int map_architecture(struct map *m, const struct map_path *path, const struct json *node, uint32_t *out)
{
	static const char prefix[] = "SCMP_ARCH_";
	char name[32] = "";
	int r = map_want(m, path, node, JSON_STRING);

	if (r < 0)
		return r;
	if (str_starts(node->text, prefix))
		for (size_t i = 0; i < sizeof name - 1 && node->text[sizeof prefix - 1 + i]; i++) {
			char c = node->text[sizeof prefix - 1 + i];
			name[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
		}
	*out = *name ? seccomp_arch_resolve_name(name) : 0;
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
	{ "defaultAction", MAP_ENUM, AT(fallback.action), .names = actions, .required = true },
	{ "defaultErrnoRet", MAP_U32, AT(fallback.errno_ret), .has = MAP_HAS(struct raw_seccomp, fallback.has_errno), .max = 4095 },
	{ "architectures", MAP_CALL, AT(s), .call = map_architectures },
	{ "flags", MAP_CALL, AT(s), .call = map_flags, .names = flags },
	{ "syscalls", MAP_CALL, AT(s), .call = map_rules },
	{ "listenerPath", MAP_REFUSE, .reason = "a seccomp listener" },
	{ "listenerMetadata", MAP_REFUSE, .reason = "a seccomp listener" },
};
static const struct map_table seccomp_table = MAP_TABLE_OF(seccomp_rows, struct raw_seccomp, NULL);
#undef ROW_OF

int spec_map_seccomp(struct map *m, const struct map_row *row, const struct map_path *path, const struct json *node, void *field)
{
	struct raw_seccomp raw = { .s.present = true };
	struct spec_seccomp *out = field;
	int r = map_object(m, &seccomp_table, path, node, &raw);

	(void)row;
	if (r < 0)
		return r;
	*out = raw.s;
	return finish_action(m, path, &raw.fallback, &out->default_action);
}
