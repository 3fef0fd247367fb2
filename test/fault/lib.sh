# SPDX-License-Identifier: Apache-2.0
# What the tests of this folder share, on top of test/lib.sh.
#
# FAULT_SEED     seed of what is random (default: a fixed one, so that `make check` repeats itself)
# FAULT_ROUNDS   multiplies the number of kills and corruptions (default 1)
. "${BASH_SOURCE[0]%/*}/../lib.sh"
require_root
RANDOM=${FAULT_SEED:-4711}
ROUNDS=${FAULT_ROUNDS:-1}
TOOLS=$TEST_BUILD/test/fault
PID_BASE=0

# Images and programs' files on a tmpfs: what is tested is not the disk.
fast_directory() { # VARIABLE
	local dir=$TEST_DIR/fast
	if [ ! -d "$dir" ]; then
		mkdir "$dir"
		mount -t tmpfs -o size=1g,mode=755 torpor-test "$dir"
		at_exit umount -l "$dir"
	fi
	printf -v "$1" %s "$(mktemp -d "$dir/XXXXXX")"
}

# start_worker FILE MODE: a program that checks itself, in a session of its own; its pid is in $worker.
start_worker() {
	rm -f "$1"
	setsid "$TOOLS/worker" "$1" "$2" </dev/null >/dev/null 2>&1 &
	worker=$!
	disown $worker
	at_exit end_tree $worker
	wait_until 10 "$TOOLS/worker" "$1" watch 1
}
# It must go on, all of it, and be right.
worker_goes_on() { # FILE WHAT
	"$TOOLS/worker" "$1" watch 60 || fail "the program does not go on as it should: $2"
}

tree() { # PID: it and its descendants
	local child
	echo "$1"
	for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do tree "$child"; done
}
alive() { # PID…: those that are processes, and not zombies
	local p
	for p; do
		case $(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$p/status" 2>/dev/null) in Z | X | '') ;; *) echo "$p" ;; esac
	done
}
none_alive() { [ -z "$(alive "$@")" ]; }
# Also no zombie, which still has the pid.
none_there() {
	local p
	for p; do [ ! -e "/proc/$p" ] || return 1; done
}
end_tree() { # PID
	local all
	all=$(tree "$1")
	# shellcheck disable=SC2086
	kill -9 $all 2>/dev/null || :
}
# Processes of this pid namespace that a restore may have made: husks and builders of the engine, and the programs.
made() {
	local p comm
	for p in /proc/[0-9]*; do
		read -r comm 2>/dev/null <"$p/comm" || continue
		case $comm in worker | torpor*) echo "${p#/proc/}" ;; esac
	done
}

# How long a command takes, in microseconds: the median of five.
median_us() { # COMMAND…
	local i
	for i in 1 2 3 4 5; do "$TOOLS/killafter" -t 0 "$@"; done | awk '$1 == "exit" && $2 == 0 { print $3 }' | sort -n | sed -n 3p
}
random_below() { # N: in $random
	random=$(((RANDOM * 32768 + RANDOM) % $1))
}
# killed_at_random COMMAND…: kills it at a random moment of the time $us that it takes, and a little more; $outcome is "killed" or "exit N".
# The time is followed up: it depends on what else this machine does.
killed_at_random() {
	random_below $((us * 11 / 10))
	outcome=$("$TOOLS/killafter" -t $((random + 1)) "$@")
	case $outcome in
	exit*) us=$(((us * 3 + ${outcome##* }) / 4)) ;;
	*) us=$((us + us / 50)) ;;
	esac
	outcome=${outcome% *}
}
mappings() { wc -l <"/proc/$1/maps"; }
