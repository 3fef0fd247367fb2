#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A C program that uses libcriu, against its header and library as Debian has them, with torpor-cr as the program that libcriu runs.
. "${0%/*}/../lib.sh"

require_root
require_command gcc
here=$(realpath "${0%/*}")
sid=$("$here/../peers" path) || skip "there is no newer libcriu: test/peers fetch"
[ -e "$sid/usr/include/criu/criu.h" ] || skip "there is no newer libcriu: test/peers fetch"
libraries=$(echo "$sid"/usr/lib/*-linux-gnu)
loader=$(find "$sid/usr/lib64" "$sid/usr/lib" -maxdepth 1 -name "ld-linux-*.so.*" -print -quit 2>/dev/null || :)
new_tmpdir work
# With the library's own libc: it is newer than this machine's.
gcc -x c -O1 -Wall -I"$sid/usr/include" "$here/client.txt" -o "$work/client" -L"$libraries" -lcriu \
	-Wl,--allow-shlib-undefined -Wl,--dynamic-linker,"$loader" -Wl,-rpath,"$libraries"
(
	for fd in /proc/self/fd/*; do [ "${fd##*/}" -le 2 ] || eval "exec ${fd##*/}>&-"; done
	exec setsid sh -c 'i=0; while :; do i=$((i + 1)); echo $i >"$1"; done' sh "$work/count"
) </dev/null >/dev/null 2>&1 &
pid=$!
wait_until 30 test -s "$work/count"
result=$(timeout $((100 * ${TEST_PATIENCE:-1})) "$work/client" "$TORPOR_CR" "$work" "$pid" "$work/count" 2>&1) || fail "$result $(tail -n 3 "$work"/*/*.log)"
equal "$(tail -n 1 <<<"$result")" ok "the client's last word"
