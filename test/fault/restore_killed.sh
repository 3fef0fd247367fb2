#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The engine is killed at random moments of a restore: nothing is left. Killed at its very end, the whole tree lives and goes on.
# timeout: 400
. "${0%/*}/lib.sh"

fast_directory work

# What is left of a restore: nothing, or all of it.
nothing_or_all() { # FILE WHAT
	local i left
	for ((i = 0; i < 160; i++)); do
		left=$(alive $(made))
		if [ -z "$left" ]; then
			wait_until 5 eval '[ -z "$(made)" ]'   # zombies too: they have the pids
			return
		fi
		if [ $i -lt 100 ]; then
			sleep 0.01
		elif "$TOOLS/worker" "$1" watch 1 >"$work/watch"; then
			whole=$((whole + 1))
			# shellcheck disable=SC2086
			kill -9 $left
			wait_until 5 eval '[ -z "$(made)" ]'
			return
		fi
	done
	fail "$2: a part of the tree was left: $(ps -o pid=,ppid=,stat=,args= -p $(tr '\n' , <<<"$left" | sed 's/,$//')) $(cat "$work/watch")"
}

count_kills() { # MODE KILLS [COMMAND…]: the program is started by that command
	local mode=$1 n=$2 file=$work/status.$1 images=$work/images.$1 i us killed=0 finished=0 whole=0
	shift 2
	mkdir "$images"
	rm -f "$file"
	setsid "$@" "$TOOLS/worker" "$file" "$mode" </dev/null >/dev/null 2>&1 &
	worker=$!
	disown $worker
	wait_until 10 "$TOOLS/worker" "$file" watch 1
	[ $# = 0 ] || worker=$(pgrep -P $worker)
	"$TORPOR_CR" dump --tree "$worker" --images-dir "$images" -o "$work/dump.log" || fail "dump: $(cat "$work/dump.log")"
	wait_until 5 eval '[ -z "$(made)" ]'
	local restore=("$TORPOR_CR" restore --restore-detached --images-dir "$images" -o "$work/restore.log")
	us=60000
	for ((i = 0; killed < n; i++)); do
		[ $i -lt $((n * 20)) ] || fail "only $killed of $i were killed"
		killed_at_random "${restore[@]}"
		case $outcome in
		killed) killed=$((killed + 1)); nothing_or_all "$file" "$mode, kill $i" ;;
		"exit 0")
			finished=$((finished + 1))
			"$TOOLS/worker" "$file" watch 60 || fail "$mode, $i: restored, but not right"
			left=$(made)
			# shellcheck disable=SC2086
			kill -9 $left 2>/dev/null || :
			# shellcheck disable=SC2086
			wait_until 5 none_there $left
			;;
		*) ps -eLo pid,tid,ppid,pgid,sid,stat,args; fail "$mode, kill $i: $outcome: $(cat "$work/restore.log")" ;;
		esac
	done
	echo "$mode: $killed killed ($whole of them at the end, when all lived on), $finished finished, a restore takes $us us"
	"${restore[@]}" || fail "$mode: the last restore: $(cat "$work/restore.log")"
	worker_goes_on "$file" "$mode, restored"
	# shellcheck disable=SC2046
	kill -9 $(made)
	[ -z "$(ls -A "$images" | grep '^\.')" ] || fail "left in the images directory: $(ls -A "$images")"
}

count_kills single $((60 * ROUNDS))
count_kills threads $((60 * ROUNDS))
count_kills tree $((80 * ROUNDS)) unshare --pid --fork setsid
