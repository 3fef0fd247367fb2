#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A network device of each kind that can be saved and that this kernel has: all are there again after a restore, with what they were told.
. "${0%/*}/../lib.sh"
require_root
require_command ip python3
below_reaper

cd "$TEST_DIR"
mkdir images
kinds=('d0 type dummy' 'i0 type ifb' 'v0 type veth peer name v1' 'b0 address 02:00:00:00:00:b0 type bridge'
	'vlan0 link v0 type vlan id 7 protocol 802.1ad reorder_hdr off' 'mv0 link v0 type macvlan mode private' 'ipv0 link v1 type ipvlan mode l3'
	's0 type sit local 10.1.0.1 remote 10.1.0.2 ttl 9 dev v0' 's1 type sit remote 10.1.0.3 mode any' 'p0 type ipip local 10.1.0.1 remote 10.1.0.2 tos 8'
	'g0 type gre local 10.1.0.1 remote 10.1.0.2 key 7 seq' 'gt0 type gretap local 10.1.0.1 remote 10.1.0.4 ikey 1 okey 2 csum dev v0'
	'six0 type ip6tnl local fd01::1 remote fd01::2 mode any encaplimit 3 hoplimit 33' 'sg0 type ip6gre local fd01::1 remote fd01::3 flowlabel 0x12')
tun=('tap0 mode tap user 33 group 12 vnet_hdr' 'tun0 mode tun pi multi_queue')

# Modules come first: what they put into each namespace takes numbers.
unshare -n bash -c 'ip link add name v0 type veth peer name v1; for k; do ip link add name $k; done' - "${kinds[@]}" >/dev/null 2>&1 || :
setsid python3 -c 'import os; os.closerange(3, 1000); os.execvp("unshare", ["unshare", "-n", "sleep", "1000"])' </dev/null >/dev/null 2>&1 &
pid=$!
at_exit eval "kill -9 $pid 2>/dev/null"
wait_until 10 eval "[ \"\$(cat /proc/$pid/comm)\" = sleep ]"
inside() { nsenter -t "$pid" -n "$@"; }
for k in "${kinds[@]}"; do inside ip link add name $k 2>/dev/null && echo "tried: $k" || echo "not tried, the kernel cannot: $k"; done
for k in "${tun[@]}"; do inside ip tuntap add $k 2>/dev/null && echo "tried: $k" || echo "not tried, the kernel cannot: $k"; done
inside bash -c 'ip link set v1 up; ip link set v0 up; ip addr add 10.1.0.1/24 dev v0; for d in vlan0 s0 g0 mv0; do ! ip link show $d || ip link set $d up mtu 1300; done' >/dev/null 2>&1

state() {
	inside bash -c 'ip -d link; ip -4 addr; ip -4 route' |
		sed -E 's/ permaddr [0-9a-f:]+//; s/ state (UP|UNKNOWN|DOWN|LOWERLAYERDOWN)//; s/<NO-CARRIER,/</; s/,LOWER_UP//; s/(_timer|age_timer) +[0-9.]+/\1/g' | sort
}
gone() { ! [ -e "/proc/$pid" ]; }   # and reaped: its pid is free
for _ in {1..30}; do   # until it is at rest
	before=$(state)
	sleep 1
	[ "$before" != "$(state)" ] || break
done
for _ in 1 2; do
	torpor_cr dump -t "$pid" -D images -o dump.log || fail "dump: $(cat images/dump.log)"
	wait_until 10 gone
	torpor_cr restore -D images -o restore.log -d || fail "restore: $(cat images/restore.log)"
	# What follows from a device that has come up is not there at once.
	for _ in {1..100}; do
		! diff <(echo "$before") <(state) >changes || continue 2
		sleep 0.2
	done
	fail "it is another one: $(<changes)"
done
