#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# User namespaces made and joined by root: maps, ids, what is owned by whom, other namespaces beside them, exec, what does not go together.
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_inside.sh"
require_root
[ -e /proc/self/ns/user ] && unshare --user true 2>/dev/null || skip "no user namespaces"
make_bundle busybox "$b"
delete_at_exit c
delete_at_exit other
maps='[{containerID: 0, hostID: 100000, size: 1000}, {containerID: 1000, hostID: 300000, size: 10}]'
configure "$b" ".linux.namespaces += [{type: \"user\"}] | .linux.uidMappings = $maps | .linux.gidMappings = $maps"
chown -R 100000:100000 "$b/rootfs"

equal "$(inside_sh 'tr -s " " </proc/self/uid_map; tr -s " " </proc/self/gid_map; id -u; id -g')" \
	$' 0 100000 1000\n 1000 300000 10\n 0 100000 1000\n 1000 300000 10\n0\n0' "maps and ids"
with '.process.capabilities |= map_values(. + ["CAP_CHOWN"])'
equal "$(inside_sh 'echo x >/tmp/mine; chown 1001:5 /tmp/mine; stat -c %u:%g /tmp/mine /; hostname')" $'1001:5\n0:0\ntorpor' "owners inside"
equal "$(stat -c %u:%g "$b/rootfs/tmp/mine")" 300001:100005 "owner outside"
undo
equal "$(inside grep CapEff /proc/self/status)" $'CapEff:\t0000000020000420' capabilities
equal "$(inside_sh 'echo again >/dev/stdout' | cat)" again "stdout opened again"
equal "$(inside_sh 'for d in null zero full random urandom tty; do stat -c %t:%T /dev/$d; done' | tr '\n' ' ')" "1:3 1:5 1:7 1:8 1:9 5:0 " devices
equal "$(inside_sh 'echo x >/dev/null; head -c 2 /dev/zero | wc -c')" 2 "devices can be used"
with '.process.user = {uid: 1005, gid: 7, additionalGids: [8, 9]}'
equal "$(inside_sh 'id -u; id -G')" $'1005\n7 8 9' user
configure "$b" '.process.user = {uid: 5000, gid: 0}'
create_refuses "process.user.uid: become user 5000"
undo
with '.process.capabilities |= map_values(. + ["CAP_SYS_ADMIN"])'
equal "$(inside_sh 'mount -t tmpfs x /mnt && echo mounted; cat /proc/sys/kernel/hostname; hostname other && hostname')" $'mounted\ntorpor\nother' "root in it"
undo
with '.linux.sysctl = {"net.ipv4.ip_forward": "1", "kernel.msgmax": "4096"}'
equal "$(inside_sh 'cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax')" $'1\n4096' sysctls
undo
with '.process.oomScoreAdj = 77 | .process.scheduler = {policy: "SCHED_BATCH", nice: -2} | .process.rlimits = [{type: "RLIMIT_NOFILE", soft: 50, hard: 60}]
	| .process.ioPriority = {class: "IOPRIO_CLASS_RT", priority: 3}'
equal "$(inside_sh 'cat /proc/self/oom_score_adj; awk "{ print \$41, \$19 }" /proc/self/stat; ulimit -n; ulimit -Hn; ionice -p $$')" \
	$'77\n3 -2\n50\n60\nrealtime: prio 3' "what needs privileges on the host"
undo
with '.linux.namespaces += [{type: "time"}] | .linux.timeOffsets = {boottime: {secs: 50000}}'
equal "$(inside_sh 'tr -s " " </proc/self/timens_offsets')" $'monotonic 0 0\nboottime 50000 0' "the clocks' offsets"
undo
with '.process.terminal = true'
configure "$b" '.process.args = ["sh", "-c", "tty; stat -c %u:%t /dev/pts/0; echo x >/dev/console"]'
equal "$(torpor run --bundle "$b" c </dev/null | tr -d '\r' | tr '\n' '|')" '/dev/pts/0|0:88|x|' "a terminal"
undo

# a network namespace of the host's beside a new user namespace
unshare --net sleep 100 &
holder=$!
wait_until 5 eval '[ "$(readlink /proc/$holder/ns/net)" != "$(readlink /proc/self/ns/net)" ]'
with '(.linux.namespaces[] | select(.type == "network")).path = $p' --arg p "/proc/$holder/ns/net"
equal "$(inside readlink /proc/self/ns/net)" "$(readlink "/proc/$holder/ns/net")" "a joined network namespace"
undo
kill $holder

# exec
configure "$b" '.process.args = ["sleep", "1000"]'
torpor run --detach --bundle "$b" c </dev/null >"$TEST_DIR/out" 2>&1
pid=$(container_pid c)
equal "$(awk '/^Uid/ { print $2 }' "/proc/$pid/status")" 100000 "its user on the host"
equal "$(torpor exec c sh -c 'id -u; id -g; readlink /proc/self/ns/user; echo $PPID')" "0"$'\n'"0"$'\n'"$(readlink "/proc/$pid/ns/user")"$'\n'0 "exec"
equal "$(torpor exec --user 1003:4 -g 6 c sh -c 'id -u; id -G; cat /proc/self/oom_score_adj')" $'1003\n4 6\n0' "exec of a user"
equal "$(torpor exec -t c sh -c 'tty; stat -c %u /dev/pts/0' </dev/null | tr -d '\r')" $'/dev/pts/0\n0' "exec on a terminal"
equal "$(torpor exec c sh -c 'ls /proc/self/fd | wc -l')" 4 "open descriptors"
refuses "process.user.uid: become user 5000" torpor exec --user 5000 c true
refuses "user namespace" torpor checkpoint --image-path "$TEST_DIR/images" c
equal "$(container_status c)" running status

# joined: user, and with it network and ipc; a new pid namespace
make_bundle busybox "$TEST_DIR/other" sh -c 'for n in user net ipc; do readlink /proc/self/ns/$n; done; echo $$; id -u; touch /tmp/x'
chown -R 100000:100000 "$TEST_DIR/other/rootfs"
configure "$TEST_DIR/other" '.linux.namespaces |= map(if .type == "network" or .type == "ipc" then .path = "/proc/\($p)/ns/" + ({network: "net"}[.type] // .type) else . end)
	| .linux.namespaces += [{type: "user", path: "/proc/\($p)/ns/user"}]' --argjson p "$pid"
equal "$(torpor run --bundle "$TEST_DIR/other" other </dev/null)" "$(for n in user net ipc; do readlink "/proc/$pid/ns/$n"; done; echo 1; echo 0)" "joined namespaces"
equal "$(stat -c %u "$TEST_DIR/other/rootfs/tmp/x")" 100000 owner
configure "$TEST_DIR/other" ".linux.uidMappings = $maps"
torpor run --bundle "$TEST_DIR/other" other </dev/null >/dev/null
configure "$TEST_DIR/other" '.linux.uidMappings[0].hostID = 7'
refuses "linux.uidMappings: not the maps of the user namespace that is joined" torpor run --bundle "$TEST_DIR/other" other </dev/null
configure "$TEST_DIR/other" 'del(.linux.uidMappings) | .linux.namespaces |= map(if .type == "pid" then .path = "/proc/\($p)/ns/pid" else . end)' --argjson p "$pid"
[ "$(torpor run --bundle "$TEST_DIR/other" other </dev/null | sed -n 4p)" -gt 1 ] || fail "its pid in a joined pid namespace is 1"
torpor kill c KILL
torpor delete --force c

# mistakes
with 'del(.linux.uidMappings)'
create_refuses "linux.uidMappings: a new user namespace needs some"
undo
with '.linux.gidMappings[1].containerID = 0'
create_refuses "linux.gidMappings: write the maps"
undo
