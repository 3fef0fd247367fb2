#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Namespaces: new ones, joined ones, kernel parameters of theirs, the loopback device.
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_inside.sh"
require_root
make_bundle busybox "$b"
make_bundle busybox "$TEST_DIR/other" sleep 1000
delete_at_exit c
delete_at_exit other
ids() { inside_sh 'cd /proc/self/ns; for n in cgroup ipc mnt net pid uts time; do readlink $n; done'; }

for n in ipc mnt net pid uts; do
	[ "$(ids | grep "^$n:")" != "$(readlink /proc/self/ns/$n)" ] || fail "the host's $n namespace"
done
equal "$(ids | grep ^time)" "$(readlink /proc/self/ns/time)" "time namespace"
with '.linux.namespaces += [{type: "time"}]'
[ "$(ids | grep ^time)" != "$(readlink /proc/self/ns/time)" ] || fail "the host's time namespace"
undo
equal "$(inside_sh 'cat /proc/self/cgroup | sed "s/.*://" | sort -u')" / "groups in a cgroup namespace"
with '.linux.namespaces |= map(select(.type == "pid" or .type == "mount")) | del(.hostname)'
equal "$(ids | grep -E '^(ipc|net|uts)')" "$(for n in ipc net uts; do readlink /proc/self/ns/$n; done)" "the host's namespaces"
undo
with '.linux.namespaces |= map(select(.type != "mount")) | del(.mounts, .linux.maskedPaths, .linux.readonlyPaths)'
create_refuses "without one the container's root would be built in the host's"
undo
with '(.linux.namespaces[] | select(.type == "mount")).path = "/proc/self/ns/mnt"'
create_refuses "a new mount namespace is needed"
create_refuses "a root filesystem that is built in /proc/self/ns/mnt takes the mounts away from those who live there"
undo

# the loopback device is up in a new namespace
shows "inet 127.0.0.1/8" inside ip address show lo || fail "no address on lo"

# joined
torpor create --bundle "$TEST_DIR/other" other </dev/null
torpor start other
pid=$(container_pid other)
wait_until 10 grep -q . "/proc/$pid/cmdline"
with '.linux.namespaces |= map(if .type == "mount" or .type == "cgroup" then .
	else .path = "/proc/\($pid)/ns/" + ({network: "net"}[.type] // .type) end) | del(.hostname)' --argjson pid "$pid"
equal "$(ids | grep -E '^(ipc|net|pid|uts)')" "$(for n in ipc net pid uts; do readlink "/proc/$pid/ns/$n"; done)" "joined namespaces"
[ "$(inside_sh 'echo $$')" != 1 ] || fail "pid 1 in a joined pid namespace"
equal "$(inside_sh 'tr "\0" " " </proc/1/cmdline')" "sleep 1000 " "pid 1"
configure "$b" '(.linux.namespaces[] | select(.type == "ipc")).path = "/proc/self/ns/uts"'
create_refuses "join the ipc namespace"
configure "$b" '(.linux.namespaces[] | select(.type == "ipc")).path = "/no/such"'
create_refuses "open the ipc namespace /no/such"
undo
torpor delete --force other
# the runtime's own children are in its own pid namespace again: a container after one that joined is fine
equal "$(inside_sh 'echo $$')" 1 "its pid"

# kernel parameters
with '.linux.sysctl = {"net.ipv4.ip_forward": "1", "kernel.msgmax": "4096", "kernel/shmmni": "77"}'
equal "$(inside_sh 'cd /proc/sys; cat net/ipv4/ip_forward kernel/msgmax kernel/shmmni')" $'1\n4096\n77' "kernel parameters"
configure "$b" '.linux.sysctl = {"net.ipv4.ip_forward": "many"}'
create_refuses 'linux.sysctl: set net.ipv4.ip_forward to "many"'
configure "$b" '.linux.sysctl = {"net.no.such": "1"}'
create_refuses "linux.sysctl: open net.no.such"
undo
