#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# How-to: a program moves to another host without its memory ever touching a disk. A page server there takes the pages into a tmpfs; the
# few other images are copied. At the target it may run at once and get its memory meanwhile.
. "${0%/*}/lib_hosts.sh"

worker=$TEST_BUILD/test/fault/worker status=$TEST_DIR/status

# A program that checks itself all the time, here first.
on a setsid "$worker" "$status" tree </dev/null >/dev/null 2>&1 &
wait_until 10 "$worker" "$status" watch 1
pid=$(pgrep --oldest --full "^$worker $status tree")

move() { # FROM TO ADDRESS RESTORE-OPTION…
	local from=$1 to=$2 address=$3 port members
	shift 3
	members="$pid $(cat /proc/"$pid"/task/*/children)"
	# At the target: a page server, which prints the port that it has got.
	on "$to" mkdir "$disk/to-$to"
	port=$(on "$to" "$TORPOR_CR" page-server --images-dir "$disk/to-$to" --address "$address" --daemon)
	# At the source: the dump. The program ends here once its pages are there; if anything goes wrong, it goes on here.
	on "$from" mkdir "$disk/to-$to"
	on "$from" "$TORPOR_CR" dump --tree "$pid" --images-dir "$disk/to-$to" --page-server --address "$address" --port "$port"
	[ -z "$(on "$from" sh -c "ls '$disk/to-$to' | grep pages")" ] || fail "pages at the source"
	for member in $members; do wait_until 10 [ ! -e "/proc/$member" ]; done
	copy "$from" "$to" "to-$to"
	$before_restore
	on "$to" "$TORPOR_CR" restore --restore-detached --images-dir "$disk/to-$to" "$@"
	"$worker" "$status" watch 50 || fail "the program does not go on at $to"
	equal "$(readlink "/proc/$pid/ns/net")" "$(readlink "/proc/${host_pid[$to]}/ns/net")" "the program's network"
}
before_restore=:
move a b 10.77.0.2

# And back, with a pager.
mkdir "$TEST_DIR/pager"
start_pager() {
	on a "$TORPOR_CR" lazy-pages --images-dir "$disk/to-a" --work-dir "$TEST_DIR/pager" &
	pager=$!
	wait_until 10 on a grep -q " 00010000 .*lazy-pages.socket" /proc/net/unix
}
before_restore=start_pager
move b a 10.77.0.1 --work-dir "$TEST_DIR/pager" --lazy-pages
wait $pager || fail "the pager failed"
"$worker" "$status" watch 50 || fail "the program does not go on after the pager has ended"
# shellcheck disable=SC2046
kill -9 $(cat /proc/"$pid"/task/*/children) "$pid"
