/* SPDX-License-Identifier: Apache-2.0 */
/* The reader of config.json: each way to be wrong. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "spec/json.h"
#include "unit/spec_sample.h"

/* The sample with one text in place of another, and what is said of it. */
struct edit {
	const char *from, *to, *message;
};
static void refused_edits(const struct edit *edits, size_t n)
{
	for (size_t i = 0; i < n; i++)
		refused_edit(edits[i].from, edits[i].to, edits[i].message);
}

static const struct edit wrong_types_edits[] = {
	{ "\"limit\":-9223372036854775808", "\"limit\":\"many\"", "config.json: linux.resources.pids.limit: expected an integer, found a string" },
	{ "\"limit\":-9223372036854775808", "\"limit\":1.0", "linux.resources.pids.limit: expected an integer, found 1.0" },
	{ "\"limit\":-9223372036854775808", "\"limit\":1e3", "linux.resources.pids.limit: expected an integer, found 1e3" },
	{ "\"limit\":-9223372036854775808", "\"other\":1", "linux.resources.pids.limit: required, but absent" },
	{ "\"args\":[\"sh\",", "\"args\":[5,", "process.args[0]: expected a string, found a number" },
	{ "\"path\":\"rootfs\"", "\"path\":true", "root.path: expected a string, found a boolean" },
	{ "\"mounts\":[", "\"mounts\":[[],", "mounts[0]: expected an object, found an array" },
	{ "\"options\":[\"ro\"", "\"options\":[{}", "mounts[0].options[0]: expected a string, found an object" },
	{ "\"annotations\":{", "\"annotations\":{\"n\":1,", "annotations.n: expected a string, found a number" },
	{ "\"readonly\":true", "\"readonly\":1", "root.readonly: expected a boolean, found a number" },
	{ "\"linux\":{", "\"linux\":[],\"x\":{", "linux: expected an object, found an array" },
};

static void wrong_types(void)
{
	refused_edits(wrong_types_edits, sizeof wrong_types_edits / sizeof *wrong_types_edits);
	check_refused("[]", "config.json: expected an object, found an array");
	check_refused("3", "config.json: expected an object, found a number");
}

static const struct edit wrong_ranges_edits[] = {
	{ "-9223372036854775808", "-9223372036854775809", "linux.resources.pids.limit: -9223372036854775809 is out of range" },
	{ "-9223372036854775808", "9223372036854775808", "linux.resources.pids.limit: 9223372036854775808 is out of range" },
	{ "\"uid\":1", "\"uid\":4294967296", "process.user.uid: 4294967296 is out of range" },
	{ "\"uid\":1", "\"uid\":-1", "process.user.uid: -1 is out of range" },
	{ "\"uid\":1", "\"uid\":4294967295", "process.user.uid: 4294967295 is out of range (0 to 4294967294)" },
	{ "\"gid\":2", "\"gid\":4294967295", "process.user.gid: 4294967295 is out of range" },
	{ "4294967295]", "4294967296]", "process.user.additionalGids[1]: 4294967296 is out of range" },
	{ "18446744073709551615}]}", "18446744073709551616}]}", "process.rlimits[0].hard: 18446744073709551616 is out of range" },
	{ "\"oomScoreAdj\":-7", "\"oomScoreAdj\":-1001", "process.oomScoreAdj: -1001 is out of range (-1000 to 1000)" },
	{ "\"umask\":18", "\"umask\":512", "process.user.umask: 512 is out of range" },
	{ "\"swappiness\":60", "\"swappiness\":101", "linux.resources.memory.swappiness: 101 is out of range" },
	{ "\"index\":0", "\"index\":6", "linux.seccomp.syscalls[1].args[0].index: 6 is out of range" },
};

static void wrong_ranges(void)
{
	refused_edits(wrong_ranges_edits, sizeof wrong_ranges_edits / sizeof *wrong_ranges_edits);
	accepted_edit("\"oomScoreAdj\":-7", "\"oomScoreAdj\":-1000");
	accepted_edit("\"uid\":1", "\"uid\":-0");
}

static const struct edit unknown_values_edits[] = {
	{ "RLIMIT_NOFILE", "RLIMIT_FUN", "process.rlimits[0].type: unknown value \"RLIMIT_FUN\" (known: RLIMIT_AS" },
	{ "{\"type\":\"pid\"}", "{\"type\":\"dip\"}", "linux.namespaces[0].type: unknown value \"dip\" (known: mount, pid" },
	{ "\"type\":\"u\"", "\"type\":\"x\"", "linux.devices[0].type: unknown value \"x\" (known: b, c, u, p)" },
	{ "SCMP_ACT_ALLOW", "SCMP_ACT_SOME", "linux.seccomp.syscalls[0].action: unknown value \"SCMP_ACT_SOME\"" },
	{ "SCMP_CMP_MASKED_EQ", "SCMP_CMP_X", "linux.seccomp.syscalls[1].args[0].op: unknown value \"SCMP_CMP_X\"" },
	{ "SCMP_ARCH_X86\"", "SCMP_ARCH_PDP11\"", "linux.seccomp.architectures[1]: unknown value \"SCMP_ARCH_PDP11\"" },
	{ "FLAG_LOG", "FLAG_WOOD", "linux.seccomp.flags[0]: unknown value \"SECCOMP_FILTER_FLAG_WOOD\"" },
	{ "\"rslave\"", "\"master\"", "linux.rootfsPropagation: unknown value \"master\"" },
	{ "\"LINUX\"", "\"IRIX\"", "linux.personality.domain: unknown value \"IRIX\"" },
};

static void unknown_values(void)
{
	refused_edits(unknown_values_edits, sizeof unknown_values_edits / sizeof *unknown_values_edits);
}

/* What is known and not done: by name, and only if it asks for something. */
static void not_done(void)
{
	static const char *const asked[][2] = {
		{ "\"hooks\":{\"poststop\":[{\"path\":\"x\"}]}", "hooks.poststop[0].path: \"x\" is not an absolute path" },
		{ "\"hooks\":{\"prestart\":[{\"path\":\"/x\",\"timeout\":0}]}", "hooks.prestart[0].timeout: 0 is out of range" },
		{ "\"hooks\":{\"poststart\":[{\"args\":[]}]}", "hooks.poststart[0].path: required, but absent" },
		{ "\"hooks\":null,\"process\":{\"cwd\":\"/\",\"terminal\":true,\"args\":[\"x\"]}", "a key occurs twice" },
	};
	static const char *const in_linux[][2] = {
		{ "\"uidMappings\":[{\"containerID\":0,\"hostID\":1,\"size\":1}]", "linux.uidMappings: need a user namespace" },
		{ "\"gidMappings\":[{\"size\":1}]", "linux.gidMappings[0].containerID: required, but absent" },
		{ "\"timeOffsets\":{\"monotonic\":{\"secs\":1}}", "linux.timeOffsets: needs a new time namespace" },
		{ "\"timeOffsets\":{\"boottime\":{\"nanosecs\":1000000000}}", "linux.timeOffsets.boottime.nanosecs: 1000000000 is out of range" },
		{ "\"intelRdt\":{\"closID\":\"../x\"}", "linux.intelRdt.closID: \"../x\" is not the name of a directory" },
		{ "\"intelRdt\":{\"memBwSchema\":\"L3:0=f\"}", "linux.intelRdt.memBwSchema: \"L3:0=f\" is not one line" },
		{ "\"intelRdt\":{\"schemata\":[\"a\\nb\"]}", "linux.intelRdt.schemata[0]: more than one line" },
		{ "\"intelRdt\":{\"l3CacheSchema\":1}", "linux.intelRdt.l3CacheSchema: expected a string" },
		{ "\"intelRdt\":{\"enableMonitoring\":1}", "linux.intelRdt.enableMonitoring: expected" },
		{ "\"memoryPolicy\":{\"mode\":\"MPOL_BIND\"}", "linux.memoryPolicy.nodes: this mode needs some" },
		{ "\"memoryPolicy\":{\"mode\":\"MPOL_LOCAL\",\"nodes\":\"0\"}", "linux.memoryPolicy.nodes: this mode has none" },
		{ "\"memoryPolicy\":{\"mode\":\"MPOL_BIND\",\"nodes\":\"x\"}", "linux.memoryPolicy.nodes: \"x\" is not a list" },
		{ "\"memoryPolicy\":{\"nodes\":\"0\"}", "linux.memoryPolicy.mode: required" },
		{ "\"memoryPolicy\":{\"flags\":[\"MPOL_F_MINE\"]}", "linux.memoryPolicy.flags[0]: unknown value \"MPOL_F_MINE\"" },
		{ "\"mountLabel\":1", "linux.mountLabel: expected a string" },
	};
	static const char *const empty[] = {
		"\"uidMappings\":[]", "\"timeOffsets\":{}", "\"intelRdt\":null", "\"mountLabel\":\"\"", "\"memoryPolicy\":{\"flags\":[]}",
	};

	for (size_t i = 0; i < sizeof asked / sizeof *asked; i++)
		refused_edit("\"hooks\":{}", asked[i][0], asked[i][1]);
	for (size_t i = 0; i < sizeof in_linux / sizeof *in_linux; i++) {
		autofree char *to = str_printf("\"linux\":{%s,", in_linux[i][0]);
		refused_edit("\"linux\":{", to, in_linux[i][1]);
	}
	for (size_t i = 0; i < sizeof empty / sizeof *empty; i++) {
		autofree char *to = str_printf("\"linux\":{%s,", empty[i]);
		accepted_edit("\"linux\":{", to);
	}
	accepted_edit("\"hooks\":{}", "\"hooks\":{\"prestart\":[],\"poststop\":null}");
}

static void not_done_process(void)
{
	/* Windows's */
	accepted_edit("\"process\":{", "\"process\":{\"commandLine\":\"x\",");
	accepted_edit("\"uid\":1", "\"username\":\"x\",\"uid\":1");
	static const char *const asked[][2] = {
		{ "\"apparmorProfile\":\"x\",\"selinuxLabel\":\"x\"", "process.apparmorProfile and selinuxLabel: only one" },
		{ "\"ioPriority\":{\"class\":\"IOPRIO_CLASS_BEST\"}", "process.ioPriority.class: unknown value \"IOPRIO_CLASS_BEST\"" },
		{ "\"ioPriority\":{\"class\":\"IOPRIO_CLASS_BE\",\"priority\":8}", "process.ioPriority.priority: 8 is out of range" },
		{ "\"ioPriority\":{\"class\":\"IOPRIO_CLASS_IDLE\",\"priority\":1}", "process.ioPriority.priority: IOPRIO_CLASS_IDLE has none" },
		{ "\"scheduler\":{\"policy\":\"SCHED_FIFO\"}", "process.scheduler.priority: SCHED_FIFO and SCHED_RR need 1 to 99" },
		{ "\"scheduler\":{\"policy\":\"SCHED_OTHER\",\"priority\":1}", "process.scheduler.priority" },
		{ "\"scheduler\":{\"policy\":\"SCHED_RR\",\"priority\":1,\"nice\":1}", "process.scheduler.nice" },
		{ "\"scheduler\":{\"policy\":\"SCHED_OTHER\",\"nice\":20}", "process.scheduler.nice: 20 is out of range" },
		{ "\"scheduler\":{\"policy\":\"SCHED_BATCH\",\"runtime\":1}", "process.scheduler: runtime, deadline and period" },
		{ "\"scheduler\":{\"policy\":\"SCHED_ISO\"}", "process.scheduler.policy: SCHED_ISO: no Linux kernel" },
		{ "\"scheduler\":{\"policy\":\"SCHED_OTHER\",\"flags\":[\"SCHED_FLAG_UTIL_CLAMP_MIN\"]}", "SCHED_FLAG_UTIL_CLAMP_MIN" },
		{ "\"execCPUAffinity\":{\"final\":\"a\"}", "process.execCPUAffinity.final: \"a\" is not a list" },
		{ "\"execCPUAffinity\":{\"initial\":\"1-0\"}", "process.execCPUAffinity.initial" },
	};

	for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
		autofree char *to = str_printf("\"process\":{%s,", asked[i][0]);
		refused_edit("\"process\":{", to, asked[i][1]);
	}
	refused_edit("\"destination\":\"/d\"", "\"destination\":\"/d\",\"uidMappings\":[{\"size\":1}]",
		"mounts[1].uidMappings[0].containerID: required, but absent");
	refused_edit("SCMP_ACT_ALLOW", "SCMP_ACT_NOTIFY", "linux.seccomp: SCMP_ACT_NOTIFY needs a listenerPath");
	refused_edit("\"flags\":[", "\"listenerPath\":\"x\",\"flags\":[", "linux.seccomp: listenerPath \"x\" is not an absolute path");
}

static void rules(void)
{
	refused_edit("{\"type\":\"pid\"}", "{\"type\":\"user\"}", "linux.uidMappings: a new user namespace needs some");
	refused_edit("\"args\":[\"sh\",\"-c\",\"\\u00e9\\ud83d\\ude00\"]", "\"args\":[]", "process.args: at least one is needed");
	refused_edit("\"cwd\":\"/x\"", "\"cwd\":\"x\"", "process.cwd: \"x\" is not an absolute path");
	refused_edit("\"A=b\"", "\"A\"", "process.env[0]: \"A\" is not NAME=VALUE");
	refused_edit("\"A=b\"", "\"=b\"", "process.env[0]: \"=b\" is not NAME=VALUE");
	refused_edit("\"soft\":9223372036854775809,\"hard\":18446744073709551615", "\"soft\":2,\"hard\":1",
		"process.rlimits[0]: soft 2 is above hard 1");
	refused_edit("\"rlimits\":[", "\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"soft\":1,\"hard\":1},",
		"process.rlimits[1].type: the limit is listed twice");
	refused_edit("{\"type\":\"pid\"}", "{\"type\":\"pid\"},{\"type\":\"pid\"}", "linux.namespaces[1]: the pid namespace is listed twice");
	refused_edit("\"path\":\"/n\"", "\"path\":\"n\"", "linux.namespaces[1]: path \"n\" is not absolute");
	refused_edit("{\"type\":\"uts\"}", "{\"type\":\"cgroup\"}", "hostname: needs a uts namespace");
	refused_edit("\"/m\"", "\"m\"", "linux.maskedPaths[0]: \"m\" is not an absolute path");
	refused_edit("\"/r\"", "\"r\"", "linux.readonlyPaths[0]: \"r\" is not an absolute path");
	refused_edit("\"path\":\"/dev/f\"", "\"path\":\"dev/f\"", "linux.devices[0].path: \"dev/f\" is not an absolute path");
	refused_edit("\"minor\":229,", "", "linux.devices[0]: a device needs major and minor");
	refused_edit("\"access\":\"r\"", "\"access\":\"x\"", "linux.resources.devices[1].access: \"x\" is not made of r, w and m");
	refused_edit("memory.high", "../x", "linux.resources.unified: \"../x\" is not the name of a cgroup file");
	refused_edit("\"/a/b\"", "\"/a/../b\"", "linux.cgroupsPath: \"/a/../b\" contains \"..\"");
	refused_edit("\"a.b\"", "\"\"", "annotations: a key is empty");
	refused_edit("\"1.2.0\"", "\"2.0.0\"", "ociVersion: 2.0.0 is not supported");
	refused_edit("\"1.2.0\"", "\"one\"", "ociVersion: \"one\" is not a version");
	refused_edit("\"path\":\"rootfs\",", "", "root.path: required, but absent");
	refused_edit("\"names\":[\"clone\"]", "\"names\":[]", "linux.seccomp.syscalls[1]: names is empty");
	refused_edit("\"action\":\"SCMP_ACT_ALLOW\"", "\"action\":\"SCMP_ACT_ALLOW\",\"errnoRet\":1",
		"linux.seccomp.syscalls[0]: an errno is given");
	refused_edit("\"action\":\"SCMP_ACT_ALLOW\"", "\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":4096",
		"linux.seccomp.syscalls[0]: the errno is 4096");
	refused_edit("\"action\":\"SCMP_ACT_ALLOW\"", "\"action\":\"SCMP_ACT_TRACE\",\"errnoRet\":65536", "linux.seccomp.syscalls[0].errnoRet");
	accepted_edit("\"action\":\"SCMP_ACT_ALLOW\"", "\"action\":\"SCMP_ACT_TRACE\",\"errnoRet\":65535");
	accepted_edit("\"1.2.0\"", "\"1.0.2-dev\"");
	accepted_edit("\"names\":[\"clone\"]", "\"names\":[\"no_such_call\"]");
}

static void sysctls(void)
{
	refused_edit("net.ipv4.ip_forward", "vm.swappiness", "linux.sysctl: vm.swappiness is not in any namespace");
	refused_edit("net.ipv4.ip_forward", "kernel.core_pattern", "linux.sysctl: kernel.core_pattern is not in any namespace");
	refused_edit("net.ipv4.ip_forward", "net/../kernel/core_pattern", "is not a sysctl key");
	refused_edit("net.ipv4.ip_forward", "net.ipv4.//.//.x", "is not a sysctl key");
	refused_edit("net.ipv4.ip_forward", "network.x", "linux.sysctl: network.x is not in any namespace");
	refused_edit("{\"type\":\"ipc\"}", "{\"type\":\"cgroup\"}", "linux.sysctl: kernel/shmmax needs the container's own ipc namespace");
	refused_edit("\"path\":\"/n\"", "\"path\":\"/proc/self/ns/net\"",
		"linux.sysctl: net.ipv4.ip_forward needs the container's own network namespace");
	refused_edit("net.ipv4.ip_forward", "kernel.hostname", "linux.sysctl: kernel.hostname contradicts hostname");
	accepted_edit("net.ipv4.ip_forward", "fs.mqueue.msg_max");
}

static void bad_json(void)
{
	check_refused("", "config.json: line 1, column 1: ");
	check_refused("{} {}", "trailing garbage");
	check_refused("{\"a\":1,}", "parse error");
	check_refused("{\"a\":\n  nul}", "line 2");
	check_refused("{\"a\":1,\"b\":{\"c\":1,\"c\":2}}", "a key occurs twice in one object: c");
	check_refused("{\"a\":01}", "line 1");
	check_refused("{\"a\":\"\\u0000\"}", "a string contains a NUL character");
	check_refused("{\"a\":\"\xff\"}", "line 1");
	check_refused("{\"a\":\"\xc0\xaf\"}", "line 1");
	check_refused("{\"a\":\"\xed\xa0\x80\"}", "line 1");
	check_refused("{\"\xed\xa0\x80\":1}", "line 1");
	check_refused("{\"a\":\"\\ud800\"}", "a \\u escape is half a surrogate pair");
	check_refused("{\"a\":\"\\udc00\\ud800\"}", "a \\u escape is half a surrogate pair");
	check_refused("// comment\n{}", "line 1");
}

static void limits(void)
{
	size_t n = JSON_MAX_SIZE + 1;
	autofree char *huge = mem_alloc(n + 1);
	char deep[512] = "{\"x\":";
	struct spec *s;

	memset(huge, ' ', n);
	huge[n] = '\0';
	check_refused(huge, "larger than 16 MiB");
	memset(deep + 5, '[', 100);
	memset(deep + 105, ']', 100);
	strcpy(deep + 205, "}");
	check_refused(deep, "nested too deeply");
	memset(huge, '[', n);
	huge[JSON_MAX_SIZE - 1] = '\0';
	check_refused(huge, "nested too deeply");
	CHECK_EQ(spec_load("/nonexistent", NULL, &s), -ENOENT);
}

/* A million different keys take no quadratic time. */
static void many_keys(void)
{
	struct arena arena = { 0 };
	struct json *top;
	size_t at = 0, n = 1000000;
	autofree char *text = mem_alloc(n * 12 + 3);

	text[at++] = '{';
	for (size_t i = 0; i < n; i++)
		at += (size_t)sprintf(text + at, "%s\"%zx\":1", i ? "," : "", i);
	text[at++] = '}';
	CHECK_OK(json_parse(&arena, "many", text, at, &top));
	CHECK_EQ(top->n, n);
	arena_done(&arena);
}

/* A copy of exactly the bytes, so that a sanitizer sees every step beyond them. */
static void truncated(void)
{
	for (size_t n = 0; n < sizeof sample - 1; n++) {
		autofree char *copy = mem_dup(sample, n);
		struct spec *s = NULL;
		err_clear();
		if (spec_parse("/b", NULL, copy, n, &s) >= 0)
			test_failed(__FILE__, __LINE__, "accepted when cut at %zu", n);
		CHECK(err_count() > 0);
	}
}

/* Every byte in turn replaced by others: no crash, and an error always explained. */
static void mutated(void)
{
	static const char others[] = "\"{}[],:0-.eEtn\\\x80\xff x";

	log_set_level(LOG_LEVEL_ERROR);
	for (size_t i = 0; i < sizeof sample - 1; i++) {
		autofree char *copy = mem_dup(sample, sizeof sample - 1);
		for (size_t k = 0; k < sizeof others; k++) {
			struct spec *s = NULL;
			copy[i] = others[k];
			err_clear();
			if (spec_parse("/b", NULL, copy, sizeof sample - 1, &s) < 0)
				CHECK(err_count() > 0);
			spec_free(s);
		}
	}
}

const struct test tests[] = {
	TEST(wrong_types), TEST(wrong_ranges), TEST(unknown_values), TEST(not_done), TEST(not_done_process), TEST(rules),
	TEST(sysctls), TEST(bad_json), TEST(limits), TEST(many_keys), TEST(truncated), TEST(mutated), {},
};
