#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A paused container that is checkpointed and goes on: its processes stand all the while, also those that exec brought in, which are not saved.
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_inside.sh"
require_root
make_bundle busybox "$b" sleep 1000
delete_at_exit c
torpor run --detach --bundle "$b" c </dev/null >"$TEST_DIR/out" 2>&1
ticks=$b/rootfs/ticks
torpor exec --detach c sh -c 'while :; do echo tick; done >/ticks' >>"$TEST_DIR/out" 2>&1
torpor exec --detach --pid-file "$TEST_DIR/stopped" c sleep 1001 >>"$TEST_DIR/out" 2>&1
kill -STOP "$(cat "$TEST_DIR/stopped")"
grows() { [ "$(stat -c %s "$ticks")" -gt "$1" ]; }
wait_until 5 grows 0

torpor pause c
size=$(stat -c %s "$ticks")
freezer=$(torpor state c | jq -r .pid | xargs -I{} sed -n 's/^0:://p' /proc/{}/cgroup)
for round in 1 2 3; do
	torpor checkpoint --leave-running --image-path "$TEST_DIR/images$round" c
	equal "$(container_status c)" paused "status after round $round"
	# with cgroup v1 it goes on from the thaw until it is seized
	[[ $freezer != *"$TEST_CGROUP"* ]] || equal "$(stat -c %s "$ticks")" "$size" "what an exec-ed process has written by round $round"
done
refuses "brought in by exec" torpor checkpoint --image-path "$TEST_DIR/never" c
equal "$(container_status c)" paused "status after a refusal"
torpor resume c
size=$(stat -c %s "$ticks")
wait_until 5 grows "$size"
wait_until 5 grep '^State:.T' "/proc/$(cat "$TEST_DIR/stopped")/status"   # stopped as before
torpor delete --force c
torpor restore --detach --image-path "$TEST_DIR/images3" --bundle "$b" c </dev/null >"$TEST_DIR/out" 2>&1
equal "$(torpor ps --format json c | jq length)" 1 "processes of the restored one"
