#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Rounds: what is left to the round before and what is not, the keeper's life, and what is refused.
. "${0%/*}/../lib.sh"
require_root
below_reaper

new_tmpdir work
cd "$work"
start() {
	rm -f go ready result change
	setsid "$TEST_BUILD/test/cr/one_page" </dev/null >/dev/null 2>&1 &
	pid=$!
	at_exit kill -9 $pid
	wait_until 10 [ -e ready ]
}
change() {
	touch change
	wait_until 10 [ ! -e change ]
}
pages() { echo $(($(stat -c %s "$1"/pages-1.img) / 4096)); }
round() { # DIR OPTION…: a pre-dump; its messages are in DIR.log
	mkdir -p "$1"
	"$TORPOR_CR" pre-dump -t $pid -D "$1" "${@:2}" 2>"$1.log" || fail "pre-dump into $1: $(cat "$1.log")"
}
keeper() { # the keeper of $pid
	local p
	for p in /proc/[0-9]*; do
		[ "$(cat "$p/comm" 2>/dev/null)" = torpor-keeper ] && echo "${p#/proc/}"
	done
	return 0
}
one_keeper() { # the one before may be about to end
	wait_until 20 eval '[ "$(keeper | wc -w)" = 1 ]'
	keeper
}
small() { # KB: the keeper has less of its own
	kb=$(awk '/^Private_Dirty/ { n += $2 } END { print n }' "/proc/$(keeper)/smaps_rollup")
	[ "$kb" -lt "$1" ]
}
finish() { # CHANGES: the program's own verdict
	touch go
	wait_until 20 [ -s result ]
	equal "$(<result)" "0 $1" "the program's verdict"
}
tracked() { "$TORPOR_CR" check --feature mem_dirty_track >/dev/null 2>&1; }
tracked || skip "this kernel cannot track changes"

# Three rounds: the second and third have little. The keeper lives between them, and has little memory.
start
round r1
[ "$(pages r1)" -ge 4096 ] || fail "the first round has $(pages r1) pages"
equal "$(keeper | wc -w)" 1 "keepers after a round"
[ -n "${SAN-}" ] || wait_until 20 small 900   # it gives back what it does not need
change
round r2 --prev-images-dir ../r1 --no-sync
[ "$(pages r2)" -lt 200 ] || fail "the second round has $(pages r2) pages"
equal "$(readlink r2/parent)" ../r1
refuses "cannot be restored by itself" "$TORPOR_CR" restore -D r2 -d

# Not upon the last round: all pages, and a message.
round wrong --prev-images-dir ../r1
[[ $(<wrong.log) == *"another round"* ]] || fail "nothing said of another round: $(<wrong.log)"
[ "$(pages wrong)" -ge 4096 ] || fail "left $(pages wrong) pages to a round that is not the last"

# The keeper is killed: all pages, and a message; then rounds go on.
round r3
kill -9 "$(one_keeper)"
wait_until 20 eval '[ -z "$(keeper)" ]'
round r4 --prev-images-dir ../r3
[[ $(<r4.log) == *"has been lost"* ]] || fail "nothing said of a lost keeper: $(<r4.log)"
[ "$(pages r4)" -ge 4096 ] || fail "left $(pages r4) pages to a round although the keeper was lost"
round r5 --prev-images-dir ../r4
[ "$(pages r5)" -lt 200 ] || fail "the round after that has $(pages r5) pages"

# A round that fails leaves a program that runs, no images, and the next one is whole.
mkdir full
refuses "open the images of the previous round" "$TORPOR_CR" pre-dump -t $pid -D full --prev-images-dir ../missing
refuses "no finished round" "$TORPOR_CR" pre-dump -t $pid -D full --prev-images-dir ..
refuses "itself" "$TORPOR_CR" pre-dump -t $pid -D full --prev-images-dir .
refuses "known" "$TORPOR_CR" pre-dump -t $pid -D full --tracker magic
[ -z "$(ls -A full)" ] || fail "left in the directory: $(ls -A full)"

# The last dump ends the program and its keeper. Parents missing, replaced and right.
change
"$TORPOR_CR" dump --no-sync -t $pid -D full --prev-images-dir ../r5
[ "$(pages full)" -lt 400 ] || fail "the last dump has $(pages full) pages"
wait_until 20 eval '[ -z "$(keeper)" ]'
wait_until 20 [ ! -e /proc/$pid ]
mv r4 aside
refuses "earlier checkpoint" "$TORPOR_CR" restore -D full -d
cp -a r5 r4
refuses "another has been saved there since" "$TORPOR_CR" restore -D full -d
rm -r r4
mv aside r4
mv r4/pagemap-$pid.img aside
refuses "no pagemap" "$TORPOR_CR" restore -D full -d
mv aside r4/pagemap-$pid.img
rm full/parent
ln -s . full/parent
refuses "leads back" "$TORPOR_CR" restore -D full -d
rm full/parent
ln -s ../r5 full/parent
wait_until 20 [ ! -e /proc/$pid ]   # a restore that failed leaves no process
"$TORPOR_CR" restore -D full -d
finish 2

# Incremental dumps; freed as they are superseded; the keeper ends with its program.
start
before=()
for i in 1 2 3; do
	mkdir i$i
	"$TORPOR_CR" dump -R --track-mem -t $pid -D i$i --auto-dedup "${before[@]}"
	before=(--prev-images-dir "../i$i")
	[ $i = 1 ] || [ "$(pages i$i)" -lt 400 ] || fail "increment $i has $(pages i$i) pages"
	change
done
kill -9 $pid
wait_until 20 [ ! -e /proc/$pid ]
wait_until 20 eval '[ -z "$(keeper)" ]'
"$TORPOR_CR" dedup -D i3
"$TORPOR_CR" restore -D i3 -d
finish 2

# Without tracking every round is whole; a dump upon one is too.
start
round n1 --tracker none
round n2 --tracker none --prev-images-dir ../n1
[ "$(pages n2)" -ge 4096 ] || fail "no tracking, but only $(pages n2) pages"
[ -z "$(keeper)" ] || fail "a keeper of nothing"
mkdir n3
"$TORPOR_CR" dump -t $pid -D n3 --prev-images-dir ../n2 2>n3.log
wait_until 20 [ ! -e /proc/$pid ]
"$TORPOR_CR" restore -D n3 -d
finish 0
