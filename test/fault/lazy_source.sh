#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Lazy migration when something goes wrong: the connection is cut again and again at random points, the source is told to end, or killed,
# the target's restore fails. The program goes on at one side exactly once, with right results, or stands still and says why.
# timeout: 240
. "${0%/*}/lib.sh"
require_command python3 unshare

below_reaper
fast_directory work
file=$work/status

# A wire that is cut after a random number of bytes, some times (-1: that stalls when the program runs there), from socket "wire" to socket "source".
cat >"$work/wire.py" <<'END'
import os, random, select, socket, sys
here, there, cuts, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
random.seed(seed)
s = socket.socket(socket.AF_UNIX)
s.bind(here + ".new")
s.listen(8)
os.rename(here + ".new", here)
while True:
    a = s.accept()[0]
    b = socket.socket(socket.AF_UNIX)
    try:
        b.connect(there)
    except OSError:
        a.close()
        continue
    stall = cuts < 0
    left = 40000 if stall else random.choice([500, 5000, 50000, 400000]) + random.randrange(4000) if cuts else 1 << 60
    cuts -= cuts > 0
    to = {a: b, b: a}
    while left > 0 and to:
        for x in select.select(list(to), [], [])[0]:
            try:
                data = x.recv(min(left, 65536))     # an error, too, when the other end went with something unread
                left -= len(data)
                to[x].sendall(data)
            except OSError:
                data = b''
            if not data:
                to = {}
                break
    while stall:
        select.select([], [], [], 1)
    a.close()
    b.close()
END

start_source() {
	rm -rf "$work/images" "$work/ready" "$work/source" "$work/wire" "$work/wire.new"
	mkdir "$work/images"
	"$TORPOR_CR" dump --tree $worker --images-dir "$work/images" --lazy-pages --address "$work/source" --status-fd 3 -v4 -o dump.log 3>"$work/ready" &
	source=$!
	wait_until 10 test -s "$work/ready"
}
# In a pid namespace, where the program's pids are free. What runs there then ends with the namespace.
cat >"$work/target" <<END
cd "$work/images"
timeout 100 "$TORPOR_CR" lazy-pages --page-server --address \$1 -v4 -o lazy.log 2>"$work/pager.out" &
pager=\$!
for i in \$(seq 3000); do grep -q " 00010000 .*lazy-pages.socket" /proc/net/unix || [ -z "\$(jobs -r)" ] && break; sleep 0.01; done
"$TORPOR_CR" restore --lazy-pages --restore-detached -v4 -o restore.log \$2 2>"$work/restore.out" || { kill \$pager; wait \$pager; exit 2; }
touch "$work/runs"
[ -z "\$3" ] || exec sleep 1000
wait \$pager || exit 3
"$TOOLS/worker" "$file" watch 60 || exit 4
END
target() { # ADDRESS OPTION HOLD
	rm -f "$work/runs"
	unshare --pid --fork --mount-proc --kill-child bash "$work/target" "$@"
}
logs() { tail -n 5 "$work"/images/*.log "$work"/*.out 2>/dev/null; }
states() { for p in $(tree $worker); do sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$p/status"; done | sort -u | tr -d '\n'; }
is_stopped() { [ "$(states)" = T ]; }

# The wire is cut some times, and all arrives.
for ((round = 0; round < 6 * ROUNDS; round++)); do
	rm -f "$file"
	start_worker "$file" tree
	start_source
	python3 "$work/wire.py" "$work/wire" "$work/source" $((round % 4)) $RANDOM &
	wire=$!
	wait_until 10 test -S "$work/wire"
	members=$(tree $worker)
	if target "$work/wire" "" ""; then
		wait $source || fail "round $round: arrived, but the source failed: $(logs)"
		# shellcheck disable=SC2086
		wait_until 20 none_alive $members   # else the program is at both sides
		echo "round $round: arrived"
	else
		# Cut before it ran there: it goes on here, by itself or when the dump is told to end.
		[ ! -e "$work/runs" ] || fail "round $round: it ran, and did not arrive: $(logs)"
		kill $source 2>/dev/null || :
		if wait $source; then fail "round $round: the source ended well, the target did not: $(logs)"; fi
		[ ! -e "$work/images/inventory.img" ] || fail "round $round: a dump that failed left an inventory"
		# shellcheck disable=SC2086
		kill -CONT $members   # should it stand, or be about to
		worker_goes_on "$file" "round $round"
		echo "round $round: went on here"
	fi
	kill $wire
	# shellcheck disable=SC2086
	kill -9 $members 2>/dev/null || :
	# shellcheck disable=SC2086
	wait_until 5 none_there $members
done

# The restore fails at the target: the program goes on at the source, by itself.
start_worker "$file" tree
start_source
if target "$work/source" "--inherit-fd fd[77]:nothing" ""; then fail "a restore with a bad option succeeds"; fi
kill -TERM $source 2>/dev/null || :
if wait $source; then fail "the source ends well, although nothing was restored"; fi
worker_goes_on "$file" "the restore failed"
[ ! -e "$work/images/inventory.img" ] || fail "the restore failed, and there is an inventory"

# Nobody comes, and the dump is told to end, or is killed: the program goes on.
for signal in TERM INT KILL; do
	start_source
	kill -$signal $source
	if wait $source; then fail "SIG$signal: a good status"; fi
	worker_goes_on "$file" "SIG$signal before anybody came"
done

# After the program has run at the target it must not go on here by itself, but stands, and can be let go by hand.
for signal in TERM KILL; do
	start_source
	rm -f "$work"/{wire,wire.new,runs}
	python3 "$work/wire.py" "$work/wire" "$work/source" -1 0 &
	wire=$!
	wait_until 10 test -S "$work/wire"
	target "$work/wire" "" hold &
	there=$!
	wait_until 10 test -e "$work/runs"
	kill -$signal $source
	if wait $source; then fail "SIG$signal while its memory is fetched: a good status"; fi
	pkill -KILL -P $there || :
	wait $there 2>/dev/null || :
	kill $wire
	wait_until 5 is_stopped
	# shellcheck disable=SC2046
	kill -CONT $(tree $worker)
	worker_goes_on "$file" "SIG$signal while its memory was fetched"
done

# Another dump's images, another server, nonsense.
start_source
cp -r "$work/images" "$work/old"
kill $source
wait $source || :
start_source
rm -rf "$work/images.new"
cp -r "$work/images" "$work/images.new"
cp "$work"/old/* "$work/images"
if target "$work/source" "" ""; then fail "the images of another dump were restored"; fi
grep -q "another dump" "$work/pager.out" "$work/images/lazy.log" || fail "the pager does not say why: $(logs)"
python3 - "$work/source" <<'END'
import os, socket, sys
for message in [b'\xff' * 64, os.urandom(4096), b'', (7).to_bytes(8, 'little') + (1 << 40).to_bytes(8, 'little') + bytes(16)]:
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    s.sendall(message)
    s.close()
END
[ "$(states)" = t ] || fail "nonsense on the wire ended the dump: $(logs)"
cp "$work"/images.new/* "$work/images"
target "$work/source" "" "" || fail "after all that: $(logs)"
wait $source || fail "after all that the source fails: $(logs)"
