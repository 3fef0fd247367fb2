# SPDX-License-Identifier: Apache-2.0
# For tests of connections from end to end. Hosts a, b and peer (network namespaces) are on a bridge: 10.9.0.1 to 10.9.0.3 at net0. The address
# 10.9.0.10, first on a, belongs to the container srv, which is on the network of its host and moves to b together with the address
# (contrib/hooks/move-address). What is torn down is seen: RST and ICMP at the net0 of each host.
# Sourced after lib.sh. A program that is restored belongs to nobody: the test is a child of a reaper.
below_reaper
. "${0%/*}/lib_net.sh"
require_command jq setpriv

MOVE=$TEST_TOP/contrib/hooks/move-address
export TORPOR_ADDRESSES=$TEST_DIR/addresses
echo "srv 10.9.0.10/24 net0" >"$TORPOR_ADDRESSES"
mkdir -m 777 "$TEST_DIR/outside"

ip link add lan type bridge forward_delay 0 || skip "no bridge can be made here"
ip link set lan up
number=0
for host in a b peer; do
	number=$((number + 1)) pid=${host}_pid
	new_host $host
	pid=${!pid}
	ip link add "lan-$host" type veth peer name net0 netns "$pid"
	ip link set "lan-$host" master lan up
	on $host ip address add 10.9.0.$number/24 dev net0
	on $host ip link set net0 up
done
on a ip address add 10.9.0.10/24 dev net0
watch() { # FILE [ADDRESS]: from now on, into FILE-HOST
	local host
	seen=$1
	for host in a b peer; do
		in_background $host "$TALK" sniff net0 "$seen-$host" "${@:2}"
		wait_until 10 test -e "$seen-$host"
	done
}
watch "$TEST_DIR/seen"
no_reset() {
	local host
	for host in a b peer; do equal "$(cat "$seen-$host")" "" "what came to $host ($1)"; done
}

gone() { ! [ -e "/proc/$1" ]; }   # and reaped: its pid is free

# -- programs on a host's network ---------------------------------------------------------------------------------------------------
# begin HOST COMMAND…: sets begun to its pid. With no descriptor but the first three.
begin() {
	local host=$1
	shift
	nsenter --net="$TEST_DIR/$host.net" setsid python3 -c 'import os, sys; os.closerange(3, 1000); os.execvp(sys.argv[1], sys.argv[1:])' "$@" \
		</dev/null >"$TEST_DIR/out" 2>&1 &
	begun=$!
	at_exit eval "kill -9 $begun 2>/dev/null"
}
# again HOST PID: saved and restored in place.
again() {
	local p members
	members="$2 $(cat /proc/"$2"/task/*/children)"
	rm -rf "$TEST_DIR/again"
	mkdir "$TEST_DIR/again"
	on "$1" "$TORPOR_CR" dump --tree "$2" --images-dir "$TEST_DIR/again" --tcp-established --log-file dump.log >"$TEST_DIR/output" 2>&1 ||
		fail "dump on $1: $(cat "$TEST_DIR/output" "$TEST_DIR/again/dump.log")"
	for p in $members; do wait_until 20 gone "$p"; done
	on "$1" "$TORPOR_CR" restore --images-dir "$TEST_DIR/again" --restore-detached --tcp-established --log-file restore.log >"$TEST_DIR/output" 2>&1 ||
		fail "restore on $1: $(cat "$TEST_DIR/output" "$TEST_DIR/again/restore.log")"
}

# -- the container ------------------------------------------------------------------------------------------------------------------
# make_srv COMMAND…: a bundle at $TEST_DIR/srv with the programs of this machine, /outside to write to, and the host's network.
make_srv() {
	local d
	make_bundle busybox "$TEST_DIR/srv" "$@"
	rm -rf "$TEST_DIR"/srv/rootfs/{bin,sbin,lib,lib64}
	mkdir -p "$TEST_DIR"/srv/rootfs/{usr,outside,build,tree}
	for d in bin sbin lib lib64; do ln -s usr/$d "$TEST_DIR/srv/rootfs/$d"; done
	configure "$TEST_DIR/srv" '.linux.namespaces |= map(select(.type != "network")) | .mounts += [
			{destination: "/usr", type: "bind", source: "/usr", options: ["rbind", "ro"]},
			{destination: "/build", type: "bind", source: $build, options: ["rbind", "ro"]},
			{destination: "/tree", type: "bind", source: $top, options: ["rbind", "ro"]},
			{destination: "/outside", type: "bind", source: $outside, options: ["rbind", "rw"]}]' \
		--arg build "$TEST_BUILD" --arg top "$TEST_TOP" --arg outside "$TEST_DIR/outside"
	at_exit eval 'for h in a b; do on $h "$TORPOR" --root "$TEST_DIR/state-$h" delete --force srv; done >/dev/null 2>&1'
}
runtime() { on "$1" "$TORPOR" --root "$TEST_DIR/state-$1" "${@:2}"; }
start_srv() { runtime a run --detach --bundle "$TEST_DIR/srv" srv </dev/null >"$TEST_DIR/srv.out" 2>&1 || fail "run: $(cat "$TEST_DIR/srv.out")"; }
# move_srv FROM TO: saved on one host, restored on the other, or on the same one.
move_srv() {
	local hook=()
	[ "$1" = "$2" ] || hook=(--action-script "$MOVE")
	rm -rf "$TEST_DIR/images"
	runtime "$1" checkpoint --tcp-established "${hook[@]}" --image-path "$TEST_DIR/images" --work-path "$TEST_DIR/log" srv >"$TEST_DIR/output" 2>&1 ||
		fail "checkpoint on $1: $(cat "$TEST_DIR/output" "$TEST_DIR/log/dump.log")"
	runtime "$2" restore --detach --tcp-established "${hook[@]}" --image-path "$TEST_DIR/images" --work-path "$TEST_DIR/log" --bundle "$TEST_DIR/srv" srv \
		</dev/null >"$TEST_DIR/output" 2>&1 || fail "restore on $2: $(cat "$TEST_DIR/output" "$TEST_DIR/log/restore.log")"
}
