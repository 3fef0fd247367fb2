#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# How the kernel is to treat a process: scheduler, I/O priority, memory policy, personality, CPU affinity, clocks, labels of security modules.
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_inside.sh"
require_root
make_bundle busybox "$b"
delete_at_exit c

# process.scheduler: number of the policy, real-time priority and nice value, fields 41, 40 and 19 of stat
own=$(nice)   # these policies know no nice value: it stays what it was
policy() { inside awk '{ print $41, $40, $19 }' /proc/self/stat; }
with '.process.scheduler = {policy: "SCHED_BATCH", nice: 7}'
equal "$(policy)" "3 0 7" policy
configure "$b" '.process.scheduler = {policy: "SCHED_IDLE"}'
equal "$(policy)" "5 0 $own" policy
configure "$b" '.process.scheduler = {policy: "SCHED_OTHER", nice: -3, flags: ["SCHED_FLAG_RESET_ON_FORK"]}'
equal "$(policy)" "0 0 -3" "policy with RESET_ON_FORK"
equal "$(inside_sh 'awk "{ print \$19 }" /proc/self/stat; :')" 0 "nice of a child with RESET_ON_FORK"
if chrt -f 5 true 2>/dev/null; then
	configure "$b" '.process.scheduler = {policy: "SCHED_FIFO", priority: 5}'
	equal "$(policy)" "1 5 $own" policy
	configure "$b" '.process.scheduler = {policy: "SCHED_RR", priority: 9}'
	equal "$(policy)" "2 9 $own" policy
else
	configure "$b" '.process.scheduler = {policy: "SCHED_FIFO", priority: 5}'
	create_refuses "process.scheduler: set policy 1"
fi
configure "$b" '.process.scheduler = {policy: "SCHED_DEADLINE", runtime: 1000000, deadline: 10000000, period: 10000000}'
if chrt -d --sched-runtime 1000000 --sched-deadline 10000000 --sched-period 10000000 0 true 2>/dev/null; then
	equal "$(policy)" "6 0 $own" "the deadline policy"
else
	create_refuses "process.scheduler: set policy 6"
fi
configure "$b" '.process.scheduler = {policy: "SCHED_DEADLINE", runtime: 5, deadline: 3, period: 2}'
create_refuses "process.scheduler: set policy 6"
undo

with '.process.ioPriority = {class: "IOPRIO_CLASS_IDLE"}'
equal "$(inside_sh 'ionice -p $$')" "idle" "I/O priority"
configure "$b" '.process.ioPriority = {class: "IOPRIO_CLASS_BE", priority: 2}'
equal "$(inside_sh 'ionice -p $$')" "best-effort: prio 2" "I/O priority"
configure "$b" '.process.ioPriority = {class: "IOPRIO_CLASS_RT", priority: 1}'
equal "$(inside_sh 'ionice -p $$')" "realtime: prio 1" "I/O priority"
undo

# linux.memoryPolicy: the kernel writes a task's policy into numa_maps
memory_policy() { inside_sh 'tail -n 3 /proc/self/numa_maps | cut -d" " -f2 | sort -u'; }
if [ -e /proc/self/numa_maps ]; then
	for p in bind interleave prefer; do
		name=${p/prefer/preferred}
		with '.linux.memoryPolicy = {mode: ("MPOL_" + ($m | ascii_upcase)), nodes: "0"}' --arg m "$name"
		[[ $(memory_policy) == *"$p"*:0* ]] || fail "memory policy $p: $(memory_policy)"
		undo
	done
	with '.linux.memoryPolicy = {mode: "MPOL_BIND", nodes: "0", flags: ["MPOL_F_STATIC_NODES"]}'
	[[ $(memory_policy) == *bind=static:0* ]] || fail "memory policy: $(memory_policy)"
	configure "$b" '.linux.memoryPolicy = {mode: "MPOL_LOCAL", nodes: ""}'
	[[ $(memory_policy) == *local* ]] || fail "memory policy: $(memory_policy)"
	configure "$b" '.linux.memoryPolicy = {mode: "MPOL_BIND", nodes: "1000"}'
	create_refuses "linux.memoryPolicy: set mode 2"
	configure "$b" '.linux.memoryPolicy = {mode: "MPOL_BIND", nodes: "0", flags: ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]}'
	create_refuses "linux.memoryPolicy: set mode 2"
	undo
fi

with '.linux.personality = {domain: "LINUX32"}'
equal "$(inside_sh 'cat /proc/self/personality; uname -m')" $'00000008\ni686' personality
configure "$b" '.linux.personality = {domain: "LINUX"}'
equal "$(inside uname -m)" "$(uname -m)" machine
configure "$b" '.linux.personality.flags = ["ADDR_NO_RANDOMIZE"]'
create_refuses "linux.personality.flags: "
undo

# linux.timeOffsets
with '.linux.namespaces += [{type: "time"}] | .linux.timeOffsets = {monotonic: {secs: 1000, nanosecs: 5}, boottime: {secs: 100000}}'
equal "$(inside_sh 'tr -s " " </proc/self/timens_offsets')" $'monotonic 1000 5\nboottime 100000 0' "the clocks' offsets"
up=$(inside_sh 'cut -d. -f1 /proc/uptime') here=$(cut -d. -f1 /proc/uptime)
[ $((up - here)) -ge 99900 ] && [ $((up - here)) -le 100000 ] || fail "uptime: $up inside, $here outside"
configure "$b" '.linux.timeOffsets = {monotonic: {secs: -1000000000}}'
create_refuses "linux.timeOffsets: set monotonic -1000000000"
undo

# execCPUAffinity is exec's, not init's
with '.process.args = ["sleep", "1000"] | .process.execCPUAffinity = {initial: "0", final: "0"}'
torpor create --bundle "$b" c </dev/null
all=$(grep Cpus_allowed_list /proc/self/status)
equal "$(grep Cpus_allowed_list "/proc/$(container_pid c)/status")" "$all" "init's CPUs"
torpor start c
equal "$(torpor exec c grep Cpus_allowed_list /proc/self/status)" $'Cpus_allowed_list:\t0' "CPUs of a process"
process() { jq --argjson a "$1" '.process | .execCPUAffinity = $a | .args = ["grep", "Cpus_allowed_list", "/proc/self/status"]' "$b/config.json" >"$TEST_DIR/process.json"; }
process '{"initial": "0"}'
equal "$(torpor exec --process "$TEST_DIR/process.json" c)" "$all" "CPUs without a final affinity"
process '{"final": " 0 "}'
equal "$(torpor exec --process "$TEST_DIR/process.json" c)" $'Cpus_allowed_list:\t0' "CPUs with a final affinity"
process '{"final": "8000"}'
refuses "process.execCPUAffinity.final: run on CPUs 8000" torpor exec --process "$TEST_DIR/process.json" c
process '{"initial": "8000"}'
refuses "process.execCPUAffinity.initial: run on CPUs 8000" torpor exec --process "$TEST_DIR/process.json" c
undo

# labels where the kernel has no such module; where it has one, "unconfined" and a profile that is not loaded
if [ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ]; then
	refuses "no-such-profile" torpor exec --apparmor no-such-profile c true
else
	refuses 'process.apparmorProfile: "p": AppArmor is not enabled' torpor exec --apparmor p c true
	with '.process.apparmorProfile = "p"'
	refuses 'process.apparmorProfile: "p": AppArmor is not enabled' torpor create --bundle "$b" d </dev/null
	undo
fi
if ! [ -e /sys/fs/selinux/enforce ]; then
	refuses 'process.selinuxLabel: "l": SELinux is not enabled' torpor exec --process-label l c true
	with '.process.selinuxLabel = "l"'
	refuses 'process.selinuxLabel: "l": SELinux is not enabled' torpor create --bundle "$b" d </dev/null
	undo
	with '.linux.mountLabel = "l"'
	refuses 'linux.mountLabel: "l": SELinux is not enabled' torpor create --bundle "$b" d </dev/null
	undo
fi
torpor delete --force c

# what of all this a restored container has again
configure "$b" '.process.scheduler = {policy: "SCHED_BATCH", nice: 5} | .process.ioPriority = {class: "IOPRIO_CLASS_BE", priority: 1} | .process.oomScoreAdj = 55
	| .linux.personality = {domain: "LINUX32"} | .linux.memoryPolicy = {mode: "MPOL_INTERLEAVE", nodes: "0"}
	| .process.user = {uid: 33, gid: 34, additionalGids: [7, 8], umask: 63} | .process.cwd = "/tmp"
	| .process.capabilities = ([["bounding", "permitted", "effective", "inheritable", "ambient"][] | {key: ., value: ["CAP_KILL"]}] | from_entries)
	| .process.rlimits = [{type: "RLIMIT_NOFILE", soft: 50, hard: 60}, {type: "RLIMIT_CORE", soft: 0, hard: 0}]
	| .linux.namespaces += [{type: "time"}] | .linux.timeOffsets = {boottime: {secs: 100000}} | .process.noNewPrivileges = true
	| .process.args = ["sleep", "1000"]'
attributes() {
	local p=/proc/$(container_pid c)
	awk '{ print $41, $40, $19 }' "$p/stat"
	cat "$p/personality" "$p/oom_score_adj" "$p/limits"
	grep -E '^(Umask|Uid|Gid|Groups|Cap|NoNewPrivs)' "$p/status"
	[ -e "$p/numa_maps" ] && grep -o ' interleave[^ ]*' "$p/numa_maps" | sort -u
	ionice -p "$(container_pid c)"
	readlink "$p/cwd"
}
torpor run --detach --bundle "$b" c </dev/null >"$TEST_DIR/out" 2>&1 || fail "$(cat "$TEST_DIR/out")"
wait_until 10 grep -q . "/proc/$(container_pid c)/cmdline"   # the execve is complete
attributes >"$TEST_DIR/before"
up=$(torpor exec c cut -d. -f1 /proc/uptime)
torpor checkpoint --image-path "$TEST_DIR/images" c
torpor restore --detach --image-path "$TEST_DIR/images" --bundle "$b" c </dev/null >"$TEST_DIR/out" 2>&1 || fail "$(cat "$TEST_DIR/out")"
attributes >"$TEST_DIR/after"
diff "$TEST_DIR/before" "$TEST_DIR/after"
now=$(torpor exec c cut -d. -f1 /proc/uptime)
[ $((now - up)) -ge 0 ] && [ $((now - up)) -le 100 ] || fail "uptime: $up before, $now after"
torpor delete --force c
