#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Restores from images that are damaged at random: each fails with an error, or succeeds, in a short time, and leaves nothing behind when it
# fails. The engine never crashes: with SAN=1 the sanitizers say so, too. FAULT_SEED and FAULT_ROUNDS (lib.sh) make longer runs.
# timeout: 240
. "${0%/*}/lib.sh"
export ASAN_OPTIONS=exitcode=66:detect_leaks=0:allocator_may_return_null=1:${ASAN_OPTIONS-} UBSAN_OPTIONS=halt_on_error=1:exitcode=66

fast_directory work
base=$((${FAULT_SEED:-0} * 1000000))

# Everything that is not this test's own shell and tools: a damaged image may give a process any name.
made() {
	local p comm
	for p in /proc/[0-9]*; do
		read -r comm 2>/dev/null <"$p/comm" || continue
		case $comm in bash | timeout | sleep | date | cat | sed) ;; *) echo "${p#/proc/}" ;; esac
	done
}

damage() { # SEED: of a copy of the images
	local seed=$1 files
	rm -rf "$work/damaged"
	cp -r "$images" "$work/damaged"
	files=("$work"/damaged/*.img)
	random_below ${#files[@]}
	what=$("$TOOLS/corrupt" "$seed" "${files[random]}") || what="nothing: ${files[random]} is empty"
}

damaged_restores() { # MODE NUMBER
	local file=$work/status.$1 i status left restored=0 refused=0
	images=$work/images.$1
	start_worker "$file" "$1"
	mkdir "$images"
	"$TORPOR_CR" dump --tree $worker --images-dir "$images" -o "$work/dump.log" || fail "dump: $(cat "$work/dump.log")"
	wait_until 5 eval '[ -z "$(made)" ]'
	cp "$file" "$work/status.before"
	for ((i = 0; i < $2; i++)); do
		damage $((base + i))
		status=0
		timeout -k 1 60 "$TORPOR_CR" restore --restore-detached --images-dir "$work/damaged" >"$work/out" 2>&1 </dev/null || status=$?
		case $status in
		0) restored=$((restored + 1)) ;;
		1)
			refused=$((refused + 1))
			[ -s "$work/out" ] || fail "seed $i: fails without a word ($what)"
			wait_until 5 eval '[ -z "$(alive $(made))" ]'
			;;
		*) fail "seed $i: the engine ends with status $status ($what): $(tail -n 40 "$work/out")" ;;
		esac
		left=$(made)
		# shellcheck disable=SC2086
		kill -9 $left 2>/dev/null || :
		wait_until 5 eval '[ -z "$(made)" ]'
	done
	echo "$1: $refused refused, $restored restored"
	cat "$work/status.before" >"$file"   # what the damaged ones found wrong was right to be wrong
	"$TORPOR_CR" restore --restore-detached --images-dir "$images" -o "$work/restore.log" || fail "$1: the whole images: $(cat "$work/restore.log")"
	worker_goes_on "$file" "$1, restored"
	end_tree $worker
	wait_until 5 eval '[ -z "$(made)" ]'
}

damaged_restores tree $((150 * ROUNDS))
damaged_restores asleep $((100 * ROUNDS))
