/* SPDX-License-Identifier: Apache-2.0 */
/* Limits: what is written where, for every resource of the specification, on cgroup v1 and v2. The groups are folders of ordinary files:
 * every controller is here, whatever this machine has. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "cgroup/internal.h"
#include "harness.h"

static struct arena arena;
static struct spec_pair group;
static struct spec_pairs groups = { &group, 1 };

/* One folder stands for all controllers; it has the files that are named. */
static void make_group(const char *controllers, const char *files)
{
	static unsigned number;
	char path[PATH_MAX];

	group.key = arena_str(&arena, controllers);
	group.value = arena_printf(&arena, "%s/group%u", test_dir(), number++);
	CHECK(mkdir(group.value, 0755) == 0);
	autofree char *list = str_dup(files);
	for (char *save, *file = strtok_r(list, " ", &save); file; file = strtok_r(NULL, " ", &save)) {
		snprintf(path, sizeof path, "%s/%s", group.value, file);
		CHECK(mknod(path, S_IFREG | 0600, 0) == 0);
		if (!strcmp(file, "devices.list"))   /* a new group allows everything */
			CHECK(file_write(AT_FDCWD, path, "a *:* rwm\n") == 0);
	}
}

static int apply(const char *json)
{
	struct spec_resources r;

	err_clear();
	CHECK_OK(spec_resources_parse(&arena, "resources", json, strlen(json), &r));
	int done = cgroup_apply_devices(&groups, &r);
	return done < 0 ? done : cgroup_apply(&groups, &r, NULL);
}

static void written(const char *json, const char *file, const char *value)
{
	char path[PATH_MAX];
	autofree char *text = NULL;

	make_group(group.key, file);
	snprintf(path, sizeof path, "%s/%.*s", group.value, (int)strcspn(file, " "), file);
	if (apply(json) < 0 || file_read(AT_FDCWD, path, &text, 4096) < 0)
		test_failed(__FILE__, __LINE__, "%s: %s", json, err_line(0) ? err_line(0) : "no file");
	CHECK_STR(text, value);
}

/* What of a resource is written into the first of these files. */
struct row {
	const char *json, *file, *value;
};
static void all_written(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		written(rows[i].json, rows[i].file, rows[i].value);
}

static void refused(const char *json, const char *property)
{
	make_group(group.key, "");
	CHECK_EQ(apply(json), -EOPNOTSUPP);
	CHECK_HAS(err_line(0), property);
}

#define MEMORY(rest) "{\"memory\":{" rest "}}"
#define CPU(rest) "{\"cpu\":{" rest "}}"
#define BLOCK(rest) "{\"blockIO\":{" rest "}}"
#define DEVICE "\"major\":8,\"minor\":16,"

static const struct row written_v1[] = {
	{ MEMORY("\"limit\":4096,\"useHierarchy\":true"), "memory.limit_in_bytes", "4096" },
	{ MEMORY("\"limit\":-1"), "memory.limit_in_bytes", "-1" },
	{ MEMORY("\"limit\":-1"), "memory.memsw.limit_in_bytes memory.limit_in_bytes", "-1" },
	{ MEMORY("\"swap\":8192"), "memory.memsw.limit_in_bytes", "8192" },
	{ MEMORY("\"reservation\":1"), "memory.soft_limit_in_bytes", "1" },
	{ MEMORY("\"kernel\":5"), "memory.kmem.limit_in_bytes", "5" },
	{ MEMORY("\"kernelTCP\":6"), "memory.kmem.tcp.limit_in_bytes", "6" },
	{ MEMORY("\"swappiness\":0"), "memory.swappiness", "0" },
	{ MEMORY("\"disableOOMKiller\":true"), "memory.oom_control", "1" },
	{ "{\"pids\":{\"limit\":0}}", "pids.max", "max" },
	{ "{\"pids\":{\"limit\":9}}", "pids.max", "9" },
	{ CPU("\"shares\":3"), "cpu.shares", "3" },
	{ CPU("\"quota\":-1"), "cpu.cfs_quota_us", "-1" },
	{ CPU("\"period\":1000"), "cpu.cfs_period_us", "1000" },
	{ CPU("\"burst\":7"), "cpu.cfs_burst_us", "7" },
	{ CPU("\"idle\":1"), "cpu.idle", "1" },
	{ CPU("\"realtimePeriod\":11"), "cpu.rt_period_us", "11" },
	{ CPU("\"realtimeRuntime\":12"), "cpu.rt_runtime_us", "12" },
	{ CPU("\"cpus\":\"0-1\""), "cpuset.cpus", "0-1" },
	{ CPU("\"mems\":\"0\""), "cpuset.mems", "0" },
	{ BLOCK("\"weight\":10"), "blkio.weight", "10" },
	{ BLOCK("\"weight\":10"), "blkio.bfq.weight", "10" },
	{ BLOCK("\"leafWeight\":20"), "blkio.leaf_weight", "20" },
	{ BLOCK("\"weightDevice\":[{" DEVICE "\"weight\":30}]"), "blkio.weight_device", "8:16 30" },
	{ BLOCK("\"weightDevice\":[{" DEVICE "\"weight\":30}]"), "blkio.bfq.weight_device", "8:16 30" },
	{ BLOCK("\"weightDevice\":[{" DEVICE "\"leafWeight\":40}]"), "blkio.leaf_weight_device", "8:16 40" },
	{ BLOCK("\"throttleReadBpsDevice\":[{" DEVICE "\"rate\":1}]"), "blkio.throttle.read_bps_device", "8:16 1" },
	{ BLOCK("\"throttleWriteBpsDevice\":[{" DEVICE "\"rate\":2}]"), "blkio.throttle.write_bps_device", "8:16 2" },
	{ BLOCK("\"throttleReadIOPSDevice\":[{" DEVICE "\"rate\":3}]"), "blkio.throttle.read_iops_device", "8:16 3" },
	{ BLOCK("\"throttleWriteIOPSDevice\":[{" DEVICE "\"rate\":4}]"), "blkio.throttle.write_iops_device", "8:16 4" },
	{ "{\"hugepageLimits\":[{\"pageSize\":\"2MB\",\"limit\":0}]}", "hugetlb.2MB.limit_in_bytes", "0" },
	{ "{\"hugepageLimits\":[{\"pageSize\":\"2MB\",\"limit\":5}]}", "hugetlb.2MB.rsvd.limit_in_bytes hugetlb.2MB.limit_in_bytes", "5" },
	{ "{\"network\":{\"classID\":1048577}}", "net_cls.classid", "1048577" },
	{ "{\"network\":{\"priorities\":[{\"name\":\"eth0\",\"priority\":500}]}}", "net_prio.ifpriomap", "eth0 500" },
	{ "{\"rdma\":{\"mlx4_0\":{\"hcaHandles\":3,\"hcaObjects\":4}}}", "rdma.max", "mlx4_0 hca_handle=3 hca_object=4" },
	{ "{\"rdma\":{\"mlx4_0\":{\"hcaObjects\":4}}}", "rdma.max", "mlx4_0 hca_handle=max hca_object=4" },
	{ "{\"devices\":[{\"allow\":true,\"type\":\"c\",\"major\":5,\"minor\":1,\"access\":\"r\"}]}", "devices.deny devices.allow devices.list", "a" },
};

static void v1(void)
{
	group.key = arena_str(&arena, "memory,cpu,cpuset,blkio,pids,hugetlb,rdma,net_cls,net_prio,devices");
	all_written(written_v1, sizeof written_v1 / sizeof *written_v1);
	refused(CPU("\"realtimePeriod\":11"), "linux.resources.cpu.realtimePeriod: there is no ");
	refused("{\"unified\":{\"memory.high\":\"1\"}}", "linux.resources.unified");
	group.key = arena_str(&arena, "memory");
	refused("{\"rdma\":{\"a\":{}}}", "linux.resources.rdma: this machine has no cgroup controller \"rdma\"");
	refused("{\"hugepageLimits\":[{\"pageSize\":\"2MB\",\"limit\":0}]}", "linux.resources.hugepageLimits[0]: this machine");
	refused("{\"network\":{\"classID\":1}}", "linux.resources.network.classID");
}

static const struct row written_v2[] = {
	{ MEMORY("\"limit\":4096"), "memory.max", "4096" },
	{ MEMORY("\"limit\":-1"), "memory.max", "max" },
	{ MEMORY("\"limit\":-1"), "memory.swap.max memory.max", "max" },
	{ MEMORY("\"limit\":4096,\"swap\":8192"), "memory.swap.max memory.max", "4096" },
	{ MEMORY("\"limit\":4096,\"swap\":4096"), "memory.max", "4096" },
	{ MEMORY("\"swap\":-1"), "memory.swap.max", "max" },
	{ MEMORY("\"reservation\":1"), "memory.low", "1" },
	{ "{\"pids\":{\"limit\":-1}}", "pids.max", "max" },
	{ CPU("\"shares\":1024"), "cpu.weight", "100" },
	{ CPU("\"quota\":5000"), "cpu.max", "5000" },
	{ CPU("\"quota\":-1,\"period\":10000"), "cpu.max", "max 10000" },
	{ CPU("\"burst\":7"), "cpu.max.burst", "7" },
	{ CPU("\"idle\":1,\"shares\":5"), "cpu.idle", "1" },
	{ CPU("\"cpus\":\"0-1\""), "cpuset.cpus", "0-1" },
	{ CPU("\"mems\":\"0\""), "cpuset.mems", "0" },
	{ BLOCK("\"weight\":10"), "io.weight", "1" },
	{ BLOCK("\"weight\":1000"), "io.weight", "10000" },
	{ BLOCK("\"weight\":300"), "io.bfq.weight", "300" },
	{ BLOCK("\"weightDevice\":[{" DEVICE "\"weight\":30}]"), "io.weight", "8:16 30" },
	{ BLOCK("\"throttleReadBpsDevice\":[{" DEVICE "\"rate\":1}]"), "io.max", "8:16 rbps=1" },
	{ BLOCK("\"throttleWriteBpsDevice\":[{" DEVICE "\"rate\":2}]"), "io.max", "8:16 wbps=2" },
	{ BLOCK("\"throttleReadIOPSDevice\":[{" DEVICE "\"rate\":0}]"), "io.max", "8:16 riops=max" },
	{ BLOCK("\"throttleWriteIOPSDevice\":[{" DEVICE "\"rate\":4}]"), "io.max", "8:16 wiops=4" },
	{ "{\"hugepageLimits\":[{\"pageSize\":\"1GB\",\"limit\":5}]}", "hugetlb.1GB.rsvd.max hugetlb.1GB.max", "5" },
	{ "{\"rdma\":{\"mlx4_0\":{\"hcaHandles\":3}}}", "rdma.max", "mlx4_0 hca_handle=3 hca_object=max" },
	{ "{\"unified\":{\"memory.high\":\"1\"}}", "memory.high", "1" },
	{ "{\"unified\":{\"memory.max\":\"2\"},\"memory\":{\"limit\":100}}", "memory.max", "200" },   /* the later write, over "100" */
};

static void v2(void)
{
	group.key = arena_str(&arena, "");
	all_written(written_v2, sizeof written_v2 / sizeof *written_v2);
	refused(MEMORY("\"swappiness\":1"), "linux.resources.memory.swappiness: cgroup v2 has no such limit");
	refused(MEMORY("\"disableOOMKiller\":true"), "linux.resources.memory.disableOOMKiller");
	refused(MEMORY("\"kernel\":1"), "linux.resources.memory.kernel:");
	refused(MEMORY("\"kernelTCP\":1"), "linux.resources.memory.kernelTCP:");
	refused(CPU("\"realtimePeriod\":1"), "linux.resources.cpu.realtimePeriod");
	refused(CPU("\"realtimeRuntime\":1"), "linux.resources.cpu.realtimeRuntime");
	refused(BLOCK("\"leafWeight\":20"), "linux.resources.blockIO.leafWeight");
	refused(BLOCK("\"weightDevice\":[{" DEVICE "\"leafWeight\":40}]"), "linux.resources.blockIO.weightDevice[0].leafWeight");
	refused("{\"network\":{\"classID\":1}}", "linux.resources.network.classID");
	refused("{\"network\":{\"priorities\":[{\"name\":\"eth0\",\"priority\":500}]}}", "linux.resources.network.priorities");
	refused(MEMORY("\"limit\":1"), "linux.resources.memory.limit: there is no ");
}

/* What is in the files already counts. */
static void relative(void)
{
	group.key = arena_str(&arena, "");
	make_group("", "memory.max memory.swap.max memory.current cpu.max");
	CHECK_OK(apply(MEMORY("\"limit\":4096")));
	CHECK_OK(apply(MEMORY("\"swap\":5096")));
	char path[PATH_MAX];
	autofree char *text = NULL;
	snprintf(path, sizeof path, "%s/memory.swap.max", group.value);
	CHECK(file_read(AT_FDCWD, path, &text, 100) > 0);
	CHECK_STR(text, "1000");
	CHECK_EQ(apply(MEMORY("\"swap\":4095")), -EINVAL);
	snprintf(path, sizeof path, "%s/memory.current", group.value);
	CHECK_OK(file_write(AT_FDCWD, path, "5000"));
	CHECK_EQ(apply(MEMORY("\"limit\":4500,\"checkBeforeUpdate\":true")), -EBUSY);
	CHECK_HAS(err_line(0), "is less than what is in use, 5000");
	CHECK_OK(apply(MEMORY("\"limit\":5500,\"checkBeforeUpdate\":true")));
	snprintf(path, sizeof path, "%s/cpu.max", group.value);
	CHECK_OK(file_write(AT_FDCWD, path, "20000 100000"));
	CHECK_OK(apply(CPU("\"period\":50000")));
	free_pointer(&text);
	CHECK(file_read(AT_FDCWD, path, &text, 100) > 0);
	CHECK(str_starts(text, "20000 50000"));
}

static void contents(const char *file, const char *value)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/%s", group.value, file);
	CHECK_OK(file_swap(AT_FDCWD, path, value, strlen(value), 0600));
}

static void still(const char *file, const char *value)
{
	char path[PATH_MAX];
	autofree char *text = NULL;

	snprintf(path, sizeof path, "%s/%s", group.value, file);
	CHECK(file_read(AT_FDCWD, path, &text, 4096) >= 0);
	CHECK_STR(text, value);
}

/* An error in the middle: what was written before it is as it was. (Ordinary files: the old text is written over the new one's beginning.) */
static void put_back(void)
{
	struct cgroup_journal before = { 0 };
	struct spec_resources r;
	const char *json = "{\"memory\":{\"limit\":8192},\"pids\":{\"limit\":50},\"cpu\":{\"idle\":1,\"burst\":5},\"rdma\":{\"a\":{\"hcaHandles\":1}}}";

	make_group("", "memory.max pids.max cpu.idle cpu.weight cpu.max.burst");
	contents("memory.max", "4096\n");
	contents("pids.max", "20\n");
	contents("cpu.idle", "0\n");
	contents("cpu.weight", "77\n");
	contents("cpu.max.burst", "0\n");
	CHECK_OK(spec_resources_parse(&arena, "resources", json, strlen(json), &r));
	CHECK_EQ(cgroup_apply(&groups, &r, &before), -EOPNOTSUPP);
	still("memory.max", "8192\n");
	still("cpu.idle", "1\n");
	contents("cpu.weight", "99\n");   /* as the kernel does it */
	cgroup_put_back(&before);
	CHECK_HAS(err_line(0), "linux.resources.rdma");
	CHECK(err_line(1) == NULL);
	still("memory.max", "4096\n");
	still("pids.max", "20\n");
	still("cpu.idle", "0\n");
	still("cpu.weight", "77\n");
	still("cpu.max.burst", "0\n");
	cgroup_journal_free(&before);
}

/* What is noted of a file before value is written into it. */
static void noted(const char *file, const char *has, const char *value, const char *old)
{
	struct cgroup_journal before = { 0 };

	make_group("", file);
	contents(file, has);
	cgroup_journal_note(&before, group.value, file, value);
	CHECK_EQ(before.list.n, 1);
	CHECK_STR(before.list.data[0].value, old);
	cgroup_journal_free(&before);
}

static void old_values(void)
{
	noted("cpu.max", "max 100000\n", "5000", "max 100000");
	noted("cpuset.cpus", "\n", "0", "");
	noted("memory.oom_control", "oom_kill_disable 1\nunder_oom 0\noom_kill 0\n", "0", "1");
	noted("io.max", "8:0 rbps=1 wbps=max riops=max wiops=max\n8:16 rbps=2 wbps=3 riops=max wiops=max\n", "8:16 rbps=7",
		"8:16 rbps=2 wbps=3 riops=max wiops=max");
	noted("io.max", "8:1 rbps=1 wbps=max riops=max wiops=max\n", "8:16 rbps=7", "8:16 rbps=max wbps=max riops=max wiops=max");
	noted("io.weight", "default 100\n8:16 50\n", "300", "default 100");
	noted("io.weight", "default 100\n8:16 50\n", "8:16 60", "8:16 50");
	noted("io.weight", "default 100\n", "8:16 60", "8:16 default");
	noted("blkio.throttle.read_bps_device", "", "8:16 60", "8:16 0");
	noted("net_prio.ifpriomap", "lo 0\neth0 5\n", "eth0 9", "eth0 5");
	noted("rdma.max", "mlx4_0 hca_handle=2 hca_object=max\n", "mlx4_0 hca_handle=3 hca_object=4", "mlx4_0 hca_handle=2 hca_object=max");
}

static void weights(void)
{
	CHECK_EQ(cgroup_weight(0), 1);
	CHECK_EQ(cgroup_weight(2), 1);
	CHECK_EQ(cgroup_weight(512), 59);
	CHECK_EQ(cgroup_weight(1024), 100);
	CHECK_EQ(cgroup_weight(262144), 10000);
	CHECK_EQ(cgroup_weight(UINT64_MAX), 10000);
	for (uint64_t s = 2; s < 262144; s += 97)
		CHECK(cgroup_weight(s) <= cgroup_weight(s + 97));
}

const struct test tests[] = { TEST(v1), TEST(v2), TEST(relative), TEST(put_back), TEST(old_values), TEST(weights), {} };
