#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The container's cgroups: limits in their files, membership, the cgroup mount, devices, memory limits that are too small, removal.
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_inside.sh"
require_root
[ -d /sys/fs/cgroup ] || skip "no cgroups are mounted"
make_bundle busybox "$b"
delete_at_exit c
v2=
[ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ] && v2=1
# value CONTROLLER V1-FILE V2-FILE: of the running container c
value() { cat "/sys/fs/cgroup/$([ "$v2" ] || echo "$1")$TEST_CGROUP/b/$([ "$v2" ] && echo "$3" || echo "$2")"; }

with '.process.args = ["sleep", "1000"] | .linux.resources = {memory: {limit: 67108864, reservation: 33554432}, pids: {limit: 21},
	cpu: {shares: 512, quota: 50000, period: 100000, cpus: "0", mems: "0"}}'
torpor create --bundle "$b" c </dev/null
pid=$(container_pid c)
equal "$(value memory memory.limit_in_bytes memory.max)" 67108864 "memory limit"
equal "$(value memory memory.soft_limit_in_bytes memory.low)" 33554432 "memory reservation"
equal "$(value pids pids.max pids.max)" 21 "pids limit"
if [ "$v2" ]; then
	equal "$(value . . cpu.max)" "50000 100000" quota
	equal "$(value . . cpu.weight)" 59 weight
else
	equal "$(value cpu cpu.shares .)" 512 shares
	equal "$(value cpu cpu.cfs_quota_us .)" 50000 quota
fi
equal "$(value cpuset cpuset.cpus cpuset.cpus)" 0 cpuset
grep -qE ":(pids)?:.*$TEST_CGROUP/b\$" "/proc/$pid/cgroup" || fail "init is elsewhere: $(cat "/proc/$pid/cgroup")"
torpor start c
torpor exec c true
torpor exec --detach c sleep 900 </dev/null
equal "$(torpor ps --format json c | jq length)" 2 "number of processes"
torpor pause c
equal "$(container_status c)" paused status
torpor resume c
torpor delete --force c
[ -z "$(find_groups -maxdepth 3 -path "*$TEST_CGROUP/b")" ] || fail "cgroups are left"
undo

# limits that cannot be set
with '.linux.resources.cpu.quota = 1'
create_refuses "linux.resources.cpu.quota"
undo
with '.linux.resources.cpu.cpus = "4000"'
create_refuses "linux.resources.cpu.cpus"
undo
if [ -z "$v2" ]; then
	with '.linux.resources.unified = {"memory.high": "1"}'
	create_refuses 'linux.resources.unified["memory.high"]'
	undo
fi
# too small a limit kills init on the way: nothing is left, the message says why
with '.linux.resources.memory.limit = 65536'
if output=$(torpor create --bundle "$b" c </dev/null 2>&1); then
	torpor delete --force c
else
	[[ $output == *"memory.limit"* ]] || fail "a small limit: $output"
	refuses "does not exist" torpor state c
fi
undo

# a group that somebody uses
with '.process.args = ["sleep", "1000"]'
torpor create --bundle "$b" c </dev/null
refuses "has processes already" torpor create --bundle "$b" d </dev/null
refuses "does not exist" torpor state d
equal "$(container_status c)" created status
torpor delete --force c
undo

# devices: kmsg is not among the defaults
if [ -r /dev/kmsg ]; then
	with '.process.capabilities.bounding += ["CAP_MKNOD", "CAP_SYSLOG"] | .process.capabilities.effective += ["CAP_MKNOD", "CAP_SYSLOG"]
		| .process.capabilities.permitted += ["CAP_MKNOD", "CAP_SYSLOG"]'
	[[ $(inside_sh 'mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg') == *"not permitted"* ]] || fail "a device that is not allowed can be read"
	rm -f "$b/rootfs/tmp/kmsg"
	configure "$b" '.linux.resources.devices = [{allow: false, access: "rwm"}, {allow: true, type: "c", major: 1, minor: 11, access: "r"}]'
	[[ $(inside_sh 'mknod /tmp/kmsg c 1 11 && dd if=/tmp/kmsg bs=8k count=1 of=/dev/null') != *"not permitted"* ]] || fail "a device that is allowed cannot be read"
	undo
fi

# the mount shows the container's own groups only
with '.mounts += [{destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["ro", "nosuid", "noexec", "nodev"]}]
	| .linux.resources.pids = {limit: 33}'
equal "$(inside_sh 'cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null')" 33 "pids.max inside"
equal "$(inside_sh 'find /sys/fs/cgroup -name x | wc -l; mkdir /sys/fs/cgroup/x 2>/dev/null || echo refused')" $'0\nrefused' "a read-only cgroup mount"
undo

# no groups at all: an engine that has put torpor where it wants the container; a limit is then an error
with '.process.args = ["sleep", "1000"] | del(.linux.resources)'
torpor --cgroup-manager=disabled run --detach --bundle "$b" c </dev/null
[ -z "$(find_groups -maxdepth 3 -path "*$TEST_CGROUP/b")" ] || fail "cgroups were made"
torpor exec c true
torpor delete --force c
configure "$b" '.linux.resources.memory.limit = 100000000'
refuses "linux.resources.memory.limit" torpor --cgroup-manager=disabled create --bundle "$b" c </dev/null
undo
# groups that may not be made (here: read-only ones)
with '.process.args = ["sleep", "1000"] | del(.linux.resources)'
read_only() { unshare --mount bash -c 'for m in /sys/fs/cgroup/* /sys/fs/cgroup; do mount -o remount,bind,ro $m 2>/dev/null; done; exec "$@"' - "$TORPOR" --root "$TEST_STATE" "$@"; }
refuses "make cgroup" read_only create --bundle "$b" c </dev/null
read_only --rootless=true run --detach --bundle "$b" c </dev/null
equal "$(container_status c)" running status
torpor delete --force c
undo
# a container that manages its own cgroup2 group owns it
unified=/sys/fs/cgroup/$([ "$v2" ] || echo unified)$TEST_CGROUP/b
if [ "$v2" ] || [ -d /sys/fs/cgroup/unified ]; then
	with '.process.args = ["sleep", "1000"] | .process.user.uid = 4711 | .mounts += [{destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["rw"]}]'
	torpor create --bundle "$b" c </dev/null
	equal "$(stat -c %u "$unified") $(stat -c %u "$unified/cgroup.procs") $(stat -c %u "$unified/cgroup.freeze")" "4711 4711 0" "owners of a delegated group"
	torpor delete --force c
	configure "$b" '.mounts[-1].options = ["ro"]'
	torpor create --bundle "$b" c </dev/null
	equal "$(stat -c %u "$unified" "$unified/cgroup.procs" | xargs)" "0 0" "owners of a group that is not delegated"
	torpor delete --force c
	undo
fi

[ -e /sys/fs/resctrl/schemata ] || { with '.linux.intelRdt = {l3CacheSchema: "L3:0=f"}'; create_refuses "linux.intelRdt: there is no resctrl filesystem"; undo; }

# cgroup v2: a container that has groups of its own below, with controllers, takes processes beside its init only
if [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ] && grep -qw pids /sys/fs/cgroup/cgroup.controllers; then
	make_bundle busybox "$TEST_DIR/own" sh -c 'cd /sys/fs/cgroup; mkdir init; echo 1 >init/cgroup.procs; echo +pids >cgroup.subtree_control; >/ready; exec sleep 1000'
	configure "$TEST_DIR/own" '.root.readonly = false | .mounts |= map(if .type == "cgroup" then .options -= ["ro"] else . end)'
	delete_at_exit own
	torpor run --detach --bundle "$TEST_DIR/own" own </dev/null
	wait_until 10 [ -e "$TEST_DIR/own/rootfs/ready" ]   # an exec before that would be in the way
	equal "$(torpor exec own cat /sys/fs/cgroup/cgroup.subtree_control)" pids "controllers of the groups below"
	equal "$(torpor exec own cat /proc/self/cgroup)" 0::/init "its group"
	torpor delete --force own
fi
