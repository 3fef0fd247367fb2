#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A dump that fails, for whatever reason and at whatever stage, leaves the program running as if nothing had happened, no image of the
# attempt, and an older checkpoint in the directory as it was.
# timeout: 240
. "${0%/*}/lib.sh"

fast_directory work
file=$work/status images=$work/images
mkdir "$images"
start_worker "$file" tree
members=$(tree $worker)
"$TORPOR_CR" dump --leave-running --tree $worker --images-dir "$images" -o "$work/dump.log" || fail "a dump: $(cat "$work/dump.log")"
mappings=$(for m in $members; do mappings "$m"; done)

# must_fail TEXT WHAT OPTION…: the dump fails within the time, says the text, and everything is as before.
must_fail() {
	local text=$1 what=$2 status=0 m
	shift 2
	timeout 60 "$TORPOR_CR" dump --tree $worker "$@" >"$work/out" 2>&1 || status=$?
	case $status in
	0) fail "the dump succeeded: $what" ;;
	1) ;;
	*) fail "the dump ended with status $status: $what: $(cat "$work/out")" ;;
	esac
	[[ $(cat "$work/out") == *"$text"* ]] || fail "$what: no \"$text\" in: $(cat "$work/out")"
	for m in $members; do
		case $(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$m/status") in
		R | S | D) ;;
		*) fail "$what: task $m is $(grep State "/proc/$m/status")" ;;
		esac
		grep -q '^TracerPid:	0$' "/proc/$m/status" || fail "$what: task $m is traced"
	done
	worker_goes_on "$file" "$what"
	equal "$(for m in $members; do mappings "$m"; done)" "$mappings" "mappings after: $what"
}

# -- the file system refuses: at each file that is made, at each page that is written --------------------------------------------
limited() { # MOUNT-OPTION WHAT: a dump into a file system with that limit; true when it succeeds
	local small=$work/small
	mkdir -p "$small"
	mount -t tmpfs -o "$1" small "$small"
	mkdir "$small/images"
	if "$TORPOR_CR" dump --leave-running --tree $worker --images-dir "$small/images" >"$work/out" 2>&1; then
		umount "$small"
		return 0
	fi
	equal "$(ls -A "$small/images")" "" "left after a dump that failed ($2)"
	must_fail "" "$2" --images-dir "$small/images"
	equal "$(ls -A "$small/images")" "" "left after a dump that failed ($2)"
	umount "$small"
	return 1
}
for ((n = 3; ; n++)); do
	! limited "nr_inodes=$n" "$n inodes" || break
done
[ $n -gt 20 ] || fail "with $n inodes a dump has no room, but succeeded"
for ((k = 4; ; k += 4 + k / 8 / 4 * 4)); do
	! limited "size=${k}k" "$k KiB" || break
	[ $k -lt 4096 ] || fail "no end"
	[[ $(cat "$work/out") == *"No space left"* ]] || fail "the cause is not named: $(cat "$work/out")"
done
echo "file systems: up to $n inodes, $k KiB"

mkdir "$work/readonly"
mount -t tmpfs -o ro small "$work/readonly"
must_fail "Read-only file system" "a read-only directory" --images-dir "$work/readonly"
umount "$work/readonly"
must_fail "No such file" "no directory" --images-dir "$work/no/such"
must_fail "Not a directory" "a file" --images-dir "$file"

# -- an older checkpoint in the directory ----------------------------------------------------------------------------------------
cp -a "$images" "$work/older"
mount -t tmpfs -o nr_inodes=60,size=4m small "$work/readonly"
cp -a "$images"/. "$work/readonly"
dd if=/dev/zero of="$work/readonly/filler" bs=4k status=none 2>/dev/null || :
must_fail "No space left" "an older checkpoint, a full disk" --images-dir "$work/readonly"
rm "$work/readonly/filler"
diff -r "$work/older" "$work/readonly" || fail "the older checkpoint was changed"
umount "$work/readonly"

# -- somebody else traces --------------------------------------------------------------------------------------------------------
traced() { # WHAT PID [stop]
	local what=$1 tracer
	shift
	mkfifo "$work/fifo"
	"$TOOLS/tracer" "$@" <"$work/fifo" >"$work/tracer" &
	tracer=$!
	exec 9>"$work/fifo"
	wait_until 5 grep -q traced "$work/tracer"
	[ "$what" != stopped ] || kill -STOP $tracer
	if timeout 60 "$TORPOR_CR" dump --tree $worker --images-dir "$work/other" >"$work/out" 2>&1; then fail "dumped although it is traced"; fi
	grep -q "task $1 (worker) is traced by process $tracer (tracer)" "$work/out" || fail "who traces is not named: $(cat "$work/out")"
	equal "$(ls -A "$work/other")" "" "left after a dump that failed"
	[ "$what" != stopped ] || kill -CONT $tracer
	exec 9>&-
	wait $tracer
	rm "$work/fifo" "$work/tracer"
	worker_goes_on "$file" "traced by another, $*"
}
mkdir "$work/other"
traced running $worker
traced stopped $worker
traced stopping $worker stop
last=$(tail -n 1 <<<"$members")
[ "$last" != $worker ] || fail "no child"
traced running "$last"
traced stopping "$last" stop

# -- nothing to dump -------------------------------------------------------------------------------------------------------------
refuses "there is no task 99999" torpor_cr dump --tree 99999 --images-dir "$work/other"
sh -c 'sleep 0.01 & echo $! >"$1"; exec sleep 1000' sh "$work/pid" &
parent=$!
disown $parent
at_exit kill -9 $parent
wait_until 5 eval '[ "$(ps -o stat= -p "$(cat "$work/pid")" | cut -c1)" = Z ]'
refuses "is a zombie" torpor_cr dump --tree "$(cat "$work/pid")" --images-dir "$work/other"
# A tree with the engine in it.
sh -c '"$1" dump --tree $$ --images-dir "$2" >"$3" 2>&1; echo $? >>"$3"; exit 7' sh "$TORPOR_CR" "$work/other" "$work/out" || status=$?
equal "$status" 7 "the shell around the engine"
equal "$(tail -n 1 "$work/out")" 1 "the dump of a tree with the engine in it"
grep -q "torpor-cr" "$work/out" || fail "the engine is not named: $(cat "$work/out")"
equal "$(ls -A "$work/other")" "" "left after dumps that failed"

# -- a task that cannot be stopped -----------------------------------------------------------------------------------------------
tree_worker=$worker
start_worker "$work/vfork" vfork
refuses "did not stop within 1 s (state D)" torpor_cr dump --timeout 1 --tree $worker --images-dir "$work/other"
worker_goes_on "$work/vfork" "waiting for its child"
end_tree $worker
worker=$tree_worker

# -- a stopped tree stays stopped ------------------------------------------------------------------------------------------------
# shellcheck disable=SC2086
kill -STOP $members
wait_until 5 eval '[ "$(ps -o stat= -p '"$(tr '\n' , <<<"$members" | sed 's/,$//')"' | cut -c1 | sort -u)" = T ]'
refuses "make image /proc" torpor_cr dump --tree $worker --images-dir /proc
mount -t tmpfs -o nr_inodes=12 small "$work/readonly"
refuses "No space left" torpor_cr dump --tree $worker --images-dir "$work/readonly"
umount "$work/readonly"
# Each wakes for a moment when it is no longer traced, only to stop again.
for m in $members; do wait_until 5 eval "[ \"\$(ps -o stat= -p $m | cut -c1)\" = T ]"; done
# shellcheck disable=SC2086
kill -CONT $members
worker_goes_on "$file" "stopped, a dump that failed, continued"

# -- tasks that die in the middle ------------------------------------------------------------------------------------------------
end_tree $worker
start_worker "$work/family" family
dump=("$TORPOR_CR" dump --leave-running --tree $worker --images-dir "$work/other")
us=$(median_us "${dump[@]}")
succeeded=0 failed=0
for ((i = 0; i < 60 * ROUNDS; i++)); do
	rm -rf "${work:?}/other"/*
	mapfile -t members < <(tree $worker)
	random_below "$us"
	"$TOOLS/killafter" -v "${members[1 + i % (${#members[@]} - 1)]}" $((random + 1)) "${dump[@]}" >"$work/outcome" 2>"$work/out"
	case $(<"$work/outcome") in
	"exit 0") succeeded=$((succeeded + 1)); [ -e "$work/other/inventory.img" ] || fail "no inventory" ;;
	"exit 1") failed=$((failed + 1)); equal "$(ls -A "$work/other")" "" "left after a task died: $(cat "$work/out")" ;;
	*) fail "$(<"$work/outcome"): $(cat "$work/out")" ;;
	esac
	worker_goes_on "$work/family" "a task died: $(cat "$work/out")"
done
echo "a task died: $succeeded dumps succeeded, $failed failed"
# The root dies: nothing hangs, nothing is left.
modes=(family threads asleep)
for ((i = 0; i < 45 * ROUNDS; i++)); do
	[ -d "/proc/$worker" ] || start_worker "$work/root" "${modes[i % 3]}"
	members=$(tree $worker)
	rm -rf "${work:?}/other"/*
	dump[4]=$worker
	random_below "$us"
	timeout 60 "$TOOLS/killafter" -v $worker $((random + 1)) "${dump[@]}" >"$work/outcome" 2>"$work/out" ||
		fail "${modes[i % 3]}: the root died, the engine hangs"
	[[ $(<"$work/outcome") == "exit "[01] ]] || fail "the root died: $(<"$work/outcome"): $(cat "$work/out")"
	[ "$(<"$work/outcome")" = "exit 0" ] || equal "$(ls -A "$work/other")" "" "left after the root died"
	# shellcheck disable=SC2086
	for m in $(alive $members); do
		[[ $(ps -o stat= -p "$m") != [Tt]* ]] || fail "task $m of the dead root stands still"
		kill -9 "$m" 2>/dev/null || :
	done
	wait_until 5 none_alive $members
done
