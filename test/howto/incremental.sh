#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# How-to: incremental dumps. A program is saved every so often while it goes on, each time only what it has written since; the newest
# of these checkpoints, with those before it, is restored on another host after the first one is lost.
. "${0%/*}/lib_hosts.sh"
"$TORPOR_CR" check --feature mem_dirty_track >/dev/null 2>&1 || skip "this kernel cannot track changes"

new_tmpdir work
writer 42

previous=()
for n in 1 2 3 4; do
	on a mkdir "$disk/$n"
	on a "$TORPOR_CR" dump --tree "$pid" --images-dir "$disk/$n" --leave-running --track-mem "${previous[@]}"
	previous=(--prev-images-dir "../$n")
	copy a b $n
	sleep 0.1
done

# Host a is lost. What a later checkpoint has again can be freed in those before it.
# All of its session, with the child that it has made this moment: whoever is left of it holds its number.
wait_until 10 eval '! pkill -KILL --session "$pid"'
for image in $(on b ls "$disk/4"); do
	case $image in core-*.img) image=${image#core-}; wait_until 10 [ ! -e "/proc/${image%.img}" ] ;; esac
done
on b "$TORPOR_CR" dedup --images-dir "$disk/4"
on b "$TORPOR_CR" restore --images-dir "$disk/4" --restore-detached
touch "$work/go"
wait_until 30 [ -e "$work/result" ]
equal "$(<"$work/result")" ok "the program's verdict on b"
