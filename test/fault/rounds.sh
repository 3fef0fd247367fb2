#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Rounds that are disturbed at random moments: the engine is killed, the keeper is killed, the disk is full, the program forks, calls exec
# and ends children all the time, or ends as a whole. The program goes on, a directory with an inventory is a whole round, and what is restored
# in the end compares equal to its shadow (test/cr/track_random.c).
# timeout: 300
. "${0%/*}/lib.sh"
below_reaper
"$TORPOR_CR" check --feature mem_dirty_track >/dev/null 2>&1 || skip "this kernel cannot track changes"
fast_directory fast
mkdir "$fast/full"
mount -t tmpfs -o size=300k full "$fast/full"
at_exit umount -l "$fast/full"
us=30000 done=0
declare -A count=()

start() { # a program, in $pid
	work=$(mktemp -d "$fast/XXXXXX")
	TRACK_SEED=$((RANDOM + 1)) setsid "$TEST_BUILD/test/cr/track_random" "$work/ready" </dev/null >/dev/null 2>&1 &
	pid=$!
	disown $pid
	wait_until 20 [ -e "$work/ready" ]
	previous=()
}
keeper() {
	local p
	for p in /proc/[0-9]*; do
		[ "$(cat "$p/comm" 2>/dev/null)" = torpor-keeper ] && echo "${p#/proc/}"
	done
	return 0
}
end_program() {
	# shellcheck disable=SC2046
	kill -9 $(pgrep -f "track_random $work/ready") 2>/dev/null || :
}
# A directory that has an inventory has a pagemap and its pages for every process that it names, of the right size.
check_round() { # DIR
	[ -z "$(ls -A "$1" | grep '^\..*part' || :)" ] || [ ! -e "$1/inventory.img" ] || fail "left beside an inventory: $(ls -A "$1")"
	[ ! -e "$1/inventory.img" ] || ls "$1"/pagemap-*.img >/dev/null || fail "a round without pages: $(ls -A "$1")"
}
disturbed_round() { # NUMBER
	local dir=$work/$1 what command
	local kinds=(none none engine engine keeper full)
	random_below ${#kinds[@]}
	what=${kinds[random]}
	count[$what]=$((${count[$what]-0} + 1)) done=$((done + 1))
	[ $what = full ] && dir=$fast/full/x
	rm -rf "$dir"
	mkdir "$dir"
	# The last whole round, unless this is on another file system.
	command=("$TORPOR_CR" pre-dump --tree $pid --images-dir "$dir" "${previous[@]}" -o "$work/dump.log")
	case $what in
	engine) killed_at_random "${command[@]}" ;;
	full) if "${command[@]}" 2>/dev/null; then rm -rf "$dir"; else [ ! -e "$dir/inventory.img" ] || fail "a full disk, and an inventory"; fi ;;
	keeper)
		# shellcheck disable=SC2046
		kill -9 $(keeper) 2>/dev/null || :
		"${command[@]}" || fail "a round after the keeper was killed: $(cat "$work/dump.log")"
		;;
	none) "${command[@]}" || fail "a round: $(cat "$work/dump.log")" ;;
	esac
	[ ! -e "$work/faults" ] && [ -n "$(alive $pid)" ] || fail "the program has not survived a round ($what): $(cat "$work/faults" "$work/dump.log")"
	[ $what = full ] && return
	check_round "$dir"
	[ ! -e "$dir/inventory.img" ] || previous=(--prev-images-dir "../$1")
}

for ((life = 0; life < 3 * ROUNDS; life++)); do
	start
	for ((i = 1; i <= 16; i++)); do disturbed_round $i; done
	mkdir "$work/last"
	"$TORPOR_CR" dump --tree $pid --images-dir "$work/last" "${previous[@]}" -o "$work/dump.log" || fail "the last dump: $(cat "$work/dump.log")"
	members=
	for core in "$work"/last/core-*.img; do
		core=${core##*-}
		members+=" ${core%.img}"
	done
	# shellcheck disable=SC2086
	wait_until 10 none_there $members
	"$TORPOR_CR" restore --images-dir "$work/last" --restore-detached -o "$work/restore.log" || fail "the restore: $(cat "$work/restore.log")"
	touch "$work/go"
	wait_until 30 [ -s "$work/result" ]
	equal "$(<"$work/result")" ok "the verdict of life $life: $(cat "$work/faults" 2>/dev/null)"
	# shellcheck disable=SC2086
	wait_until 10 none_there $members
	rm -rf "$work"
done
for what in "${!count[@]}"; do echo "$what: ${count[$what]}"; done

# The program ends in the middle of a round.
for ((i = 0; i < 12 * ROUNDS; i++)); do
	start
	mkdir "$work/1"
	random_below 20000
	(sleep "0.$(printf %06d "$random")"; end_program) &
	if ! "$TORPOR_CR" pre-dump --tree $pid --images-dir "$work/1" -o "$work/dump.log" 2>/dev/null; then
		[ ! -e "$work/1/inventory.img" ] || fail "a round failed, and there is an inventory"
	fi
	wait $! || :
	ended() { end_program; ! pgrep -f "track_random $work/ready"; }   # the child, too, that it made at the last moment
	wait_until 10 ended
	check_round "$work/1"
	rm -rf "$work"
done
wait_until 10 eval '[ -z "$(keeper)" ]'
echo "$done rounds"
