#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# How-to: lazy migration. The program stands still only while its small state goes over; its memory stays at the source and comes to the
# target while it runs there already. First a tree of processes, then a container.
own_pids=1
. "${0%/*}/lib_hosts.sh"
require_command jq pgrep

worker=$TEST_BUILD/test/fault/worker

# --- with torpor-cr ---

status=$TEST_DIR/status
on a setsid "$worker" "$status" tree </dev/null >/dev/null 2>&1 &
wait_until 10 "$worker" "$status" watch 1
pid=$(on a pgrep --oldest --full "^$worker $status tree")

# At the source: the program stands still from here on, and the dump serves its memory. A byte on --status-fd says that the images are
# whole. It ends when the target has all memory, and the program here with it: the source needs no kill of its own. If the target fails
# before the program runs there, it goes on here. If the dump is ended by hand it goes on here as well, or, if it may already run there,
# is left stopped: `kill -CONT` of its processes lets it go on, if it does not run at the target.
on a mkdir "$disk/images"
on a sh -c "exec '$TORPOR_CR' dump --tree $pid --images-dir '$disk/images' --lazy-pages --address 10.77.0.1 --port 7007 --status-fd 3 \
	3>'$disk/ready'" &
source=$!
wait_until 10 on a test -s "$disk/ready"
copy a b images

# At the target: a pager, which fetches from the source, and the restore.
on b "$TORPOR_CR" lazy-pages --images-dir "$disk/images" --page-server --address 10.77.0.1 --port 7007 &
pager=$!
wait_until 10 on b grep -q " 00010000 .*lazy-pages.socket" /proc/net/unix
on b "$TORPOR_CR" restore --images-dir "$disk/images" --lazy-pages --restore-detached
"$worker" "$status" watch 50 || fail "the program does not go on at b"
wait $pager || fail "the pager failed"
wait $source || fail "the source failed"
wait_until 10 eval '! on a pgrep --full "^$worker $status tree"'
"$worker" "$status" watch 50 || fail "the program does not go on after all of its memory has come"
on b pkill --signal KILL --full "^$worker $status tree"

# --- with a container ---

make_bundle busybox "$TEST_DIR/bundle" /worker /status tree
copy_program "$TEST_DIR/bundle/rootfs" "$worker"
mv "$TEST_DIR/bundle/rootfs/$worker" "$TEST_DIR/bundle/rootfs/worker"
on a cp -r "$TEST_DIR/bundle" "$disk/bundle"
runtime() { # HOST COMMAND…
	on "$1" "$TORPOR" --root "$TEST_DIR/state-$1" "${@:2}"
}
at_exit nsenter --target "${host_pid[a]}" --mount --net --pid -- "$TORPOR" --root "$TEST_DIR/state-a" delete --force moving
at_exit nsenter --target "${host_pid[b]}" --mount --net --pid -- "$TORPOR" --root "$TEST_DIR/state-b" delete --force moving
runtime a run --detach --bundle "$disk/bundle" moving </dev/null >"$TEST_DIR/run.out" 2>&1 || fail "run: $(cat "$TEST_DIR/run.out")"
wait_until 10 on a "$worker" "$disk/bundle/rootfs/status" watch 1

# The same here: checkpoint serves, and ends with the container when the target has all memory.
runtime a checkpoint --image-path "$disk/c" --lazy-pages --page-server 10.77.0.1:7008 --status-fd 3 moving 3>"$TEST_DIR/ready" &
source=$!
wait_until 10 test -s "$TEST_DIR/ready"
equal "$(runtime a state moving | jq -r .status)" running "the container at the source"
copy a b c
copy a b bundle
on b sed -i 's|/bundle"|/bundle-at-b"|' "$disk/bundle/config.json"      # both hosts of this test have the same control groups

# At the target there is no daemon: the restore starts a pager, which ends by itself.
runtime b restore --detach --image-path "$disk/c" --bundle "$disk/bundle" --lazy-pages --page-server 10.77.0.1:7008 moving </dev/null \
	>"$TEST_DIR/restore.out" 2>&1 || fail "restore: $(cat "$TEST_DIR/restore.out")"
wait $source || fail "the checkpoint failed"
refuses "does not exist" runtime a state moving
on b "$worker" "$disk/bundle/rootfs/status" watch 50 || fail "the container does not go on at b"
equal "$(runtime b state moving | jq -r .status)" running "the container at the target"
