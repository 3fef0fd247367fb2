#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# events: statistics with the members that runc's have, at an interval, and a line when the container is out of memory.
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_inside.sh"
require_root
[ -d /sys/fs/cgroup ] || skip "no cgroups are mounted"
make_bundle busybox "$b" sh -c 'while [ ! -e /go ]; do sleep 0.05; done; exec tail /dev/zero'
delete_at_exit c
configure "$b" '.linux.resources += {memory: {limit: 16777216, swap: 16777216}, pids: {limit: 11}, cpu: {cpus: "0", mems: "0"}}'
[ -e /sys/fs/cgroup/memory/memory.memsw.limit_in_bytes ] || configure "$b" 'del(.linux.resources.memory.swap)'
torpor create --bundle "$b" c </dev/null
torpor start c

torpor events --stats c >"$TEST_DIR/stats"
equal "$(wc -l <"$TEST_DIR/stats")" 1 "number of lines"
jq -e '.type == "stats" and .id == "c" and (.data | keys) == ["blkio", "cpu", "cpuset", "hugetlb", "intel_rdt", "memory", "network_interfaces", "pids"]
	and (.data.cpu | .usage.total > 0 and .usage.kernel >= 0 and .usage.user >= 0 and (.throttling | type) == "object")
	and (.data.cpuset | .cpu_exclusive == 0 and has("sched_relax_domain_level") and has("memory_spread_slab"))
	and (.data.memory | .usage.limit == 16777216 and .usage.usage > 0 and .usage.failcnt >= 0 and (.raw | length) > 10
		and (.swap | has("limit")) and (.kernel | has("failcnt")) and (.kernelTCP | has("failcnt")))
	and (.data.pids | .current >= 1 and .limit == 11)
	and .data.network_interfaces == null' "$TEST_DIR/stats" >/dev/null || fail "statistics: $(cat "$TEST_DIR/stats")"
[ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ] || jq -e '(.data.cpu.usage.percpu | length) > 0 and .data.cpuset.cpus == [0]' "$TEST_DIR/stats" >/dev/null

torpor events --interval 50ms c >"$TEST_DIR/log" &
events=$!
wait_until 10 eval '[ "$(wc -l <"$TEST_DIR/log")" -ge 3 ]'
"$TORPOR" --root "$TEST_STATE" events --interval 1ns c >/dev/null &   # faster than it can be: its end is seen all the same
fast=$!
touch "$b/rootfs/go"
wait $events $fast
grep -q '^{"type":"oom","id":"c"}$' "$TEST_DIR/log" || fail "no word of being out of memory: $(tail -n 2 "$TEST_DIR/log")"
jq -s -e 'all(.[]; .id == "c" and (.type == "stats" or .type == "oom"))' "$TEST_DIR/log" >/dev/null
wait_until 5 eval '[ "$(container_status c)" = stopped ]'
refuses "container not running" torpor events --stats c
torpor delete c
