#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A container's memory in rounds: checkpoint --pre-dump, --parent-path, then the checkpoint itself, and a restore.
. "${0%/*}/../lib.sh"
require_root
require_command python3
"$TORPOR_CR" check --feature mem_dirty_track >/dev/null 2>&1 || skip "this kernel cannot track changes"

new_tmpdir work
bundle=$work/rounds
# shellcheck disable=SC2016
make_bundle python "$bundle" python3 -c '
import time
memory = bytearray(b"\x5a") * (32 << 20)
n = 0
while True:
    n += 1
    memory[n % 1000 * 4096] = n % 256
    with open("/count.new", "w") as f: f.write("%d %d\n" % (n, sum(memory[1000 * 4096::4096]) == 0x5a * (8192 - 1000)))
    __import__("os").rename("/count.new", "/count")
    time.sleep(0.01)'
delete_at_exit c
torpor run --bundle "$bundle" --detach c </dev/null >"$work/out" 2>&1
count() { cut -d' ' -f1 "$bundle/rootfs/count"; }
goes_on() { # it counts further than it has
	local n
	n=$(count)
	wait_until 10 eval "[ \"\$(count)\" -gt $n ]"
	equal "$(cut -d' ' -f2 "$bundle/rootfs/count")" 1 "the container's memory"
}
wait_until 20 [ -e "$bundle/rootfs/count" ]
bytes() { du -B1 -c "$work/$1"/pages-*.img | tail -1 | cut -f1; }

torpor checkpoint --pre-dump --image-path "$work/1" c
equal "$(container_status c)" running
goes_on
torpor checkpoint --pre-dump --image-path "$work/2" --parent-path ../1 c
goes_on
[ "$(bytes 1)" -gt $((32 << 20)) ] || fail "the first round has $(bytes 1) bytes"
[ "$(bytes 2)" -lt $((16 << 20)) ] || fail "the second round has $(bytes 2) bytes"

# A paused container, too.
torpor pause c
torpor checkpoint --pre-dump --image-path "$work/3" --parent-path ../2 --auto-dedup c
equal "$(container_status c)" paused
torpor resume c
goes_on
refuses "open the images of the previous round" torpor checkpoint --image-path "$work/4" --parent-path ../none c
goes_on
before=$(count)
torpor checkpoint --image-path "$work/4" --parent-path ../3 c
[ "$(bytes 4)" -lt $((24 << 20)) ] || fail "the last dump has $(bytes 4) bytes"
torpor restore --image-path "$work/4" --bundle "$bundle" --detach c </dev/null >"$work/out" 2>&1
goes_on
[ "$(count)" -gt "$before" ] || fail "it counts from $before back to $(count)"

# The same, disk-less: the pages go to page servers, and only the small images are here.
served() { # N OPTION…
	local n=$1
	shift
	mkdir -p "$work/to-$n"
	local before=()
	[ "$n" = 5 ] || before=(--prev-images-dir "../to-$((n - 1))" --auto-dedup)
	"$TORPOR_CR" page-server --images-dir "$work/to-$n" --work-dir "$work" --address "$work/socket" "${before[@]}" 2>"$work/server.log" &
	wait_until 10 listens_at "$work/socket"
	torpor checkpoint --image-path "$work/$n" --page-server "$work/socket" "$@" c
	wait $! || fail "the page server: $(cat "$work/server.log")"
	if ls "$work/$n"/pages-*.img 2>/dev/null; then fail "pages are here as well"; fi
	cp "$work/$n"/* "$work/to-$n"
}
served 5 --pre-dump
goes_on
served 6 --pre-dump --parent-path ../5
goes_on
[ "$(bytes to-5)" -gt $((16 << 20)) ] || fail "the first round at the server has $(bytes to-5) bytes"
[ "$(bytes to-6)" -lt $((16 << 20)) ] || fail "the second round at the server has $(bytes to-6) bytes"
before=$(count)
served 7 --parent-path ../6
[ "$(bytes to-7)" -lt $((24 << 20)) ] || fail "the last dump at the server has $(bytes to-7) bytes"
torpor restore --image-path "$work/to-7" --bundle "$bundle" --detach c </dev/null >"$work/out" 2>&1
goes_on
[ "$(count)" -gt "$before" ] || fail "it counts from $before back to $(count)"
torpor delete --force c
