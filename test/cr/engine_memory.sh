#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The engine's own memory (all of its processes together) stays under 32 MiB in a dump, a restore and a lazy restore of a program of 1 GiB.
# timeout: 280
. "${0%/*}/../lib.sh"
require_root
[ $(($(awk '/^MemAvailable/ { print $2 }' /proc/meminfo) >> 10)) -gt 2500 ] || skip "needs 2.5 GiB of free memory"
[ $(($(df -Pk "$TEST_DIR" | awk 'END { print $4 }') >> 10)) -gt 2500 ] || skip "needs 2.5 GiB in $TEST_DIR"
below_reaper

new_tmpdir work
cd "$work"
beat() { "$TEST_BUILD/test/bench/heartbeat" "$1" beats; }
gone() { [ ! -e "/proc/$pid" ]; }
within() { # WHAT COMMAND…: with less than 32 MiB
	local kib what=$1
	shift
	"$TEST_BUILD/test/cr/anon_peak" peak "$TORPOR_CR" "$pid" "$@" || fail "$what: $*: status $?: $(tail -n 3 images/*.log 2>/dev/null)"
	kib=$(<peak)
	echo "$what: $kib KiB"
	[ "$kib" -gt 100 ] || fail "$what: nothing was measured"
	[ -n "${SAN-}" ] || [ "$kib" -lt 32768 ] || fail "$what: $kib KiB of the engine's own memory"
}

setsid "$TEST_BUILD/test/bench/heartbeat" run beats 1024 0 </dev/null >/dev/null 2>&1 &
pid=$!
wait_until 60 beat next
mkdir images
within dump "$TORPOR_CR" dump -t $pid -D images -o dump.log
wait_until 30 gone
within restore "$TORPOR_CR" restore -D images -o restore.log -d
wait_until 30 beat next
kill -9 $pid
wait_until 30 gone

# The pager, its guardian and the restore together; the pager ends when all is there.
lazily() {
	"$TORPOR_CR" lazy-pages -D images -o lazy.log &
	local pager=$!
	wait_until 20 listens_at images/lazy-pages.socket
	"$TORPOR_CR" restore -D images -o restore.log -d --lazy-pages
	wait $pager
}
export -f lazily wait_until listens_at
within "lazy restore" bash -c lazily
wait_until 30 beat next
kill -9 $pid
