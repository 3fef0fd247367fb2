#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The pager or its guardian is killed at random moments of a lazy restore, again and again: the program, which moves, forks and gives up its
# memory meanwhile, finds every page as it was.
# timeout: 200
. "${0%/*}/lib.sh"

fast_directory work
program=$TEST_BUILD/test/cr/lazy_events
kills=0 guards=0 rounds=$((20 * ROUNDS))

checkpointed() { # DIR: a program that waits with all of its memory written, in images
	local dir=$1
	mkdir -m 777 "$dir" "$dir/images"
	(
		cd "$dir" || exit
		setsid "$program" "$dir/ready" </dev/null >/dev/null 2>&1 &
		echo $! >"$dir/pid"
	)
	worker=$(<"$dir/pid")
	at_exit end_tree $worker
	wait_until 20 test -e "$dir/ready"
	"$TORPOR_CR" dump --tree $worker --images-dir "$dir/images" -o dump.log || fail "dump: $(cat "$dir/images/dump.log")"
	wait_until 5 none_there $worker
	touch "$dir/restored"                # it begins as soon as it runs
}

for ((i = 0; i < rounds; i++)); do
	dir=$work/$i
	checkpointed "$dir"
	"$TORPOR_CR" lazy-pages --images-dir "$dir/images" -o lazy.log >"$dir/out" 2>&1 &
	wait_until 10 listens_at "$dir/images/lazy-pages.socket"
	"$TOOLS/killpagers" $((RANDOM + i)) 12 "$dir/result" >"$dir/kills" &
	killer=$!
	"$TORPOR_CR" restore --restore-detached --lazy-pages --images-dir "$dir/images" -o restore.log || fail "$(cat "$dir/images/restore.log")"
	wait_until 60 test -e "$dir/result"
	[ "$(<"$dir/result")" = ok ] || fail "round $i, after $(<"$dir/kills") kills: $(<"$dir/result")"
	wait $killer || fail "killpagers"
	read -r a b <"$dir/kills"
	kills=$((kills + a)) guards=$((guards + b))
	wait_until 20 none_there $worker
	wait_until 20 eval '[ -z "$(made)" ]'   # who still writes there: the last pager and its guardian
	rm -rf "$dir"
done
[ $kills -gt $rounds ] || fail "only $kills pagers were killed"
echo "$kills pagers and $guards guardians were killed in $rounds restores"
