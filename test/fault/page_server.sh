#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A dump or a pre-dump through a page server of which one end is killed at a random moment, whose connection is cut after a random number of bytes,
# whose disk is full, or that never comes: the program goes on with right results, no directory looks whole, and both ends say so with their
# status. Several dumps into one server, of which one may fail.
# timeout: 280
. "${0%/*}/lib.sh"

fast_directory work
file=$work/status socket=$work/socket
start_worker "$file" tree

start_server() { # DIR OPTION…
	local dir=$1
	shift
	rm -rf "$dir" "$socket"
	mkdir "$dir"
	"$@" "$TORPOR_CR" page-server --images-dir "$dir" --address "$socket" -v4 -o server.log >"$work/server.out" 2>&1 &
	server=$!
	wait_until 10 listens_at "$socket"
}
dump=("$TORPOR_CR" dump --leave-running --tree $worker --images-dir "$work/images" -o dump.log --page-server --address "$socket")
new_images() {
	rm -rf "$work/images"
	mkdir "$work/images"
}
nothing_received() { # DIR WHAT
	[ -z "$(cd "$1" && ls -A | grep -v server.log)" ] || fail "$2: there is $(cd "$1" && ls -A)"
}
whole() { # WHAT
	[ -e "$work/images/inventory.img" ] || fail "$1: no inventory"
	[ -n "$(ls "$work"/pages/pagemap-*.img 2>/dev/null)" ] || fail "$1: no pages"
}

# All is well.
start_server "$work/pages"
new_images
"${dump[@]}" || fail "a dump: $(cat "$work/images/dump.log")"
wait $server || fail "the server: $(cat "$work/server.out" "$work/pages/server.log")"
whole "an undisturbed dump"
worker_goes_on "$file" "an undisturbed dump"

# Into a directory that is whole there is no dump and no server.
refuses "whole checkpoint" "${dump[@]}" -o -
rm -f "$work/images/inventory.img"
touch "$work/pages/inventory.img"
refuses "whole checkpoint" "$TORPOR_CR" page-server --images-dir "$work/pages" --address "$socket"

# The server is killed.
kills=$((60 * ROUNDS)) failed=0
for ((i = 0; i < kills; i++)); do
	start_server "$work/pages"
	new_images
	random_below 40000
	(sleep "0.0$(printf %05d $random)"; kill -9 $server || :) 2>/dev/null &
	if "${dump[@]}" 2>/dev/null; then
		whole "server killed, round $i"
	else
		failed=$((failed + 1))
		[ ! -e "$work/images/inventory.img" ] || fail "round $i: the dump failed, and there is an inventory"
	fi
	wait $! $server 2>/dev/null || :
	if ((i % 10 == 9)); then worker_goes_on "$file" "server killed, round $i"; fi
done
worker_goes_on "$file" "server killed"
echo "server killed: $failed of $kills dumps failed"

# The dump is killed. One that is killed early never comes to the server, which waits for it: somebody else comes, and says nothing. (A server
# that is busy with the end of the dump's own session does not notice.)
end_server() {
	for _ in {1..25}; do
		none_alive $server && return
		sleep 0.02
	done
	python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])' "$socket" 2>/dev/null || :
}
new_images
failed=0
us=30000
for ((i = 0; i < kills; i++)); do
	start_server "$work/pages"
	new_images
	killed_at_random "${dump[@]}"
	[ "$outcome" = "exit 0" ] || end_server
	if wait $server; then
		[ -n "$(ls "$work"/pages/pagemap-*.img)" ] || fail "round $i: a good status without pages"
	elif [ "$outcome" = "exit 0" ]; then
		fail "round $i: the dump succeeded, the server failed: $(cat "$work/pages/server.log")"
	else
		failed=$((failed + 1))
		nothing_received "$work/pages" "round $i"
	fi
	if ((i % 10 == 9)); then worker_goes_on "$file" "dump killed, round $i"; fi
done
worker_goes_on "$file" "dump killed"
echo "dump killed: $failed of $kills servers failed"

# The connection is cut: after so many bytes from the dump, by a relay that resets both of its ends, or closes them.
cat >"$work/relay.py" <<'END'
import os, socket, struct, sys
listen, to, limit, reset = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == 'reset'
inside = socket.socket(socket.AF_UNIX)
inside.connect(to)
server = socket.create_server(('127.0.0.1', 0))
with open(listen + '.new', 'w') as f:
    print(server.getsockname()[1], file=f)
os.rename(listen + '.new', listen)
outside, _ = server.accept()
import select
passed = 0
while passed < limit:
    ready, _, _ = select.select([outside, inside], [], [])
    if outside in ready:
        data = outside.recv(min(65536, limit - passed))
        if not data:
            break
        inside.sendall(data)
        passed += len(data)
    if inside in ready:
        data = inside.recv(65536)
        if not data:
            break
        outside.sendall(data)
if reset:
    outside.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
END
start_server "$work/pages"
new_images
"${dump[@]}" || fail "a dump: $(cat "$work/images/dump.log")"
wait $server || fail "the server: $(cat "$work/server.out" "$work/pages/server.log")"
bytes=$(cat "$work"/pages/pages-*.img | wc -c)
failed=0
for ((i = 0; i < kills; i++)); do
	start_server "$work/pages"
	new_images
	random_below $((bytes * 11 / 10))
	# The first bytes are the ones with the messages.
	((i % 3)) || random_below 300
	rm -f "$work/port"
	python3 "$work/relay.py" "$work/port" "$socket" $random "$( ((i % 2)) && echo reset || echo close)" 2>/dev/null &
	relay=$!
	wait_until 10 test -s "$work/port"
	verb=dump options=(--leave-running)
	((i % 4 < 2)) || { verb=pre-dump options=(); }
	result=0
	timeout 60 "$TORPOR_CR" $verb "${options[@]}" --tree $worker --images-dir "$work/images" -o dump.log --page-server --address 127.0.0.1 \
		--port "$(cat "$work/port")" 2>"$work/dump.out" || result=$?
	[ $result != 124 ] || fail "$verb hangs after $random bytes"
	if [ $result = 0 ]; then
		whole "cut after $random bytes"
	else
		failed=$((failed + 1))
		[ ! -e "$work/images/inventory.img" ] || fail "$verb cut after $random bytes: it failed, and there is an inventory"
		[[ $(head -qn 1 "$work/images/dump.log" "$work/dump.out") == *"page server"* ]] || fail "$verb cut after $random bytes says $(cat "$work/dump.out" "$work/images/dump.log")"
	fi
	wait $relay || :
	if wait $server; then
		[ -n "$(ls "$work"/pages/pagemap-*.img)" ] || fail "cut after $random bytes: a good status without pages"
	else
		[ $result != 0 ] || fail "cut after $random bytes: the dump succeeded, the server failed"
		nothing_received "$work/pages" "cut after $random bytes"
	fi
	if ((i % 10 == 9)); then worker_goes_on "$file" "cut after $random bytes"; fi
done
worker_goes_on "$file" "cut"
[ $failed -gt 0 ] || fail "no dump failed although the connection was cut"
echo "connection cut: $failed of $kills dumps failed"

# Its disk is full.
start_server "$work/pages"
kill $server
wait $server 2>/dev/null || :
mount -t tmpfs -o size=64k torpor-test "$work/pages"
at_exit umount -l "$work/pages"
rm -f "$socket"
"$TORPOR_CR" page-server --images-dir "$work/pages" --address "$socket" >"$work/server.out" 2>&1 &
server=$!
wait_until 10 listens_at "$socket"
new_images
refuses "page server" "${dump[@]}" -o /dev/stderr
if wait $server; then fail "the server succeeds on a full disk"; fi
grep -q "No space left" "$work/server.out" || fail "the server says: $(cat "$work/server.out")"
nothing_received "$work/pages" "disk full"
[ ! -e "$work/images/inventory.img" ] || fail "disk full, and there is an inventory"
worker_goes_on "$file" "disk full"
umount "$work/pages"

# Nobody listens.
rm -f "$socket"
refuses "connect to" "${dump[@]}" -o /dev/stderr
refuses "Connection refused" "${dump[@]}" -o /dev/stderr --address 127.0.0.1 --port 1
worker_goes_on "$file" "no server"
first=$worker

# Three dumps at once into one server.
start_worker "$work/status2" single
second=$worker
start_worker "$work/status3" threads
third=$worker
rm -rf "$work/pages"
mkdir "$work/pages"
rm -f "$work/port"
"$TORPOR_CR" page-server --images-dir "$work/pages" --address 127.0.0.1 --sessions 3 -o server.log >"$work/port" 2>"$work/server.out" &
server=$!
wait_until 10 test -s "$work/port"
dumps=() members=
for pid in $first $second $third; do
	members+=" $(tree "$pid")"
	mkdir "$work/images.$pid"
	"$TORPOR_CR" dump --tree "$pid" --images-dir "$work/images.$pid" -o dump.log --page-server --address 127.0.0.1 \
		--port "$(cat "$work/port")" &
	dumps+=($!)
done
for pid in "${dumps[@]}"; do wait "$pid" || fail "one of three dumps: $(cat "$work"/images.*/dump.log)"; done
wait $server || fail "the server of three: $(cat "$work/server.out" "$work/pages/server.log")"
# shellcheck disable=SC2086
wait_until 5 none_there $members
for pid in $first $second $third; do
	cp "$work"/pages/pag*.img "$work/images.$pid"
	"$TORPOR_CR" restore --restore-detached --images-dir "$work/images.$pid" -o restore.log || fail "$(cat "$work/images.$pid/restore.log")"
done
worker_goes_on "$file" "first of three"
worker_goes_on "$work/status2" "second of three"
worker_goes_on "$work/status3" "third of three"
for pid in $first $second $third; do end_tree "$pid"; done
