/* SPDX-License-Identifier: Apache-2.0 */
/* The reader of config.json: what it takes (what it refuses: spec_refused.c), the tables of names, and the writer of JSON. */
#include <errno.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spec/json.h"
#include "unit/spec_sample.h"

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
	TEST(whole_process), TEST(whole_top), TEST(whole_resources), TEST(whole_seccomp), TEST(number_lists), TEST(sysctl_paths),
	TEST(process_alone), TEST(loads_bundle), TEST(capabilities), TEST(namespaces), TEST(writer), {},
};
