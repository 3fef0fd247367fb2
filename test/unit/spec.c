/* SPDX-License-Identifier: Apache-2.0 */
/* The reader of config.json: what it takes, and each way to be wrong. */
#include "spec/spec.h"

#include <errno.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/str.h"
#include "harness.h"
#include "spec/json.h"

/* Every property that is read. */
static const char sample[] =
	"{\"ociVersion\":\"1.2.0\",\"hostname\":\"h\",\"domainname\":\"d\",\"root\":{\"path\":\"rootfs\",\"readonly\":true},"
	"\"process\":{\"args\":[\"sh\",\"-c\",\"\\u00e9\\ud83d\\ude00\"],\"env\":[\"A=b\",\"B=\"],\"cwd\":\"/x\",\"terminal\":false,"
	"\"user\":{\"uid\":1,\"gid\":2,\"umask\":18,\"additionalGids\":[3,4294967295]},\"noNewPrivileges\":true,\"oomScoreAdj\":-7,"
	"\"capabilities\":{\"bounding\":[\"CAP_CHOWN\",\"CAP_KILL\"],\"ambient\":[]},"
	"\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"soft\":9223372036854775809,\"hard\":18446744073709551615}]},"
	"\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\",\"options\":[\"ro\",\"nosuid\"]},"
	"{\"destination\":\"/d\"}],"
	"\"annotations\":{\"a.b\":\"c\"},\"hooks\":{},\"unknown\":{\"x\":[1,2.5e3,null,true]},"
	"\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"network\",\"path\":\"/n\"},{\"type\":\"mount\"},"
	"{\"type\":\"uts\"},{\"type\":\"ipc\"}],"
	"\"devices\":[{\"path\":\"/dev/f\",\"type\":\"u\",\"major\":10,\"minor\":229,\"fileMode\":8630,\"uid\":5}],"
	"\"resources\":{\"devices\":[{\"allow\":false,\"access\":\"rwm\"},{\"allow\":true,\"type\":\"c\",\"major\":1,\"minor\":-1,\"access\":\"r\"}],"
	"\"memory\":{\"limit\":-1,\"swap\":9223372036854775807,\"swappiness\":60,\"disableOOMKiller\":false,\"kernel\":0},"
	"\"pids\":{\"limit\":-9223372036854775808},\"cpu\":{\"shares\":2,\"quota\":-1,\"period\":100000,\"idle\":0,\"cpus\":\"0-1\",\"mems\":\"0\"},"
	"\"unified\":{\"memory.high\":\"1\"},\"blockIO\":{\"weight\":0},\"hugepageLimits\":[],\"network\":{}},"
	"\"cgroupsPath\":\"/a/b\",\"rootfsPropagation\":\"rslave\",\"sysctl\":{\"net.ipv4.ip_forward\":\"1\",\"kernel/shmmax\":\"1\"},"
	"\"maskedPaths\":[\"/m\"],\"readonlyPaths\":[\"/r\"],\"personality\":{\"domain\":\"LINUX\"},"
	"\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":38,\"architectures\":[\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_X86\"],"
	"\"flags\":[\"SECCOMP_FILTER_FLAG_LOG\"],\"syscalls\":[{\"names\":[\"read\",\"write\"],\"action\":\"SCMP_ACT_ALLOW\"},"
	"{\"names\":[\"clone\"],\"action\":\"SCMP_ACT_ERRNO\",\"args\":[{\"index\":0,\"value\":18446744073709551615,\"valueTwo\":1,"
	"\"op\":\"SCMP_CMP_MASKED_EQ\"}]}]}}}";

static int parse(const char *text, struct spec **s)
{
	err_clear();
	return spec_parse("/bundle/", NULL, text, strlen(text), s);
}

static struct spec *good(const char *text)
{
	struct spec *s;

	CHECK_OK(parse(text, &s));
	return s;
}

/* The sample with one text in it replaced by another. */
static char *edited(const char *from, const char *to)
{
	const char *at = strstr(sample, from);

	if (!at)
		test_failed(__FILE__, __LINE__, "the sample has no %s", from);
	return str_printf("%.*s%s%s", (int)(at - sample), sample, to, at + strlen(from));
}

static void check_refused(const char *text, const char *message)
{
	struct spec *s = NULL;
	int r = parse(text, &s);

	if (r >= 0)
		test_failed(__FILE__, __LINE__, "accepted, expected: %s", message);
	CHECK(!s);
	CHECK(err_count() > 0);
	CHECK_HAS(err_line(0), message);
}

static void refused_edit(const char *from, const char *to, const char *message)
{
	autofree char *text = edited(from, to);
	check_refused(text, message);
}

static void accepted_edit(const char *from, const char *to)
{
	autofree char *text = edited(from, to);
	spec_free(good(text));
}

static void whole_process(void)
{
	struct spec *s = good(sample);
	const struct spec_process *p = &s->process;

	CHECK_EQ(p->args.n, 3);
	CHECK_STR(p->args.data[2], "\xc3\xa9\xf0\x9f\x98\x80");
	CHECK(!p->args.data[3]);
	CHECK_STR(p->env.data[1], "B=");
	CHECK_STR(p->cwd, "/x");
	CHECK_EQ(p->uid, 1);
	CHECK_EQ(p->gid, 2);
	CHECK(p->has_umask);
	CHECK_EQ(p->umask, 022);
	CHECK_EQ(p->n_additional_gids, 2);
	CHECK(p->additional_gids[1] == UINT32_MAX);
	CHECK(p->no_new_privileges && p->has_oom_score_adj && !p->has_console_size);
	CHECK_EQ(p->oom_score_adj, -7);
	CHECK(p->capabilities.present);
	CHECK(p->capabilities.bounding == (1u << CAP_CHOWN | 1u << CAP_KILL));
	CHECK_EQ(p->capabilities.effective, 0);
	CHECK_EQ(p->rlimits[0].resource, RLIMIT_NOFILE);
	CHECK(p->rlimits[0].soft == UINT64_C(9223372036854775809) && p->rlimits[0].hard == UINT64_MAX);
	spec_free(s);
}

static void whole_top(void)
{
	struct spec *s = good(sample);

	CHECK_STR(s->oci_version, "1.2.0");
	CHECK_STR(s->bundle, "/bundle");
	CHECK_STR(s->root_path, "/bundle/rootfs");
	CHECK(s->root_readonly && s->has_root && s->has_process);
	CHECK_STR(s->hostname, "h");
	CHECK_STR(s->domainname, "d");
	CHECK_EQ(s->n_mounts, 2);
	CHECK_STR(s->mounts[0].options.data[1], "nosuid");
	CHECK(!s->mounts[1].type && s->mounts[1].options.n == 0);
	CHECK_STR(s->annotations.data[0].value, "c");
	CHECK_STR(s->cgroups_path, "/a/b");
	CHECK_STR(s->rootfs_propagation, "rslave");
	CHECK_EQ(s->sysctl.n, 2);
	CHECK_STR(s->masked_paths.data[0], "/m");
	CHECK(s->namespaces[NS_PID].wanted && !s->namespaces[NS_PID].path && !s->namespaces[NS_USER].wanted);
	CHECK_STR(s->namespaces[NS_NETWORK].path, "/n");
	CHECK_EQ(s->devices[0].type, 'c');
	CHECK_EQ(s->devices[0].mode, 8630);
	CHECK_EQ(s->devices[0].uid, 5);
	spec_free(s);
}

static void whole_resources(void)
{
	struct spec *s = good(sample);
	const struct spec_resources *r = &s->resources;

	CHECK_EQ(r->n_devices, 2);
	CHECK(!r->devices[0].allow && r->devices[0].type == 'a' && r->devices[0].major == -1);
	CHECK(r->devices[1].allow && r->devices[1].type == 'c' && r->devices[1].major == 1 && r->devices[1].minor == -1);
	CHECK(r->has_memory_limit && r->memory_limit == -1 && !r->has_memory_reservation);
	CHECK(r->has_memory_swap && r->memory_swap == INT64_MAX);
	CHECK(r->has_swappiness && r->swappiness == 60 && r->has_disable_oom_killer && !r->disable_oom_killer);
	CHECK(r->has_pids_limit && r->pids_limit == INT64_MIN);
	CHECK(r->has_cpu_shares && r->cpu_shares == 2 && r->cpu_quota == -1 && r->cpu_period == 100000 && r->has_cpu_idle);
	CHECK(!r->has_cpu_burst);
	CHECK_STR(r->cpuset_cpus, "0-1");
	CHECK_STR(r->unified.data[0].key, "memory.high");
	CHECK(!r->has_memory_kernel && !r->has_block_weight && !r->n_hugepages && !r->has_class_id);   /* zeroes ask for nothing */
	spec_free(s);
	refused_edit("\"weight\":0", "\"weight\":65536", "linux.resources.blockIO.weight: 65536 is out of range");
	refused_edit("\"hugepageLimits\":[]", "\"hugepageLimits\":[{\"pageSize\":\"../x\",\"limit\":0}]",
		"linux.resources.hugepageLimits[0].pageSize: \"../x\" is not a size");
	refused_edit("\"network\":{}", "\"network\":{\"priorities\":[{\"name\":\"a b\",\"priority\":1}]}",
		"linux.resources.network.priorities[0].name");
	refused_edit("\"network\":{}", "\"rdma\":{\"a b\":{}}", "linux.resources.rdma: \"a b\"");
}

static void whole_seccomp(void)
{
	struct spec *s = good(sample);
	const struct spec_seccomp *f = &s->seccomp;

	CHECK(f->present);
	CHECK(f->default_action == SCMP_ACT_ERRNO(38));
	CHECK(f->n_architectures == 2 && f->architectures[0] == SCMP_ARCH_X86_64 && f->architectures[1] == SCMP_ARCH_X86);
	CHECK_EQ(f->flags, 2);
	CHECK_EQ(f->n_rules, 2);
	CHECK_EQ(f->rules[0].names.n, 2);
	CHECK(f->rules[0].action == SCMP_ACT_ALLOW);
	CHECK(f->rules[1].action == SCMP_ACT_ERRNO(EPERM));
	CHECK_EQ(f->rules[1].n_args, 1);
	CHECK(f->rules[1].args[0].value == UINT64_MAX && f->rules[1].args[0].value_two == 1);
	CHECK_EQ(f->rules[1].args[0].op, SCMP_CMP_MASKED_EQ);
	spec_free(s);
}

static void wrong_types(void)
{
	refused_edit("\"limit\":-9223372036854775808", "\"limit\":\"many\"",
		"config.json: linux.resources.pids.limit: expected an integer, found a string");
	refused_edit("\"limit\":-9223372036854775808", "\"limit\":1.0", "linux.resources.pids.limit: expected an integer, found 1.0");
	refused_edit("\"limit\":-9223372036854775808", "\"limit\":1e3", "linux.resources.pids.limit: expected an integer, found 1e3");
	refused_edit("\"limit\":-9223372036854775808", "\"other\":1", "linux.resources.pids.limit: required, but absent");
	refused_edit("\"args\":[\"sh\",", "\"args\":[5,", "process.args[0]: expected a string, found a number");
	refused_edit("\"path\":\"rootfs\"", "\"path\":true", "root.path: expected a string, found a boolean");
	refused_edit("\"mounts\":[", "\"mounts\":[[],", "mounts[0]: expected an object, found an array");
	refused_edit("\"options\":[\"ro\"", "\"options\":[{}", "mounts[0].options[0]: expected a string, found an object");
	refused_edit("\"annotations\":{", "\"annotations\":{\"n\":1,", "annotations.n: expected a string, found a number");
	refused_edit("\"readonly\":true", "\"readonly\":1", "root.readonly: expected a boolean, found a number");
	refused_edit("\"linux\":{", "\"linux\":[],\"x\":{", "linux: expected an object, found an array");
	check_refused("[]", "config.json: expected an object, found an array");
	check_refused("3", "config.json: expected an object, found a number");
}

static void wrong_ranges(void)
{
	refused_edit("-9223372036854775808", "-9223372036854775809", "linux.resources.pids.limit: -9223372036854775809 is out of range");
	refused_edit("-9223372036854775808", "9223372036854775808", "linux.resources.pids.limit: 9223372036854775808 is out of range");
	refused_edit("\"uid\":1", "\"uid\":4294967296", "process.user.uid: 4294967296 is out of range");
	refused_edit("\"uid\":1", "\"uid\":-1", "process.user.uid: -1 is out of range");
	refused_edit("4294967295]", "4294967296]", "process.user.additionalGids[1]: 4294967296 is out of range");
	refused_edit("18446744073709551615}]}", "18446744073709551616}]}", "process.rlimits[0].hard: 18446744073709551616 is out of range");
	refused_edit("\"oomScoreAdj\":-7", "\"oomScoreAdj\":-1001", "process.oomScoreAdj: -1001 is out of range (-1000 to 1000)");
	refused_edit("\"umask\":18", "\"umask\":512", "process.user.umask: 512 is out of range");
	refused_edit("\"swappiness\":60", "\"swappiness\":101", "linux.resources.memory.swappiness: 101 is out of range");
	refused_edit("\"index\":0", "\"index\":6", "linux.seccomp.syscalls[1].args[0].index: 6 is out of range");
	accepted_edit("\"oomScoreAdj\":-7", "\"oomScoreAdj\":-1000");
	accepted_edit("\"uid\":1", "\"uid\":-0");
}

static void unknown_values(void)
{
	refused_edit("RLIMIT_NOFILE", "RLIMIT_FUN", "process.rlimits[0].type: unknown value \"RLIMIT_FUN\" (known: RLIMIT_AS");
	refused_edit("{\"type\":\"pid\"}", "{\"type\":\"dip\"}", "linux.namespaces[0].type: unknown value \"dip\" (known: mount, pid");
	refused_edit("\"type\":\"u\"", "\"type\":\"x\"", "linux.devices[0].type: unknown value \"x\" (known: b, c, u, p)");
	refused_edit("SCMP_ACT_ALLOW", "SCMP_ACT_SOME", "linux.seccomp.syscalls[0].action: unknown value \"SCMP_ACT_SOME\"");
	refused_edit("SCMP_CMP_MASKED_EQ", "SCMP_CMP_X", "linux.seccomp.syscalls[1].args[0].op: unknown value \"SCMP_CMP_X\"");
	refused_edit("SCMP_ARCH_X86\"", "SCMP_ARCH_PDP11\"", "linux.seccomp.architectures[1]: unknown value \"SCMP_ARCH_PDP11\"");
	refused_edit("FLAG_LOG", "FLAG_WOOD", "linux.seccomp.flags[0]: unknown value \"SECCOMP_FILTER_FLAG_WOOD\"");
	refused_edit("\"rslave\"", "\"master\"", "linux.rootfsPropagation: unknown value \"master\"");
	refused_edit("\"LINUX\"", "\"IRIX\"", "linux.personality.domain: unknown value \"IRIX\"");
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

static void number_lists(void)
{
	unsigned long bits[2];

	CHECK_OK(spec_number_list("0-2, 5 ,127", bits, 2));
	CHECK_EQ(bits[0], 0x27);
	CHECK_EQ(bits[1], 1ul << 63);
	CHECK_OK(spec_number_list("", bits, 2));
	CHECK_EQ(bits[0] | bits[1], 0);
	CHECK_EQ(spec_number_list("128", bits, 2), -ERANGE);
	CHECK_EQ(spec_number_list("99999999999999999999999", bits, 2), -ERANGE);
	for (const char *const *bad = (const char *const[]){ "1,", ",1", "-1", "1-", "2-1", "a", "1;2", "1 2", NULL }; *bad; bad++)
		CHECK_EQ(spec_number_list(*bad, bits, 2), -EINVAL);
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

static void sysctl_paths(void)
{
	char path[64];

	CHECK_EQ(spec_sysctl_path("net.ipv4.conf.eth0/100.x", path, sizeof path), 0);
	CHECK_STR(path, "net/ipv4/conf/eth0.100/x");
	CHECK_EQ(spec_sysctl_path("net/ipv4/conf/eth0.100/x", path, sizeof path), 0);
	CHECK_STR(path, "net/ipv4/conf/eth0.100/x");
	CHECK_EQ(spec_sysctl_path("", path, sizeof path), -EINVAL);
	CHECK_EQ(spec_sysctl_path("/etc", path, sizeof path), -EINVAL);
	CHECK_EQ(spec_sysctl_path("net..x", path, sizeof path), -EINVAL);
	CHECK_EQ(spec_sysctl_path("net.", path, sizeof path), -EINVAL);
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

static void process_alone(void)
{
	static const char text[] = "{\"args\":[\"id\"],\"cwd\":\"/\",\"user\":{\"uid\":7}}";
	static const char bad[] = "{\"args\":[\"id\"],\"cwd\":\"tmp\"}";
	struct arena arena = { 0 };
	struct spec_process p;

	CHECK_OK(spec_process_parse(&arena, "process.json", text, strlen(text), &p));
	CHECK_EQ(p.uid, 7);
	CHECK_STR(p.args.data[0], "id");
	CHECK_EQ(spec_process_parse(&arena, "process.json", bad, strlen(bad), &p), -EINVAL);
	CHECK_STR(err_line(0), "process.json: cwd: \"tmp\" is not an absolute path");
	arena_done(&arena);
}

static void loads_bundle(void)
{
	autofree char *bundle = str_printf("%s/link/", test_dir()), *real = str_printf("%s/bundle", test_dir());
	autofree char *link = str_printf("%s/link", test_dir()), *file = str_printf("%s/config.json", real);
	autofree char *rootfs = str_printf("%s/rootfs", real);
	struct spec *s;

	CHECK(mkdir(real, 0700) == 0 && mkdir(rootfs, 0700) == 0 && symlink("bundle", link) == 0);
	FILE *f = fopen(file, "w");
	CHECK(f && fputs(sample, f) >= 0 && fclose(f) == 0);
	CHECK_OK(spec_load(bundle, NULL, &s));
	CHECK(str_ends(s->bundle, "/bundle"));
	CHECK(str_ends(s->root_path, "/bundle/rootfs"));
	CHECK_EQ(s->text_size, sizeof sample - 1);
	spec_free(s);
}

static void capabilities(void)
{
	CHECK_EQ(spec_capability("CAP_CHOWN"), CAP_CHOWN);
	CHECK_EQ(spec_capability("cap_kill"), CAP_KILL);
	CHECK_EQ(spec_capability("Net_Admin"), CAP_NET_ADMIN);
	CHECK_EQ(spec_capability("CAP_NONE_SUCH"), -EINVAL);
	CHECK_EQ(spec_capability(""), -EINVAL);
	CHECK_EQ(spec_capability("5"), -EINVAL);
	CHECK_EQ(spec_capability("CAP_5"), -EINVAL);
	accepted_edit("CAP_KILL", "CAP_OF_THE_FUTURE");
}

static void namespaces(void)
{
	for (int k = 0; k < NS_KINDS; k++) {
		autofree char *path = str_printf("/proc/self/ns/%s", spec_namespaces[k].proc);
		CHECK(spec_namespaces[k].spec && spec_namespaces[k].clone_flag);
		CHECK(access(path, F_OK) == 0);
	}
	CHECK(spec_namespaces[NS_MOUNT].clone_flag == CLONE_NEWNS);
}

static void writer(void)
{
	struct json_out o = { 0 };

	json_open_object(&o, NULL);
	json_add_string(&o, "a\"", "\n\xff");
	json_add_string(&o, "none", NULL);
	json_add_i64(&o, "i", INT64_MIN);
	json_add_u64(&o, "u", UINT64_MAX);
	json_open_array(&o, "l");
	json_add_bool(&o, NULL, true);
	json_open_object(&o, NULL);
	json_close_object(&o);
	json_close_array(&o);
	json_close_object(&o);
	autofree char *text = json_take(&o);
	CHECK_STR(text, "{\"a\\\"\":\"\\u000a\xef\xbf\xbd\",\"i\":-9223372036854775808,\"u\":18446744073709551615,\"l\":[true,{}]}");
}

const struct test tests[] = {
	TEST(whole_process), TEST(whole_top), TEST(whole_resources), TEST(whole_seccomp), TEST(wrong_types), TEST(wrong_ranges),
	TEST(unknown_values), TEST(not_done), TEST(not_done_process), TEST(number_lists), TEST(rules), TEST(sysctls), TEST(sysctl_paths), TEST(bad_json),
	TEST(limits), TEST(many_keys), TEST(truncated), TEST(mutated), TEST(process_alone), TEST(loads_bundle), TEST(capabilities),
	TEST(namespaces), TEST(writer), {},
};
