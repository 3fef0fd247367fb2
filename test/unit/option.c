/* SPDX-License-Identifier: Apache-2.0 */
/* The option table's parser, help and manual. */
#include "base/option.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "harness.h"

enum { RUN, EXEC, KILL };

struct options {
	bool detach, all, debug, keep;
	const char *bundle, *mode;
	struct option_list env;
	int verbosity, number, format;
	unsigned fds;
	int64_t memory;
	uint64_t size, count;
};

static const char *const formats[] = { "table", "json", NULL };
#define AT(field) offsetof(struct options, field)
static const struct option rows[] = {
	{ "debug", 'x', OPTION_FLAG, OPTION_EVERY_VERB, AT(debug), .help = "log more" },
	{ "detach", 'd', OPTION_FLAG, OPTION_VERB(RUN), AT(detach), .help = "return after start", .negatable = true },
	{ "keep", 'k', OPTION_FLAG, OPTION_VERB(RUN), AT(keep), .help = "keep it" },
	{ "bundle", 'b', OPTION_STRING, OPTION_VERB(RUN), AT(bundle), "DIR", "the bundle" },
	{ "env", 'e', OPTION_LIST, OPTION_VERB(RUN) | OPTION_VERB(EXEC), AT(env), "K=V", "environment" },
	{ "verbosity", 'v', OPTION_LEVEL, OPTION_VERB(RUN), AT(verbosity), .help = "log level" },
	{ "number", 0, OPTION_INT, OPTION_VERB(RUN), AT(number), .help = "a number" },
	{ "preserve-fds", 0, OPTION_UINT, OPTION_VERB(RUN), AT(fds), "N", "descriptors" },
	{ "memory", 0, OPTION_I64, OPTION_VERB(RUN), AT(memory), .help = "limit" },
	{ "count", 0, OPTION_U64, OPTION_VERB(RUN), AT(count), .help = "count" },
	{ "ghost-limit", 0, OPTION_SIZE, OPTION_VERB(RUN), AT(size), .help = "largest file" },
	{ "format", 'f', OPTION_ENUM, OPTION_VERB(RUN), AT(format), .help = "output format", .names = formats },
	{ "manage-cgroups", 0, OPTION_OPTIONAL, OPTION_VERB(RUN), AT(mode), "MODE", "how", .bare = "soft" },
	{ "lsm-mount-context", 0, OPTION_STRING, OPTION_VERB(RUN), 0, "CTX", "context", .refused = "no labels yet" },
	{ "lazy-pages", 0, OPTION_FLAG, OPTION_VERB(RUN), 0, .help = "later", .refused = "there is no pager", .negatable = true },
	{ "all", 'a', OPTION_FLAG, OPTION_VERB(KILL), AT(all), .help = "all processes" },
};
static const struct option_verb verbs[] = {
	{ "run", "CONTAINER", "create and start" },
	{ "exec", "CONTAINER COMMAND…", "an extra process", .stops = true },
	{ "kill", "CONTAINER [SIGNAL]", "send a signal" },
};
static const struct option_table go = {
	"torpor", verbs, sizeof verbs / sizeof *verbs, rows, sizeof rows / sizeof *rows, .single_dash = true,
};
static const struct option_table gnu = {
	"torpor", verbs, sizeof verbs / sizeof *verbs, rows, sizeof rows / sizeof *rows,
};

static char *argv_store[32], **argv;
static int argc;
static struct options o;

static void words(const char *line)
{
	static struct arena kept;

	argc = 0;
	option_free(&go, &o);
	for (char *word = strtok(arena_str(&kept, line), " "); word; word = strtok(NULL, " "))
		argv_store[argc++] = word;
	argv = argv_store;
	o = (struct options){ .verbosity = -1 };
	err_clear();
}

static int parse_as(const struct option_table *t, unsigned verb, const char *line)
{
	words(line);
	return option_parse(t, verb, &argc, &argv, &o);
}

static int parse(const char *line)
{
	return parse_as(&go, RUN, line);
}

static void refuses(const struct option_table *t, unsigned verb, const char *line, const char *text)
{
	CHECK(parse_as(t, verb, line) < 0);
	CHECK(err_count() >= 1);
	CHECK_HAS(err_line(0), text);
}

static void values_apart_and_attached(void)
{
	CHECK_OK(parse("--bundle /b --preserve-fds=3 c1"));
	CHECK_STR(o.bundle, "/b");
	CHECK_EQ(o.fds, 3);
	CHECK_EQ(argc, 1);
	CHECK_STR(argv[0], "c1");
	CHECK_OK(parse("-b /x -fjson"));
	CHECK_STR(o.bundle, "/x");
	CHECK_EQ(o.format, 1);
	CHECK_OK(parse("-b/y --bundle= c"));
	CHECK_STR(o.bundle, "");
	CHECK_OK(parse("-f=json"));
	CHECK_EQ(o.format, 1);
}

static void flags_group(void)
{
	CHECK_OK(parse("-dkb /b c"));
	CHECK(o.detach && o.keep);
	CHECK_STR(o.bundle, "/b");
	CHECK_OK(parse("--detach --no-detach"));
	CHECK(!o.detach);
	CHECK_OK(parse("--detach=true --keep=false"));
	CHECK(o.detach && !o.keep);
	refuses(&go, RUN, "--no-keep", "unknown option --no-keep");
	refuses(&go, RUN, "--keep=maybe", "\"maybe\" is not true or false");
}

static void repeated(void)
{
	CHECK_OK(parse("-d --detach -b 1 -b 2 -e A=1 --env B=2 --env=C=3"));
	CHECK(o.detach);
	CHECK_STR(o.bundle, "2");
	CHECK_EQ(o.env.n, 3);
	CHECK_STR(o.env.data[0], "A=1");
	CHECK_STR(o.env.data[2], "C=3");
	CHECK(!o.env.data[3]);
	option_free(&go, &o);
	CHECK(!o.env.data && !o.env.n);
}

static void long_list(void)
{
	words("");
	for (int i = 0; i < 20; i++) {
		static char *some[3];
		memcpy(some, (char *[]){ (char *)"-e", (char *)"X=1", NULL }, sizeof some);
		int n = 2;
		argv = some;
		CHECK_OK(option_parse(&go, RUN, &n, &argv, &o));
	}
	CHECK_EQ(o.env.n, 20);
	CHECK(!o.env.data[20]);
	option_free(&go, &o);
}

static void numbers(void)
{
	CHECK_OK(parse("--number -5 --memory -1 --count 18446744073709551615 --ghost-limit 2M"));
	CHECK_EQ(o.number, -5);
	CHECK_EQ(o.memory, -1);
	CHECK(o.count == UINT64_MAX);
	CHECK_EQ(o.size, 2 << 20);
	CHECK_OK(parse("--ghost-limit 17"));
	CHECK_EQ(o.size, 17);
	refuses(&go, RUN, "--number 2147483648", "option --number");
	refuses(&go, RUN, "--number 5x", "\"5x\" is not a whole number");
	refuses(&go, RUN, "--preserve-fds -1", "option --preserve-fds");
	refuses(&go, RUN, "--count -1", "option --count");
	refuses(&go, RUN, "--ghost-limit M", "is not a size");
	refuses(&go, RUN, "--ghost-limit 18446744073709551615K", "is not a size");
	refuses(&go, RUN, "--format yaml", "\"yaml\" is not one of table, json");
}

static void levels(void)
{
	CHECK_OK(parse("-vvv"));
	CHECK_EQ(o.verbosity, 3);
	CHECK_OK(parse("-v4"));
	CHECK_EQ(o.verbosity, 4);
	CHECK_OK(parse("-v -v --verbosity"));
	CHECK_EQ(o.verbosity, 3);
	CHECK_OK(parse_as(&gnu, RUN, "--verbosity=0"));
	CHECK_EQ(o.verbosity, 0);
	refuses(&go, RUN, "-vxx", "is not a level");
}

static void optional_value(void)
{
	CHECK_OK(parse("--manage-cgroups full"));
	CHECK_STR(o.mode, "soft");
	CHECK_EQ(argc, 1);
	CHECK_OK(parse("--manage-cgroups=full"));
	CHECK_STR(o.mode, "full");
}

static void positionals(void)
{
	CHECK_OK(parse("c1 -d c2 -- -k c3"));
	CHECK(o.detach && !o.keep);
	CHECK_EQ(argc, 4);
	CHECK_STR(argv[0], "c1");
	CHECK_STR(argv[1], "c2");
	CHECK_STR(argv[2], "-k");
	CHECK_STR(argv[3], "c3");
	CHECK_OK(parse("- -d"));
	CHECK_STR(argv[0], "-");
	CHECK_OK(parse_as(&go, EXEC, "-e A=1 c1 ls -l -- x"));
	CHECK_EQ(argc, 5);
	CHECK_STR(argv[2], "-l");
	CHECK_STR(argv[3], "--");
	option_free(&go, &o);
	CHECK_OK(parse(""));
	CHECK_EQ(argc, 0);
}

static void single_dash(void)
{
	CHECK_OK(parse("-detach -bundle /b -preserve-fds=2"));
	CHECK(o.detach);
	CHECK_STR(o.bundle, "/b");
	CHECK_EQ(o.fds, 2);
	CHECK_OK(parse("-no-detach"));
	refuses(&go, RUN, "-nonsense", "unknown option -nonsense");
}

static void abbreviated(void)
{
	CHECK_OK(parse_as(&gnu, RUN, "--det --bund /b"));
	CHECK(o.detach);
	CHECK_STR(o.bundle, "/b");
	refuses(&gnu, RUN, "--de", "option --de is ambiguous");
	refuses(&go, RUN, "--det", "unknown option --det");
}

static void errors_name_the_option(void)
{
	refuses(&go, RUN, "--lsm-mount-context", "flag needs an argument: --lsm-mount-context");
	refuses(&go, RUN, "--lsm-mount-context x", "option --lsm-mount-context is not supported: no labels yet");
	refuses(&go, RUN, "--lazy-pages", "option --lazy-pages is not supported: there is no pager");
	CHECK_OK(parse("--no-lazy-pages --lazy-pages=false"));
	refuses(&go, RUN, "-b", "flag needs an argument: --bundle");
	refuses(&go, RUN, "--frob", "unknown option --frob");
	CHECK_STR(err_line(1), "see torpor run --help");
	refuses(&go, KILL, "--bundle x", "option --bundle does not apply to torpor kill");
	refuses(&go, RUN, "-Z", "unknown option -Z");
}

static int first(const struct option_table *t, const char *line)
{
	words(line);
	return option_first_positional(t, argc, argv);
}

static void verb_after_options(void)
{
	CHECK_EQ(first(&gnu, "-b x run"), 2);
	CHECK_EQ(first(&gnu, "-dkb x run"), 2);
	CHECK_EQ(first(&gnu, "-bx run"), 1);
	CHECK_EQ(first(&gnu, "--bundle=x -v4 run"), 2);
	CHECK_EQ(first(&gnu, "--bundle x -d"), 3);
	CHECK_EQ(first(&go, "-bundle x run"), 2);
	CHECK_EQ(first(&gnu, "-- run"), 1);
	CHECK_EQ(option_verb_find(&go, "kill"), KILL);
	CHECK_EQ(option_verb_find(&go, "fly"), -ENOENT);
}

static char *printed(void (*print)(FILE *, const struct option_table *, unsigned))
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	print(f, &go, RUN);
	fclose(f);
	return text;
}

static void manual(FILE *f, const struct option_table *t, unsigned verb)
{
	(void)verb;
	option_man(f, t);
}

static void help_and_manual(void)
{
	autofree char *help = printed(option_help), *man = printed(manual);

	CHECK_HAS(help, "Usage: torpor run [options] CONTAINER\n");
	CHECK_HAS(help, "  -b, --bundle DIR              the bundle\n");
	CHECK_HAS(help, "  -d, --[no-]detach             return after start\n");
	CHECK_HAS(help, "      --manage-cgroups[=MODE]   how\n");
	CHECK_HAS(help, "  -f, --format table|json       output format\n");
	CHECK_HAS(help, "(not supported: there is no pager)");
	CHECK(!strstr(help, "all processes"));
	CHECK_HAS(man, ".SS \"torpor run [options] CONTAINER\"\n");
	CHECK_HAS(man, "\\fB\\-b\\fR, \\fB\\-\\-bundle\\fR \\fIDIR\\fR\nthe bundle.\n");
}

const struct test tests[] = {
	TEST(values_apart_and_attached), TEST(flags_group), TEST(repeated), TEST(long_list), TEST(numbers), TEST(levels),
	TEST(optional_value), TEST(positionals), TEST(single_dash), TEST(abbreviated), TEST(errors_name_the_option),
	TEST(verb_after_options), TEST(help_and_manual), {},
};
