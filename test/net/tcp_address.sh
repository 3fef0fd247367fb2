#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A restore where the address is not: it fails and names it before there is a task; with --map-address a listening socket and its connections
# have another one, and the connections go on when the peer has been told (here by rules that rewrite addresses).
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_net.sh"
box_and_peer
cr=(nsenter --net="$TEST_DIR/box.net" -- "$TORPOR_CR")
serve_box
ask_box
gone() { ! grep -qs '^State:.[^ZX]' "/proc/$pid/status"; }
mkdir images
"${cr[@]}" dump -t $pid -D images -o dump.log --tcp-established || fail "dump: $(tail -3 images/dump.log)"
wait_until 10 gone
"$NETLOCK" lock --id move --netns "$TEST_DIR/box.net"   # the new addresses are not those that the dump has locked
on box ip address delete 10.9.0.1/24 dev net0
on box ip address delete fd09::1/64 dev net0
on box ip address add 10.9.0.5/24 dev net0
on box ip address add fd09::5/64 dev net0 nodad
restore=("${cr[@]}" restore -d -D images --tcp-established)
refuses "does not have the address 10.9.0.1" "${restore[@]}" --map-address fd09::1=fd09::5
refuses "does not have the address fd09::1" "${restore[@]}" --map-address 10.9.0.1=10.9.0.5
wait_until 10 gone
on peer nft -f - <<-'END'
	table inet moved {
		chain out { type route hook output priority 0; ip daddr 10.9.0.1 ip daddr set 10.9.0.5; ip6 daddr fd09::1 ip6 daddr set fd09::5; }
		chain in { type filter hook prerouting priority -300; ip saddr 10.9.0.5 ip saddr set 10.9.0.1; ip6 saddr fd09::5 ip6 saddr set fd09::1; }
	}
END
"${restore[@]}" -o restore.log --map-address 10.9.0.1=10.9.0.5 --map-address fd09::1=fd09::5 || fail "restore: $(tail -3 images/restore.log)"
"$NETLOCK" unlock --id move --netns "$TEST_DIR/box.net"
goes_on four
goes_on six
on peer nft delete table inet moved
in_background peer "$TALK" ask 10.9.0.5 80 new
goes_on new
kill -9 $pid
