#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# linux.netDevices: moved with their addresses, under another name; back after an error. In a network namespace of this test's own.
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_inside.sh"
require_root
require_command ip
if [ -z "${OWN_NET-}" ]; then
	OWN_NET=1 exec unshare --net bash "$0"
fi
ip link add host0 type veth peer name other0 2>/dev/null || skip "veth devices cannot be made here"
make_bundle busybox "$b"
delete_at_exit c
ip link set host0 mtu 1400 address 02:00:00:00:00:42
ip addr add 10.77.0.2/24 dev host0
ip addr add fd77::2/64 dev host0 nodad 2>/dev/null || :
configure "$b" '.linux.netDevices = {host0: {name: "eth0"}} | .linux.sysctl = {"net.ipv4.conf.eth0.forwarding": "1"}'

# an error later on: the device is on the host again, as it was
with '.mounts += [{destination: "/x", type: "nonsense", source: "x"}]'
refuses "nonsense" torpor create --bundle "$b" c </dev/null
undo
shows 10.77.0.2/24 ip -o addr show dev host0 || fail "the device did not come back: $(ip -o addr)"
with '.linux.netDevices.nothere = {}'
refuses "there is no network device nothere" torpor create --bundle "$b" c </dev/null
undo
ip link show dev host0 >/dev/null

configure "$b" '.process.args = ["sleep", "1000"] | .linux.resources.pids.limit = 20'
torpor run --detach --bundle "$b" c </dev/null
if ip link show dev host0 >/dev/null 2>&1; then fail "host0 is still on the host"; fi
inside=$(torpor exec c ip addr show dev eth0)
[[ $inside == *10.77.0.2/24* && $inside == *02:00:00:00:00:42* && $inside == *"mtu 1400"* && $inside == *[\<,]UP* ]] || fail "eth0 inside: $inside"
[ ! -e /proc/sys/net/ipv6/conf/all ] || [[ $inside == *fd77::2/64* ]] || fail "eth0's IPv6 address inside: $inside"
equal "$(torpor exec c cat /proc/sys/net/ipv4/conf/eth0/forwarding)" 1 "the device's kernel parameter"
torpor delete --force c

# what cannot be
with 'del(.linux.namespaces[] | select(.type == "network")) | del(.linux.sysctl)'
refuses "linux.netDevices: needs a network namespace" torpor create --bundle "$b" c </dev/null
undo
with '.linux.netDevices = {a: {name: "x/y"}}'
refuses 'linux.netDevices: "x/y" is not the name' torpor create --bundle "$b" c </dev/null
undo
with '.linux.netDevices = {a: {name: "b"}, b: {}}'
refuses "linux.netDevices: two devices are to be called b" torpor create --bundle "$b" c </dev/null
undo
