#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# 200 containers, started and removed in parallel: all run at once, and then nothing is left (test/run looks for that too).
# timeout: 280
. "${0%/*}/../lib.sh"
require_root
n=${PARALLEL-200} b=$TEST_DIR/b
make_bundle busybox "$b" sleep 1000
configure "$b" '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", syscalls: [{names: ["swapoff"], action: "SCMP_ACT_ERRNO"}]}'
for ((i = 0; i < n; i++)); do
	mkdir "$TEST_DIR/b$i"
	ln -s "$b/rootfs" "$TEST_DIR/b$i/rootfs"
	sed "s|$TEST_CGROUP/b|$TEST_CGROUP/b$i|" "$b/config.json" >"$TEST_DIR/b$i/config.json"
done
all() { seq 0 $((n - 1)) | xargs -P 16 -I{} "$TORPOR" --root "$TEST_STATE" "$@"; }
groups() { find_groups -maxdepth 3 -type d -path "*$TEST_CGROUP/b[0-9]*" | wc -l; }
mounts=$(wc -l </proc/self/mountinfo)

all run --detach --bundle "$TEST_DIR/b{}" c{} </dev/null
equal "$(torpor list | grep -c ' running ')" "$n" "how many run"
[ "$(groups)" -ge "$n" ] || fail "$(groups) cgroups"
equal "$(torpor list --quiet | wc -l)" "$n" "how many are listed"
pids=$(torpor list --format json | jq -r '.[].pid')
equal "$(sort -u <<<"$pids" | wc -l)" "$n" "different processes"
all delete --force c{}
equal "$(torpor list --quiet)" "" "what is listed"
equal "$(groups)" 0 "cgroups left"
equal "$(wc -l </proc/self/mountinfo)" "$mounts" mounts
for p in $pids; do [ ! -e "/proc/$p" ] || [[ $(cat "/proc/$p/stat" 2>/dev/null) =~ ^$|\)\ [ZX] ]] || fail "process $p is left"; done

# the same name, many at once: one gets it, and what it has is its own
for ((i = 0; i < 8; i++)); do "$TORPOR" --root "$TEST_STATE" create --bundle "$TEST_DIR/b$i" one </dev/null 2>"$TEST_DIR/e$i" && echo "$i" >>"$TEST_DIR/made" & done
wait
equal "$(wc -l <"$TEST_DIR/made")" 1 "creates of one name that succeeded"
equal "$(cat "$TEST_DIR"/e[0-7] | grep -c 'already exists: one')" 7 "creates that were refused"
equal "$(torpor state one | jq -r .status)" created "status"
for ((i = 0; i < 8; i++)); do "$TORPOR" --root "$TEST_STATE" delete --force one & done
wait
equal "$(groups)" 0 "cgroups left"
