# SPDX-License-Identifier: Apache-2.0
# For tests with hosts of their own: network namespaces joined by veth. Sourced after lib.sh; the test itself runs in a network namespace that
# goes with it.
if [ -z "${TEST_NET-}" ]; then
	require_root
	require_command ip nsenter unshare python3
	unshare -n true 2>/dev/null || skip "no network namespace can be made here"
	TEST_NET=1 exec unshare -n "$0" "$@"
fi
TALK=$TEST_TOP/test/net/talk.py
NETLOCK=$TEST_BUILD/bin/torpor-netlock

# new_host NAME: a network namespace at $TEST_DIR/NAME.net, held by process $NAME_pid. own_mounts=1: and a mount namespace.
new_host() {
	unshare -n ${own_mounts:+-m} sleep 1000 &
	printf -v "$1_pid" %s $!
	at_exit kill -9 $!
	wait_until 10 grep -q sleep "/proc/$!/comm"
	ln -s "/proc/$!/ns/net" "$TEST_DIR/$1.net"
	on "$1" ip link set lo up
}
# on NAME COMMAND…: in its namespace.
on() {
	local host=$1
	shift
	local pid=${host}_pid
	nsenter --net="$TEST_DIR/$host.net" ${own_mounts:+--mount="/proc/${!pid}/ns/mnt"} -- "$@"
}
# join_hosts A B: a veth pair, "net0" on both sides; A has 10.9.0.1 and fd09::1, B 10.9.0.2 and fd09::2.
join_hosts() {
	local a=$1_pid b=$2_pid
	ip link add a0 type veth peer name b0
	ip link set a0 netns "${!a}" name net0
	ip link set b0 netns "${!b}" name net0
	on "$1" ip address add 10.9.0.1/24 dev net0
	on "$1" ip address add fd09::1/64 dev net0 nodad
	on "$2" ip address add 10.9.0.2/24 dev net0
	on "$2" ip address add fd09::2/64 dev net0 nodad
	on "$1" ip link set net0 up
	on "$2" ip link set net0 up
}
# in_background HOST COMMAND…: killed when the test ends; $! is its pid.
in_background() { # HOST COMMAND…
	local host=$1
	shift
	nsenter --net="$TEST_DIR/$host.net" -- "$@" &
	at_exit kill -9 $!
}
# Hosts box and peer, joined; in $TEST_DIR.
box_and_peer() {
	require_command nft
	new_host box
	new_host peer
	join_hosts box peer
	cd "$TEST_DIR"
}
# Answers both addresses of box; $pid, of a session of its own.
serve_box() {
	setsid nsenter --net="$TEST_DIR/box.net" "$TALK" serve 10.9.0.1,fd09::1 80 </dev/null >/dev/null 2>&1 &
	pid=$!
	at_exit kill -9 $pid
}
# The peer asks both; answers are counted in the files four and six.
ask_box() {
	in_background peer "$TALK" ask 10.9.0.1 80 four
	in_background peer "$TALK" ask fd09::1 80 six
	goes_on four
	goes_on six
}
count() { cat "$1" 2>/dev/null || echo 0; }
# goes_on FILE [WHEN]: the asker of FILE gets answers: more than there are now.
goes_on() {
	local now
	now=$(count "$1")
	[[ $now =~ ^[0-9]+$ ]] || fail "${2:+$2: }$1: $now"
	wait_until 60 more_than "$now" "$1"   # who has asked in vain for a while asks at longer intervals
}
more_than() { [[ $(count "$2") =~ ^[0-9]+$ ]] && [ "$(count "$2")" -gt "$1" ]; }
# It gets none for half a second. What was under way at the beginning does not count.
stands_still() {
	local now last=
	for _ in {1..20}; do
		now=$(count "$1")
		[[ $now =~ ^[0-9]+$ ]] || fail "$1: $now"
		[ "$now" != "$last" ] || return 0
		last=$now
		sleep 0.5
	done
	fail "answers in $1: $now"
}
