#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# config.json from libFuzzer: FUZZ_SPEC_SECONDS, or FUZZ_SECONDS, of it (10; a minute in continuous integration), from seed FUZZ_SEED (1). What crashes it is printed, in base64.
# timeout: 280
. "${0%/*}/../lib.sh"
require_command clang jq
cd "$TEST_TOP"
echo 'int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n); int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n) { return !d && n; }' >"$TEST_DIR/t.c"
clang -fsanitize=fuzzer,address,undefined "$TEST_DIR/t.c" -o "$TEST_DIR/t" 2>/dev/null || skip "clang has no libFuzzer (package libclang-rt-14-dev)"
make -s "O=$TEST_BUILD" "$TEST_BUILD/fuzz/spec"

# What it begins with: a configuration of `torpor spec`, and one with all that the specification has; the words are the properties' names.
mkdir "$TEST_DIR/corpus"
"$TORPOR" spec --bundle "$TEST_DIR/corpus"
jq -c . "$TEST_DIR/corpus/config.json" >"$TEST_DIR/corpus/small"
jq -c '.hooks = ([("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop") |
		{key: ., value: [{path: "/x", args: ["x"], env: ["A=1"], timeout: 1}]}] | from_entries)
	| .annotations = {a: "b"} | .hostname = "h" | .domainname = "d"
	| .mounts += [{destination: "/m", type: "bind", source: "/s", options: ["rbind", "ridmap", "rro"],
		uidMappings: [{containerID: 0, hostID: 1, size: 2}], gidMappings: [{containerID: 0, hostID: 1, size: 2}]}]
	| .process += {ioPriority: {class: "IOPRIO_CLASS_BE", priority: 4}, scheduler: {policy: "SCHED_BATCH", nice: 5, flags: ["SCHED_FLAG_RESET_ON_FORK"]},
		execCPUAffinity: {initial: "0-1", final: "1"}, consoleSize: {height: 1, width: 2}}
	| .process.user += {umask: 18, additionalGids: [1, 2]}
	| .linux += {sysctl: {"net.ipv4.ip_forward": "1"}, rootfsPropagation: "rslave", personality: {domain: "LINUX"}, cgroupsPath: "/a/b",
		devices: [{path: "/dev/x", type: "c", major: 1, minor: 3, fileMode: 438, uid: 1, gid: 2}],
		memoryPolicy: {mode: "MPOL_INTERLEAVE", nodes: "0-1", flags: ["MPOL_F_STATIC_NODES"]},
		seccomp: {defaultAction: "SCMP_ACT_ERRNO", defaultErrnoRet: 1, architectures: ["SCMP_ARCH_X86"], flags: ["SECCOMP_FILTER_FLAG_LOG"],
			listenerPath: "/l", listenerMetadata: "m", syscalls: [{names: ["read"], action: "SCMP_ACT_NOTIFY",
			args: [{index: 0, value: 18446744073709551615, valueTwo: 1, op: "SCMP_CMP_MASKED_EQ"}]}]},
		resources: {memory: {limit: -1, swap: 1}, cpu: {shares: 2, cpus: "0-1"}, pids: {limit: 3}, unified: {"memory.high": "1"},
			devices: [{allow: false, access: "rwm", type: "c", major: 1, minor: 2}]}}' "$TEST_DIR/corpus/config.json" >"$TEST_DIR/corpus/large"
grep -o '"[A-Za-z_]*"' "$TEST_DIR/corpus/large" | sort -u >"$TEST_DIR/words"
cut -f2 test/oci/coverage.tsv | grep -o '[A-Za-z]\{3,\}' | sort -u | sed 's/.*/"\\"&\\":"/' >>"$TEST_DIR/words"

"$TEST_BUILD/fuzz/spec" -seed="${FUZZ_SEED-1}" -max_total_time="${FUZZ_SPEC_SECONDS-${FUZZ_SECONDS-10}}" -max_len=16384 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 -dict="$TEST_DIR/words" \
	-artifact_prefix="$TEST_DIR/" "$TEST_DIR/corpus" >"$TEST_DIR/log" 2>&1 || { tail -n 40 "$TEST_DIR/log"; fail "it crashes"; }
grep 'Done\|number_of_executed_units' "$TEST_DIR/log"
