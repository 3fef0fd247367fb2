#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# create killed at random moments: whatever is there can be deleted, and then nothing is left. test/run looks for that too.
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_inside.sh"
require_root
make_bundle busybox "$b" sleep 1000
rounds=${KILLED_ROUNDS-100}

half_made=0
for ((i = 0; i < rounds; i++)); do
	"$TORPOR" --root "$TEST_STATE" create --bundle "$b" c </dev/null >/dev/null 2>&1 &
	pid=$!
	sleep "$(printf '0.%04d' $((RANDOM % 120)))"
	kill -KILL $pid 2>/dev/null || :
	wait $pid 2>/dev/null || :
	[ -e "$TEST_STATE/c" ] || continue
	half_made=$((half_made + 1))
	torpor delete --force c
	[ ! -e "$TEST_STATE/c" ] || fail "round $i: the state is left"
done
echo "$half_made of $rounds had something to delete"
wait_until 5 eval '[ -z "$(find /sys/fs/cgroup -maxdepth 3 -path "*$TEST_CGROUP/b")" ]'
