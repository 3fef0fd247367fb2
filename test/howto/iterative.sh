#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# How-to: iterative migration. The program runs on host a while most of its memory is copied to host b; it stands still only for what it
# has written since the last round.
. "${0%/*}/lib_hosts.sh"
"$TORPOR_CR" check --feature mem_dirty_track >/dev/null 2>&1 || skip "this kernel cannot track changes"

new_tmpdir work
writer 4711

# On a, any number of times: a round, while the program runs, and its copy.
on a mkdir "$disk/1" "$disk/2" "$disk/3" "$disk/last"
on a "$TORPOR_CR" pre-dump --tree "$pid" --images-dir "$disk/1"
copy a b 1
on a "$TORPOR_CR" pre-dump --tree "$pid" --images-dir "$disk/2" --prev-images-dir ../1
copy a b 2
on a "$TORPOR_CR" pre-dump --tree "$pid" --images-dir "$disk/3" --prev-images-dir ../2
copy a b 3

# The switch: the last dump stops the program, and what little it has goes over. The program is still there, stopped: if anything goes wrong,
# `kill -CONT` lets it go on.
on a "$TORPOR_CR" dump --tree "$pid" --images-dir "$disk/last" --prev-images-dir ../3 --leave-stopped
copy a b last

# The source is killed before the program is restored here: both hosts of this test have the same process numbers. Between two machines
# restore first, then kill the source: kill -9 of every process of the tree.
tree() {
	echo "$1"
	for child in $(cat /proc/"$1"/task/*/children); do tree "$child"; done
}
kill -9 $(tree "$pid")
for image in $(on b ls "$disk/last"); do
	case $image in core-*.img) image=${image#core-}; wait_until 10 [ ! -e "/proc/${image%.img}" ] ;; esac
done
on b "$TORPOR_CR" restore --images-dir "$disk/last" --restore-detached
touch "$work/go"
wait_until 30 [ -e "$work/result" ]
equal "$(<"$work/result")" ok "the program's verdict on b"
