#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# How-tos with containers: live, iterative, disk-less and lazy migration, incremental checkpoints, each from host a to host b. The program is one
# that changes its memory in every way and compares it with a shadow at the end.
# timeout: 240
own_pids=1
. "${0%/*}/lib_hosts.sh"

program=$TEST_BUILD/test/cr/track_random
make_bundle busybox "$TEST_DIR/c" "$program" /outside/ready
copy_program "$TEST_DIR/c/rootfs" "$program"
mkdir "$TEST_DIR/c/rootfs/outside"
export TRACK_SEED=5
configure "$TEST_DIR/c" '.process.env += ["TRACK_SEED=5"]'

runtime() { on "$1" "$TORPOR" --root "$disk/state" "${@:2}"; }
start() { # the container c1 on a; b is to have nothing yet
	on a cp -a "$TEST_DIR/c" "$disk/c"
	on a sed -i 's,/c",/a",' "$disk/c/config.json"
	runtime a run --detach --bundle "$disk/c" c1 </dev/null >/dev/null 2>&1
	wait_until 20 on a test -e "$disk/c/rootfs/outside/ready"
}
# The bundle, root filesystem and all, goes over as the images do, when the container stands still.
copy_bundle() {
	copy a b c
	on b sed -i 's,/a",/b",' "$disk/c/config.json"
}
restore() { # DIR OPTION…: on b
	runtime b restore --detach --image-path "$disk/$1" --bundle "$disk/c" "${@:2}" c1 </dev/null >/dev/null 2>"$TEST_DIR/restore.err" ||
		fail "restore on b: $(cat "$TEST_DIR/restore.err")"
}
verdict() { # the program's own, on b; and nothing is left
	on b touch "$disk/c/rootfs/outside/go"
	wait_until 30 on b test -s "$disk/c/rootfs/outside/result"
	equal "$(on b cat "$disk/c/rootfs/outside/result")" ok "the program's verdict on b ($1)"
	runtime b delete --force c1
	equal "$(runtime a list --quiet)" "" "containers on a"
	on a sh -c "rm -rf '$disk'/*"
	on b sh -c "rm -rf '$disk'/*"
	echo "$1: ok"
}

# Live: paused and saved on a, restored on b, and then deleted on a. If the restore fails: torpor resume c1 on a.
start
runtime a pause c1
runtime a checkpoint --leave-running --image-path "$disk/images" c1
equal "$(runtime a state c1 | jq -r .status)" paused "the container on a"
copy a b images
copy_bundle
restore images
runtime a delete --force c1
verdict live

# Iterative: rounds while it runs, the last one ends it. Should the restore on b fail, it is restored on a from the same images.
if runtime a --version >/dev/null && "$TORPOR_CR" check --feature mem_dirty_track >/dev/null 2>&1; then
	start
	runtime a checkpoint --pre-dump --image-path "$disk/1" c1
	copy a b 1
	runtime a checkpoint --pre-dump --image-path "$disk/2" --parent-path ../1 c1
	copy a b 2
	runtime a checkpoint --image-path "$disk/last" --parent-path ../2 c1
	copy a b last
	copy_bundle
	restore last
	verdict iterative

	# Incremental: each a checkpoint with what has changed; a is lost after the third. The files are to be those of the moment of the
	# checkpoint: it stands still until they are copied.
	start
	runtime a checkpoint --leave-running --pre-dump --image-path "$disk/1" c1
	copy a b 1
	for n in 2 3; do
		runtime a pause c1
		runtime a checkpoint --leave-running --image-path "$disk/$n" --parent-path ../$((n - 1)) c1
		copy_bundle
		runtime a resume c1
		copy a b $n
	done
	runtime a delete --force c1
	restore 3
	verdict incremental
fi

# Disk-less: the pages go into a tmpfs at b, by way of a page server.
start
on b mkdir "$disk/images"
port=$(on b "$TORPOR_CR" page-server --images-dir "$disk/images" --address 10.77.0.2 --daemon)
runtime a checkpoint --image-path "$disk/images" --page-server 10.77.0.2:"$port" c1
[ -z "$(on a sh -c "ls '$disk/images' | grep pages")" ] || fail "pages at the source"
copy a b images
copy_bundle
restore images
verdict disk-less

# Lazy: it runs on b before its memory is there.
start
runtime a checkpoint --image-path "$disk/images" c1
copy a b images
copy_bundle
restore images --lazy-pages
verdict lazy
