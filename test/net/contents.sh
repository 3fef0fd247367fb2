#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What is in a network namespace is there again after a restore: devices, addresses, routes, rules, neighbours, settings, rule sets. By torpor-cr, from and
# to criu; ends of veths outside, namespaces that are given or empty, what cannot be saved.
# timeout: 280
. "${0%/*}/../lib.sh"
require_root
require_command ip nft python3

[ -n "${OWN_NET-}" ] || OWN_NET=1 exec unshare -n bash "$0"   # the ends of veths that are outside are this test's own
ip link set lo up

cd "$TEST_DIR"
here=tpo$$

# The namespace of process $pid with what the script on standard input makes in it.
begin() {
	setsid python3 -c 'import os; os.closerange(3, 1000); os.execvp("unshare", ["unshare", "-n", "sleep", "1000"])' </dev/null >/dev/null 2>&1 &
	pid=$!
	at_exit eval "kill -9 $pid 2>/dev/null"
	wait_until 10 eval "[ \"\$(readlink /proc/$pid/ns/net)\" != \"$(readlink /proc/self/ns/net)\" ] && [ \"\$(cat /proc/$pid/comm)\" = sleep ]"
	nsenter -t "$pid" -n sh -e
}
inside() { nsenter -t "$pid" -n "$@"; }
# Everything of it, without what counts or ages, in an order that does not depend on when it was made.
state() {
	inside sh -c 'ip -d link; ip addr; for f in -4 -6; do ip $f route show table all; ip $f rule; done; ip neigh show nud permanent
		ip neigh show proxy; bridge fdb | grep static || :; nft list ruleset; sysctl -a 2>/dev/null | grep "^net\."' |
		sed -E 's/[0-9]+sec/Nsec/g; s/(_timer|age_timer) +[0-9.]+/\1/g; s/ state (UP|UNKNOWN|DOWN|LOWERLAYERDOWN)//; s/ tentative//; s/ dadfailed//
			/nf_conntrack_count|proto kernel/d; s/<NO-CARRIER,/</; s/,LOWER_UP//' | sort
}
gone() { ! [ -e "/proc/$pid" ]; }   # and reaped: its pid is free
dump() { torpor_cr dump -t "$pid" -D images -o dump.log "$@" || fail "dump: $(cat images/dump.log)"; wait_until 10 gone; wait "$pid" 2>/dev/null || :; }
restore() { torpor_cr restore -D images -o restore.log -d "$@" || fail "restore: $(cat images/restore.log)"; }
fresh() { rm -rf images; mkdir images; }
end() { kill -9 "$pid"; wait_until 10 gone; fresh; }
# As before, when it is no longer changing by itself: IPv6's own addresses, devices that come up.
settled() {
	local last=
	sleep 2
	for _ in {1..30}; do
		before=$(state)
		[ "$before" != "$last" ] || return 0
		last=$before
		sleep 1
	done
	fail "it does not come to rest"
}
# What follows from a device that has come up is not there at once.
is_same() { diff <(echo "$before") <(state) >changes; }
same() {
	local i
	for i in {1..100}; do
		! is_same || return 0
		sleep 0.2
	done
	fail "$1: it is another one: $(<changes)"
}
fresh

everything='ip link set lo up
	ip link add v0 type veth peer name v1
	ip link add br0 type bridge stp_state 0 forward_delay 300 ageing_time 20000
	ip link set v1 master br0; ip link set v1 type bridge_slave hairpin on learning off
	ip link set v0 mtu 1400 txqueuelen 77 address 02:00:00:00:00:01
	sysctl -qw net.ipv4.conf.all.rp_filter=2 net.ipv4.ip_forward=1 net.ipv6.conf.v0.accept_ra=0 net.ipv4.conf.v0.arp_ignore=1
	ip addr add 10.1.0.1/24 brd + dev v0; ip addr add 10.1.0.2/24 dev v0; ip addr add 10.2.0.1/24 dev br0; ip addr add fd01::1/64 dev v0 nodad
	ip link set v0 up; ip link set v1 up; ip link set br0 up
	ip route add 10.9.0.0/16 via 10.1.0.7; ip route add default via 10.1.0.9 table 100; ip route add blackhole 10.66.0.0/16
	ip route add 10.10.0.0/16 nexthop via 10.1.0.3 weight 2 nexthop via 10.1.0.4; ip route add fd02::/64 via fd01::7
	ip rule add from 10.1.0.1 lookup 100 prio 77
	ip neigh add 10.1.0.7 lladdr 02:00:00:00:00:07 dev v0 nud permanent
	nft "add table inet x"
	nft "add chain inet x c { type filter hook input priority 0; }"; nft "add rule inet x c ip saddr @s counter drop"'

# -- all of it, twice ------------------------------------------------------------------------------------------------------------
begin <<<"${everything/nft \"add chain/nft \"add set inet x s { type ipv4_addr; elements = { 10.3.0.1 \} \}\"; nft \"add chain}
	ip -6 rule add from fd01::/64 lookup 100
	ip neigh add proxy 10.1.0.99 dev v0
	ip link add mv0 link v0 type macvlan mode bridge
	ip addr add 10.1.0.50/24 dev mv0; ip link set mv0 up
	ip link add ifb7 type ifb
	ip tuntap add t0 mode tap user 33 group 12 vnet_hdr; ip link set t0 address 02:00:00:00:00:33; ip tuntap add t1 mode tun pi
	ip link set v0 alias 'a device' group 7; ip link property add dev v0 altname another-name
	bridge fdb add 02:00:00:00:00:99 dev v1 master static
	for f in /proc/sys/net/ipv[46]/neigh/v0/* /proc/sys/net/ipv[46]/neigh/default/*; do
		case \$f in *_time | *_time_ms | *_unres_qlen_bytes) ;; *) echo \$((\$(cat \$f) + 1)) >\$f ;; esac 2>/dev/null || :
	done
	for f in /proc/sys/net/ipv[46]/conf/v0/*evict_nocarrier /proc/sys/net/ipv4/conf/v0/bc_forwarding /proc/sys/net/ipv6/conf/v0/enhanced_dad; do
		[ ! -e \$f ] || echo \$((1 - \$(cat \$f))) >\$f
	done
	sysctl -qw net.ipv4.tcp_keepalive_time=1234 net.core.somaxconn=99"
settled
for _ in 1 2; do
	dump
	restore
	same "torpor-cr"
done
end

# -- criu ------------------------------------------------------------------------------------------------------------------------
if "$TEST_TOP/test/peers" has criu; then
	criu() { "$TEST_TOP/test/peers" run criu "$@"; }
	# criu saves the main table only; nft 1.0.6 cannot list a set that a newer one has made
	tried=${everything/ip route add default via 10.1.0.9 table 100;/}
	begin <<<"${tried/@s/10.3.0.1}"
	settled
	criu dump -t "$pid" -D images -o dump.log --network-lock skip || fail "criu dump: $(grep Error images/dump.log)"
	wait_until 10 gone
	restore
	lost='lladdr\|qlen\|^ *bridge'   # what criu does not save
	diff <(grep -v "$lost" <<<"$before") <(state | grep -v "$lost") || fail "from criu: it is another one"
	before=$(state)
	fresh
	dump
	criu restore -D images -o restore.log -d || fail "criu restore: $(grep Error images/restore.log)"
	diff <(inside sh -c 'ip -o addr' | grep -o 'inet .*/24' | sort) <(grep -o 'inet .*/24' <<<"$before" | sort) || fail "to criu: addresses"
	[[ $(inside ip route) == *"10.9.0.0/16 via 10.1.0.7"* ]] || fail "to criu: routes"
	[[ $(inside nft list ruleset) == *"ip saddr 10.3.0.1 counter"* ]] || fail "to criu: rules"
	end
else
	echo "not tried with criu: run test/peers fetch"
fi

# -- the other end of a veth is outside --------------------------------------------------------------------------------------------
begin <<<'ip link set lo up'
ip link add "${here}b" type bridge && at_exit ip link del "${here}b"
ip link add "${here}a" type veth peer name eth0 netns "$pid"
inside sh -c 'ip addr add 10.3.0.1/24 dev eth0; ip link set eth0 up'
dump
refuses "the other end of this veth was outside" torpor_cr restore -D images -d
restore --external "veth[eth0]:${here}c@${here}b"
[[ $(inside ip -o addr show eth0) == *10.3.0.1/24* ]] || fail "the address behind a veth"
[[ $(ip -o link show "${here}c") == *"master ${here}b"* ]] || fail "the outer end is no port"
end
begin <<<'ip link set lo up'
ip link add "${here}d" type veth peer name eth0 netns "$pid"
dump
restore --veth-pair "eth0=${here}e"
ip -o link show "${here}e" >/dev/null || fail "--veth-pair"
end

# -- given, joined, empty ----------------------------------------------------------------------------------------------------------
begin <<<'ip link set lo up; ip link add v0 type veth peer name v1'
net=$(stat -Lc %i "/proc/$pid/ns/net")
exec 7<"/proc/$pid/ns/net"
torpor_cr dump -t "$pid" -D images -o dump.log --external "net[$net]:mine" 7<&- || fail "dump: $(cat images/dump.log)"
wait_until 10 gone
[ -e images/netdev-9.img ] && fail "the contents of a namespace that is the caller's"
refuses "was the caller's (mine)" torpor_cr restore -D images -d
restore --inherit-fd 'fd[7]:mine'
equal "$(stat -Lc %i "/proc/$pid/ns/net")" "$net" "the namespace that was given"
fresh
dump
restore --join-ns "net:/proc/$$/fd/7"
equal "$(stat -Lc %i "/proc/$pid/ns/net")" "$net" "the namespace that was joined"
fresh
dump --empty-ns net
exec 7<&-
refuses "--empty-ns" torpor_cr restore -D images -d
restore --empty-ns net
equal "$(inside ip -o link | wc -l)" 1 "the devices of an empty namespace"
end

# -- what cannot be saved stops the dump, by its name ---------------------------------------------------------------------------------
refused() {
	begin <<<"$2" || { echo "not tried, the kernel cannot: $2"; end; return; }
	refuses "$1" torpor_cr dump -t "$pid" -D images
	[ -e "/proc/$pid" ] || fail "a refused dump has ended the program"
	end
}
refused "network device x0: a device of kind vxlan" 'ip link add x0 type vxlan id 5 dstport 4789'
touch hold
refused "network device t0: a tun or tap device that a program has open" "setsid python3 -c '
import fcntl, os, struct, time
f = open(\"/dev/net/tun\", \"r+b\", 0)
fcntl.ioctl(f, 0x400454CA, struct.pack(\"16sH22x\", b\"t0\", 2))
while os.path.exists(\"hold\"): time.sleep(0.05)' </dev/null >/dev/null 2>&1 & for i in \$(seq 100); do ip link show t0 >/dev/null 2>&1 && break; sleep 0.2; done; ip link show t0"
rm hold
refused "IPsec policies" 'ip xfrm policy add src 10.0.0.0/8 dst 10.1.0.0/16 dir out'
refused "next hop objects" 'ip link set lo up; ip nexthop add id 1 blackhole'
refused "network device b0: a bridge that filters VLANs" 'ip link add b0 type bridge vlan_filtering 1'
refused "network device v0 has a queueing discipline" 'ip link add v0 type veth peer name v1; tc qdisc add dev v0 root handle 1: pfifo'
