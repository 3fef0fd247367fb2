#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `torpor checkpoint` and `torpor restore` killed at random moments. A container goes on running, and all commands work on it; of a restore,
# `torpor delete --force` leaves nothing: no process, no cgroup, no mount, no state.
# timeout: 200
. "${0%/*}/lib.sh"

fast_directory work
bundle=$work/bundle
make_bundle busybox "$bundle" /worker /outside/status tree
copy_program "$bundle/rootfs" "$TOOLS/worker"
install "$TOOLS/worker" "$bundle/rootfs/worker"
mkdir "$work/dir"
configure "$bundle" '.mounts += [{destination: "/outside", type: "bind", source: $dir, options: ["bind", "rw"]}]' --arg dir "$work/dir"
file=$work/dir/status
delete_at_exit c

goes_on() { # WHAT
	equal "$(container_status c)" running "the container's state, $1"
	worker_goes_on "$file" "$1"
}

# -- checkpoint ------------------------------------------------------------------------------------------------------------------
torpor run --detach --bundle "$bundle" c </dev/null >"$work/out" 2>&1 || fail "run: $(cat "$work/out")"
wait_until 10 "$TOOLS/worker" "$file" watch 1
checkpoint=("$TORPOR" --root "$TEST_STATE" checkpoint --leave-running --image-path "$work/images" --work-path "$work/log" c)
us=$(median_us "${checkpoint[@]}")
killed=0
for ((i = 0; killed < 120 * ROUNDS; i++)); do
	[ $i -lt $((2400 * ROUNDS)) ] || fail "only $killed of $i were killed"
	killed_at_random "${checkpoint[@]}"
	case $outcome in
	killed) killed=$((killed + 1)) ;;
	"exit 0") ;;
	*) fail "checkpoint $i: $outcome: $(cat "$work/log/dump.log")" ;;
	esac
	if ((i % 10 == 9)); then
		goes_on "after $killed killed checkpoints"
		equal "$(torpor exec c echo works)" works "exec"
	fi
done
goes_on "after $killed killed checkpoints"
echo "checkpoint: $killed of $i killed, one takes $us us"
rm -rf "$work/images"
torpor checkpoint --image-path "$work/images" --work-path "$work/log" c || fail "checkpoint: $(cat "$work/log/dump.log")"
refuses "does not exist" torpor state c

# -- restore ---------------------------------------------------------------------------------------------------------------------
cgroups() { find_groups -mindepth 1 -maxdepth 4 -type d -path "*${TEST_CGROUP#/}/*"; }
mounts=$(cut -d' ' -f5 /proc/self/mountinfo)
nothing_left() { # WHAT
	wait_until 5 eval '[ -z "$(made)" ]'
	equal "$(cgroups)" "" "cgroups, $1"
	equal "$(ls -A "$TEST_STATE")" "" "the state directory, $1"
	equal "$(cut -d' ' -f5 /proc/self/mountinfo)" "$mounts" "mounts, $1"
}
nothing_left "before"
restore=("$TORPOR" --root "$TEST_STATE" restore --detach --image-path "$work/images" --work-path "$work/log" --bundle "$bundle" c)
us=100000 killed=0 running=0
for ((i = 0; killed < 120 * ROUNDS; i++)); do
	[ $i -lt $((2400 * ROUNDS)) ] || fail "only $killed of $i were killed"
	killed_at_random "${restore[@]}" </dev/null
	case $outcome in
	killed)
		killed=$((killed + 1))
		if shows '"status": "running"' torpor state c 2>/dev/null; then running=$((running + 1)); fi
		;;
	"exit 0") goes_on "restored" ;;
	*) fail "restore $i: $outcome: $(cat "$work/log/restore.log")" ;;
	esac
	torpor delete --force c >"$work/out" 2>&1 || { [ ! -e "$TEST_STATE/c" ] || fail "delete, kill $i: $(cat "$work/out")"; }
	nothing_left "kill $i ($outcome)"
done
echo "restore: $killed of $i killed, of $running of these all was there already; one takes $us us"
"${restore[@]}" </dev/null >"$work/out" 2>&1 || fail "the last restore: $(cat "$work/log/restore.log")"
goes_on "the last restore"
torpor delete --force c
nothing_left "at the end"
