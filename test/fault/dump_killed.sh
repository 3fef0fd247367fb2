#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The engine is killed at random moments of a dump, 1,000 times in all: the program goes on with right results, its address space does
# not grow, no whole checkpoint appears that was not finished, and what a killed dump left in the directory goes with the next one.
# timeout: 400
. "${0%/*}/lib.sh"

fast_directory work

# A directory with an inventory is a whole checkpoint, and has nothing of an unfinished one.
check_directory() { # DIR
	[ -e "$1/inventory.img" ] || return 0
	local core
	for core in "$1"/core-*.img; do [ -s "$core" ] || fail "an inventory without cores"; done
	[ -e "$1/pstree.img" ] && [ -e "$1/files.img" ] || fail "an inventory, but not all images: $(ls "$1")"
}

count_kills() { # MODE KILLS
	local file=$work/status.$1 images=$work/images.$1 maps i us most killed=0 finished=0
	start_worker "$file" "$1"
	mkdir "$images"
	local dump=("$TORPOR_CR" dump --leave-running --tree $worker --images-dir "$images" -o "$work/dump.log")
	"${dump[@]}" || fail "a dump: $(cat "$work/dump.log")"
	maps=$(mappings $worker)
	us=$(median_us "${dump[@]}") most=$(($2 * 20))
	for ((i = 0; killed < $2; i++)); do
		killed_at_random "${dump[@]}"
		case $outcome in
		killed) killed=$((killed + 1)) ;;
		"exit 0") finished=$((finished + 1)) ;;
		*) fail "$1, kill $i: $outcome: $(cat "$work/dump.log")" ;;
		esac
		check_directory "$images"
		[ $i -lt $most ] || fail "only $killed of $i were killed"
		if ((i % 10 == 9)); then worker_goes_on "$file" "$1, kill $i"; fi
		if ((i % 50 == 49)); then
			# The next dump clears up, in the address space and in the directory.
			"${dump[@]}" || fail "$1: a dump after $i kills: $(cat "$work/dump.log")"
			[ -e "$images/inventory.img" ] || fail "no inventory"
			[ -z "$(ls -A "$images" | grep '^\.')" ] || fail "left in the images directory: $(ls -A "$images")"
			# (But for an area of three mappings now and then: prepare.c, what is not handled.)
			[ "$(mappings $worker)" -le $((maps + 3 * (3 + 2 * ROUNDS))) ] || { cat /proc/$worker/maps; fail "$1: $maps mappings have become $(mappings $worker)"; }
		fi
	done
	worker_goes_on "$file" "$1, after $2 kills"
	echo "$1: $killed killed, $finished finished, a dump takes $us us"
	end_and_restore "$1"
}

# And a dump afterwards has all of it, and restores.
end_and_restore() { # MODE
	local file=$work/status.$1 images=$work/images.$1 all
	all=$(tree $worker)
	touch "$images/.core-9999.img.part" "$images/.mine.part"
	"$TORPOR_CR" dump --tree $worker --images-dir "$images" -o "$work/dump.log" || fail "the last dump: $(cat "$work/dump.log")"
	equal "$(cd "$images" && echo .*.part)" .mine.part "what is left of killed dumps"
	# shellcheck disable=SC2086
	wait_until 5 none_there $all
	"$TORPOR_CR" restore --restore-detached --images-dir "$images" -o "$work/restore.log" || fail "the restore: $(cat "$work/restore.log")"
	worker_goes_on "$file" "$1, restored"
	end_tree $worker
	# shellcheck disable=SC2086
	wait_until 5 none_there $all
}

count_kills single $((300 * ROUNDS))
count_kills threads $((250 * ROUNDS))
count_kills asleep $((200 * ROUNDS))
count_kills tree $((250 * ROUNDS))
