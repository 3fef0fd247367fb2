#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# How-to: live migration. The program is saved and stands still, is restored on the other host, and only then ends here; if the restore
# fails, it goes on here.
own_pids=1
. "${0%/*}/lib_hosts.sh"

worker=$TEST_BUILD/test/fault/worker status=$TEST_DIR/status
on a setsid "$worker" "$status" tree </dev/null >/dev/null 2>&1 &
wait_until 10 "$worker" "$status" watch 1
pid=$(on a pgrep --oldest --full "^$worker $status tree")
members() { on a sh -c "echo $pid; cat /proc/$pid/task/*/children"; }

# On a: the dump, after which the program stands, and the copy.
on a mkdir "$disk/images"
on a "$TORPOR_CR" dump --tree "$pid" --images-dir "$disk/images" --leave-stopped
copy a b images

# It does not go well: its pages are lost. The program goes on at a as if nothing had been.
on b rm "$disk/images/pages-1.img"
refuses pages-1.img on b "$TORPOR_CR" restore --images-dir "$disk/images" --restore-detached
# shellcheck disable=SC2046
on a kill -CONT $(members)
"$worker" "$status" watch 50 || fail "the program does not go on at a"

# Again. It runs at b, and now ends at a.
on a sh -c "rm -r '$disk/images' && mkdir '$disk/images'"
on b rm -r "$disk/images"
on a "$TORPOR_CR" dump --tree "$pid" --images-dir "$disk/images" --leave-stopped
copy a b images
on b "$TORPOR_CR" restore --images-dir "$disk/images" --restore-detached
# shellcheck disable=SC2046
on a kill -9 $(members)
"$worker" "$status" watch 50 || fail "the program does not go on at b"
on b sh -c "kill -9 \$(cat /proc/$pid/task/*/children) $pid"
