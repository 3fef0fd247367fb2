#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The other cgroup layouts, made from a hybrid one in a mount namespace: v1 alone (cgroup2 hidden), v2 alone (it stands in the place of all).
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_inside.sh"
require_root
[ "$(stat -f -c %T /sys/fs/cgroup/unified 2>/dev/null)" = cgroup2fs ] || skip "the host's layout is not hybrid"
if [ -z "${LAYOUT-}" ]; then
	LAYOUT=v1_only unshare --mount bash "$0"
	rm -rf "$b"
	LAYOUT=v2_only unshare --mount bash "$0"
	exit 0
fi
make_bundle busybox "$b" sleep 1000
delete_at_exit c
configure "$b" '.mounts += [{destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["ro"]}]'

one_life() {
	torpor create --bundle "$b" c </dev/null
	torpor start c
	torpor exec --detach c sleep 900 </dev/null
	equal "$(torpor ps --format json c | jq length)" 2 "number of processes"
	torpor pause c
	equal "$(container_status c)" paused status
	torpor resume c
	equal "$(container_status c)" running status
	torpor exec c head -c 1 /dev/zero | cmp -n 1 - /dev/zero
	[[ $(torpor exec c sh -c 'mknod /tmp/kmsg c 1 11; head -c 1 /tmp/kmsg' 2>&1 || :) == *"not permitted"* ]] || fail "a device that is not allowed can be read"
	rm -f "$b/rootfs/tmp/kmsg"
	torpor kill --all c TERM
	torpor pause c
	torpor delete --force c
	refuses "does not exist" torpor state c
	checkpoint_paused
}
# A paused container does not go on for a moment when it is saved and left as it is: three that count would have counted. (With cgroup v1, which
# has to be thawed before a task can be stopped, it does.)
checkpoint_paused() {
	local counters=$b/rootfs/counters worker=$TEST_BUILD/test/fault/worker before i
	copy_program "$b/rootfs" "$worker"
	with '.process.args = [$w, "/counters", "spin"]' --arg w "$worker"
	torpor run --detach --bundle "$b" c </dev/null >"$TEST_DIR/out" 2>&1
	wait_until 10 "$worker" "$counters" watch 1
	torpor pause c
	counted() { [ $LAYOUT = v1_only ] || md5sum <"$counters"; }
	before=$(counted)
	for i in 1 2 3; do
		torpor checkpoint --leave-running --image-path "$TEST_DIR/images" c
		equal "$(container_status c)" paused status
		equal "$(counted)" "$before" "what a paused container has counted after $i checkpoints"
	done
	if "$TORPOR_CR" check --feature mem_dirty_track >/dev/null 2>&1; then
		torpor checkpoint --pre-dump --image-path "$TEST_DIR/round" c
		equal "$(counted)" "$before" "what a paused container has counted after a pre-dump"
	fi
	torpor resume c
	"$worker" "$counters" watch 20
	torpor delete --force c
	rm -rf "$counters" "$TEST_DIR"/{images,round}
	undo
}
v1_only() {
	mount -t tmpfs hidden /sys/fs/cgroup/unified
	one_life
	shows freezer inside_sh 'ls /sys/fs/cgroup' || fail "no freezer inside"
}
v2_only() {
	mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup
	one_life
	equal "$(inside_sh 'cat /proc/self/cgroup | grep ^0; test -e /sys/fs/cgroup/cgroup.procs && echo there')" $'0::/\nthere' "cgroup2 inside"
	configure "$b" '.linux.resources = {memory: {swappiness: 1}}'
	create_refuses "linux.resources.memory.swappiness"
	configure "$b" '.linux.resources = {memory: {limit: 1000000, swap: 10}}'
	create_refuses "linux.resources.memory.swap"
	configure "$b" '.linux.resources = {unified: {"cgroup.max.depth": "7"}}'
	equal "$(inside cat /sys/fs/cgroup/cgroup.max.depth)" 7 "a unified value"
	configure "$b" '.linux.resources = {unified: {"no.such": "7"}}'
	create_refuses 'linux.resources.unified["no.such"]'
}
configure "$b" '.process.capabilities |= map_values(. + ["CAP_MKNOD", "CAP_SYSLOG"])'
$LAYOUT
