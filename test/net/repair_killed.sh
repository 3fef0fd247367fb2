#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The engine is killed while it saves connections whose program sleeps in recv(): REPAIR_KILLS times (25). A connection that is being read is in
# repair mode, in which a program may not receive (EPERM): the program must never find it so, however late whoever ends that mode comes to run.
# timeout: 300
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_net.sh"
ip link set lo up
cd "$TEST_DIR"
killafter=$TEST_BUILD/test/fault/killafter
setsid "$TEST_BUILD/test/net/waiting" 100 errors </dev/null >/dev/null 2>&1 &
pid=$!
at_exit kill -9 $pid
wait_until 20 test -e errors

guarded() { grep -qs torpor-tcp /proc/[0-9]*/comm; }
dump() { # MICROSECONDS OPTION…: `outcome` and `time`
	local us=$1
	shift
	rm -rf images
	mkdir images
	read -r outcome time < <("$killafter" -t "$us" "$TORPOR_CR" dump -t $pid -D images -o dump.log --tcp-established "$@")
}
dump 0 --leave-running
[ "$outcome ${time% *}" = "exit 0" ] || fail "dump: $(tail -3 images/dump.log)"
took=${time##* } killed=0
for ((i = 0; i < ${REPAIR_KILLS-25}; i++)); do
	us=$((RANDOM * 32768 + RANDOM))
	dump $((us % took + 1)) --leave-running
	# What it takes depends on what else this machine does.
	if [ "$outcome" = killed ]; then killed=$((killed + 1)) took=$((took + took / 20)); else took=${time##* }; fi
	wait_until 20 eval '! guarded'
done
[ $killed -gt 5 ] || fail "$killed of $i dumps were killed: this shows nothing"
sleep 0.3   # the threads were held for a moment
equal "$(<errors)" "" "what the program saw of $killed killed dumps"
dump 0 --leave-running
[ "$outcome ${time% *}" = "exit 0" ] || fail "dump afterwards: $(tail -3 images/dump.log)"
equal "$(<errors)" "" "what the program saw afterwards"
echo "$killed of $i killed; a dump takes $took us"
