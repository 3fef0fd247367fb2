#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A peer floods connections of IPv4 and IPv6 while they are saved, gone and restored: no reset and no ICMP comes back, and they go on. In a
# network namespace of the tree's own, and on a host's network, with each method; the connections saved in a program that goes on, too.
# timeout: 180
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_net.sh"
box_and_peer
exec 7<"$TEST_DIR/box.net"
net=$(stat -Lc %i box.net)

begin() {
	seen=seen.$method pids=()
	serve_box
	for name in four six; do
		rm -f $name $name.port $name.flood
		[ $name = four ] && a=10.9.0.1 b=10.9.0.2 || a=fd09::1 b=fd09::2
		in_background peer "$TALK" ask $a 80 $name
		pids+=($!)
		wait_until 20 test -s $name.port
		goes_on $name
	done
	in_background peer "$TALK" sniff net0 $seen    # not before: who asks may have been too early
	pids+=($!)
	wait_until 20 test -e $seen
	for name in four six; do
		[ $name = four ] && a=10.9.0.1 b=10.9.0.2 || a=fd09::1 b=fd09::2
		in_background peer "$TALK" flood $b "$(<$name.port)" $a 80 $name.flood
		pids+=($!)
		wait_until 20 test -s $name.flood
	done
}
gone() { ! grep -qs '^State:.[^ZX]' "/proc/$pid/status"; }
clean() {
	equal "$(<$seen)" "" "$1: what the peer saw"
	equal "$(on box nft list ruleset | grep -c torpor || :)" 0 "$1: tables that are left"
}
flooded() { for name in four six; do more_than $(($1 + 50)) $name.flood || return 1; done; }


# round HOW NETWORK: torpor-cr in that network, with the options of both commands, of dump, of restore.
round() {
	local how="$1, $method" sent
	local cr=(nsenter --net="$2" -- "$TORPOR_CR")
	rm -rf images
	mkdir images
	"${cr[@]}" dump -t "$pid" -D images -o dump.log --leave-running "${options[@]}" "${save[@]}" || fail "$how: $(tail -3 images/dump.log)"
	goes_on four
	goes_on six
	clean "$how, left running"
	rm -rf images
	mkdir images
	"${cr[@]}" dump -t "$pid" -D images -o dump.log "${options[@]}" "${save[@]}" || fail "$how: $(tail -3 images/dump.log)"
	wait_until 10 gone
	sent=$(count four.flood)
	[ "$sent" -gt "$(count six.flood)" ] || sent=$(count six.flood)
	wait_until 20 flooded "$sent"
	stands_still four
	stands_still six
	equal "$(<$seen)" "" "$how: what the peer saw while it was gone"
	"${cr[@]}" restore -d -D images -o restore.log "${options[@]}" "${build[@]}" || fail "$how: $(tail -3 images/restore.log)"
	goes_on four
	goes_on six
	clean "$how"
}

methods=(nftables)
if command -v iptables-restore >/dev/null; then methods+=(iptables); fi
for method in "${methods[@]}"; do
	begin
	options=(--tcp-established --network-lock "$method") save=(--external "net[$net]:box") build=(--inherit-fd "fd[7]:box")
	round "a namespace of its own" /proc/self/ns/net
	save=() build=()
	round "the host's network" "$TEST_DIR/box.net"
	kill -9 "$pid"
	wait_until 20 test -s "$seen"    # a reset is seen, when there is one
	kill -9 "${pids[@]}" || :
	wait "${pids[@]}" || :
done
