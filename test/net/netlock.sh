#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# torpor-netlock: connections stand still and are not answered while the lock is there, and go on afterwards; whose tables are touched.
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_net.sh"
require_command nft

new_host box
new_host peer
join_hosts box peer
netlock() { "$NETLOCK" "$@"; }
shows '^torpor-netlock [0-9]' netlock lock --version   # and nothing else
rules() { on box nft list ruleset 2>/dev/null; }
in_background box "$TALK" serve 10.9.0.1 80
in_background box "$TALK" serve fd09::1 80
in_background peer "$TALK" ask 10.9.0.1 80 "$TEST_DIR/four"
in_background peer "$TALK" ask fd09::1 80 "$TEST_DIR/six"
goes_on "$TEST_DIR/four"
goes_on "$TEST_DIR/six"
in_background peer "$TALK" sniff net0 "$TEST_DIR/seen"    # not before: who asks may have been too early
wait_until 10 test -e "$TEST_DIR/seen"

# A firewall of the user's, of nft's and of iptables-nft's making, which answers what it does not like.
on box nft -f - <<'END'
table inet mine {
	chain input { type filter hook input priority -200; tcp dport 81 reject with tcp reset; }
	chain prerouting { type filter hook prerouting priority -400; tcp dport 82 reject with tcp reset; }
}
END
if command -v iptables-nft >/dev/null; then on box iptables-nft -A INPUT -p tcp --dport 83 -j REJECT; fi
before=$(rules 2>&1)

# All packets; again; away; again.
netlock lock --id c1 --netns "$TEST_DIR/box.net"
stands_still "$TEST_DIR/four"
stands_still "$TEST_DIR/six"
netlock lock --id c1 --pid "$box_pid"
stands_still "$TEST_DIR/four"
for port in 80 81 82 83 84; do on peer timeout 0.2 bash -c "echo x >/dev/tcp/10.9.0.1/$port" 2>/dev/null && fail "port $port answers"; done
equal "$(netlock status --netns "$TEST_DIR/box.net")" $'c1\tall packets' "the status"
refuses "" netlock status --id c2 --netns "$TEST_DIR/box.net"
netlock status --id c1 --netns "$TEST_DIR/box.net" >/dev/null
equal "$(cat "$TEST_DIR/seen")" "" "what the peer saw"
in_background peer "$TALK" receive 10.9.0.2 99 "$TEST_DIR/datagrams"
wait_until 10 test -e "$TEST_DIR/datagrams"
if on box "$TALK" send 10.9.0.2 99 0; then fail "a packet without the mark goes out"; fi
on box "$TALK" send 10.9.0.2 99 0xC114
wait_until 5 more_than 0 "$TEST_DIR/datagrams"
netlock unlock --id c1 --netns "$TEST_DIR/box.net"
netlock unlock --id c1 --netns "$TEST_DIR/box.net"
goes_on "$TEST_DIR/four"
goes_on "$TEST_DIR/six"
equal "$(rules 2>&1)" "$before" "the rules"

# One connection of two, by each method.
in_background peer "$TALK" ask 10.9.0.1 80 "$TEST_DIR/other"
goes_on "$TEST_DIR/other"
flow() { on box ss -Htn state established src "$1" | awk 'NR == '"$2"' { print $3 "," $4 }'; }
# One of the two stands still for half a second while the other goes on. What was under way at the beginning does not count.
one_of_two() {
	local a b c d
	for _ in {1..40}; do
		a=$(count "$TEST_DIR/four") b=$(count "$TEST_DIR/other")
		sleep 0.5
		c=$(count "$TEST_DIR/four") d=$(count "$TEST_DIR/other")
		[ $((a == c)) = $((b == d)) ] || return 0
	done
	[ "$a" = "$c" ] || fail "$method: $f is not locked"
	fail "$method: all connections are locked"
}
f=$(flow 10.9.0.1:80 1) g=$(flow 10.9.0.1:80 2) h=$(flow '[fd09::1]:80' 1)
for method in nftables iptables; do
	if [ $method = iptables ]; then command -v iptables-restore >/dev/null || break; fi
	netlock lock --network-lock $method --id c1 --netns "$TEST_DIR/box.net" --flow "$h" --flow "$f"
	stands_still "$TEST_DIR/six"
	one_of_two
	netlock lock --network-lock $method --id c1 --netns "$TEST_DIR/box.net" --flow "$g" --flow "$f"
	goes_on "$TEST_DIR/six"
	stands_still "$TEST_DIR/four"
	stands_still "$TEST_DIR/other"
	netlock unlock --network-lock $method --id c1 --netns "$TEST_DIR/box.net"
	goes_on "$TEST_DIR/four"
	goes_on "$TEST_DIR/other"
	netlock lock --network-lock $method --id c1 --netns "$TEST_DIR/box.net"
	netlock lock --network-lock $method --id c2 --netns "$TEST_DIR/box.net"
	netlock unlock --network-lock $method --id c1 --netns "$TEST_DIR/box.net"
	stands_still "$TEST_DIR/four"
	netlock clean --netns "$TEST_DIR/box.net"
	goes_on "$TEST_DIR/four"
	[[ $(rules) != *torpor* ]] || fail "$(rules)"
done
equal "$(cat "$TEST_DIR/seen")" "" "what the peer saw"

# Ten thousand connections.
mapfile -t flows < <(seq 10000 | awk '{ print "--flow=10.9.0.1:80,10.8." int($1 / 200) "." $1 % 200 + 1 ":" 1000 + $1; print "--flow=[fd09::1]:80,[fd08::" $1 % 10000 "]:" $1 }')
netlock lock --id many --netns "$TEST_DIR/box.net" "${flows[@]}"
equal "$(on box nft list set inet torpor-many four | grep -o '10\.8\.' | wc -l)" 10000 "connections of IPv4 in the set"
equal "$(on box nft list set inet torpor-many six | grep -o 'fd08:' | wc -l)" 10000 "connections of IPv6 in the set"
netlock unlock --id many --netns "$TEST_DIR/box.net"

# A table that is not ours stays, with its name or without the comment.
on box nft add table inet torpor-c9
refuses "left alone" netlock lock --id c9 --netns "$TEST_DIR/box.net"
refuses "left alone" netlock unlock --id c9 --netns "$TEST_DIR/box.net"
netlock clean --netns "$TEST_DIR/box.net"
on box nft list table inet torpor-c9 >/dev/null
on box nft delete table inet torpor-c9

# As an OCI hook, as an action script; what is refused.
echo "{\"ociVersion\": \"1.3.0\", \"id\": \"h1\", \"status\": \"running\", \"pid\": $box_pid, \"bundle\": \"/b\"}" | netlock lock --hook
equal "$(netlock status --pid "$box_pid")" $'h1\tall packets' "the hook's"
echo '{"id": "h1"}' | netlock unlock --hook --pid "$box_pid"
export TORPOR_ID=s1 CRTOOLS_INIT_PID=$box_pid
for action in pre-dump network-lock post-dump; do CRTOOLS_SCRIPT_ACTION=$action netlock; done
equal "$(netlock status)" $'s1\tall packets' "the script's"
CRTOOLS_SCRIPT_ACTION=network-unlock netlock
unset TORPOR_ID CRTOOLS_INIT_PID
equal "$(netlock status --pid "$box_pid")" "" "the status in the end"
refuses "--id" netlock lock --pid "$box_pid"
refuses "would be cut off" netlock lock --id c1 --pid $$
refuses "no network namespace" netlock lock --id c1
refuses "expected LOCAL-ADDRESS" netlock lock --id c1 --flow 10.0.0.1:80
refuses "expected LOCAL-ADDRESS" netlock lock --id c1 --flow '10.0.0.1:80,[::1]:2'
refuses "nftables, iptables, skip and none" netlock lock --id c1 --pid "$box_pid" --network-lock magic
refuses "/proc/1000000/ns/net" netlock lock --id c1 --pid 1000000

# The child that waits for the kernel at the end of unlock has nothing of the caller's, and ends.
cp "$NETLOCK" "$TEST_DIR/own"
mkdir "$TEST_DIR/mount"
"$TEST_DIR/own" lock --id u1 --netns "$TEST_DIR/box.net"
unshare -m --propagation private bash -ec 'mount -t tmpfs tmpfs "$1/mount"; cd "$1/mount"; exec 8>file; "$1/own" unlock --id u1 --netns "$1/box.net"
	"$1/own" status --netns "$1/box.net"; exec 8>&-; cd /; umount "$1/mount"' - "$TEST_DIR" >"$TEST_DIR/left"
equal "$(cat "$TEST_DIR/left")" "" "what is left when the command has ended"
ended() { [ -z "$(find /proc/[0-9]*/exe -lname "$TEST_DIR/own" 2>/dev/null)" ]; }
wait_until 10 ended

# A lock that is killed half-way, at any moment: clean takes away what there is.
for i in {1..30}; do
	"$NETLOCK" lock --id "k$i" --netns "$TEST_DIR/box.net" &
	sleep "0.00$((RANDOM % 8))"
	kill -9 $! 2>/dev/null || :
	wait $! 2>/dev/null || :
done
netlock clean --netns "$TEST_DIR/box.net"
equal "$(netlock status --netns "$TEST_DIR/box.net")" "" "what is left"
[[ $(rules) != *torpor* ]] || fail "$(rules)"
goes_on "$TEST_DIR/four"
goes_on "$TEST_DIR/six"
