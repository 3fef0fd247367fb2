#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# One test program (see cr.h) through a dump and a restore.
#
#   test/cr/run-kind.sh [-e ENGINE] [-w VARIANT] [-k] KIND [ARGUMENT…]
#
# ENGINE   torpor (default: build/bin/torpor-cr), criu (the newer release of test/peers), none (just the program)
# VARIANT  once (default), twice (two rounds), running (--leave-running: the program itself must pass),
#          copy (--leave-running, then the program is killed and restored from the images),
#          refused (the dump must fail, name what the program says is unsupported, and leave the program unharmed)
# -k       keep the folder; it is kept after a failure anyway, with dump.log, restore.log and the images
#
# KIND is a program of build/test/cr, or a script test/cr/KIND.sh. Exit: 0 passed, 77 skipped, 1 failed; the last line
# says why. Images are decoded by crit where the peers have it.
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
build=${TORPOR_BUILD:-$top/build}
engine=torpor variant=once keep=
while getopts e:w:k option; do
	case $option in
	e) engine=$OPTARG ;;
	w) variant=$OPTARG ;;
	k) keep=1 ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))
kind=${1:?a kind}
shift

# Everything that this test starts becomes a child of one process, which reaps at once and kills what is left.
if [ -z "${CR_REAPER:-}" ]; then
	export CR_REAPER=1
	exec "$build/test/cr/reaper" "$0" -e "$engine" -w "$variant" ${keep:+-k} "$kind" "$@"
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/cr-$kind.XXXXXX")
chmod 777 "$work"

finish() { # STATUS TEXT
	if [ "$1" = 1 ] || [ -n "$keep" ]; then
		echo "files: $work"
	else
		rm -rf "$work"
	fi
	echo "$2"
	exit "$1"
}
fail() { finish 1 "$kind ($engine, $variant): $1"; }

case $engine in
torpor) cr=("$build/bin/torpor-cr") ;;
criu)
	"$top/test/peers" has criu || finish 77 "skip: no criu: run test/peers fetch"
	cr=("$top/test/peers" run criu)
	;;
none) variant=none ;;
*) fail "no engine $engine" ;;
esac

# What a user of the kind has to ask for.
options=()
case $kind in
file_locks) options+=(--file-locks) ;;
tcp_established) options+=(--tcp-established) ;;
unlinked) options+=(--ghost-limit 8M) ;;
esac

await() { # SECONDS COMMAND…: until it succeeds
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.01
	done
}
tree() { # PID: it and all its descendants
	local child
	echo "$1"
	for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do tree "$child"; done
}
gone() { # PID…: no such processes, or only zombies
	local p
	for p in "$@"; do
		grep -qs '^State:	[^ZX]' "/proc/$p/status" && return 1
	done
	return 0
}
lines() { tail -n "$2" "$1" 2>/dev/null | sed 's/^/    /'; }

start() {
	local program=$build/test/cr/$kind
	[ -x "$here/$kind.sh" ] && program=$here/$kind.sh
	[ -x "$program" ] || fail "no program $program"
	(
		cd "$work" || exit
		setsid "$program" "$work/ready" "$@" </dev/null >/dev/null 2>"$work/stderr.start" &
		echo $! >"$work/pid"
	)
	pid=$(<"$work/pid")
	await 20 eval "[ -e '$work/ready' ] || [ -e '$work/result' ]" || fail "not ready after 20 s: $(<"$work/stderr.start")"
	if ! [ -e "$work/ready" ]; then
		case $(<"$work/result") in
		skip*) finish 77 "$(<"$work/result")" ;;
		*) fail "$(<"$work/result")" ;;
		esac
	fi
}

dump() { # OPTION…
	local images=$work/images.$round
	mkdir -p "$images"
	members=$(tree "$pid")
	timeout 60 "${cr[@]}" dump -t "$pid" -D "$images" -v4 -o dump.log "${options[@]}" "$@" >"$work/dump.out" 2>&1
}

must_dump() {
	dump "$@" || {
		echo "dump, exit $?:"
		lines "$work/dump.out" 5
		lines "$work/images.$round/dump.log" 5
		fail "dump failed"
	}
	[ -s "$work/images.$round/inventory.img" ] || fail "dump succeeded without inventory.img"
	decode "$work/images.$round"
}

# Every image decodes. Raw images (pages and the like) have no messages.
decode() {
	local image
	"$top/test/peers" has crit || {
		echo "skip: images not decoded: no crit"
		return
	}
	for image in "$1"/*.img; do
		case ${image##*/} in
		pages-* | tmpfs-dev-* | *tables-* | route* | rule-* | ifaddr-* | netns-ct-* | netns-exp-*) continue ;;
		esac
		echo "$image"
	done | "$top/test/peers" run python3 "$here/decode.py" >"$work/decode.out" 2>&1 || {
		lines "$work/decode.out" 5
		fail "an image that crit does not decode"
	}
}

restore() {
	rm -f "$work/pidfile"
	timeout 60 "${cr[@]}" restore -D "$work/images.$round" -d --pidfile "$work/pidfile" -v4 -o restore.log "${options[@]}" \
		>"$work/restore.out" 2>&1 || {
		echo "restore, exit $?:"
		lines "$work/restore.out" 5
		lines "$work/images.$round/restore.log" 5
		fail "restore failed"
	}
	[ "$(<"$work/pidfile")" = "$pid" ] || fail "the pidfile says '$(<"$work/pidfile")', the pid was $pid"
}

round_trip() {
	must_dump
	await 5 gone $members || fail "still there after a dump: of $(echo $members)"
	restore
}

verdict() {
	touch "$work/go"
	await 30 [ -e "$work/result" ] ||
		fail "no result after 30 s; state of $pid: $(grep -s State "/proc/$pid/status" || echo gone)"
	[ "$(<"$work/result")" = ok ] || {
		sed 's/^/    /' "$work/result"
		fail "wrong afterwards"
	}
	await 10 gone "$pid" || fail "the program did not end"
}

# The program says in DIR/names, one word per line, what the refusal must name.
refused() {
	local word text
	dump && fail "the dump succeeded"
	text=$(cat "$work/dump.out" "$work/images.$round/dump.log" 2>/dev/null | tr '[:upper:]' '[:lower:]')
	while read -r word; do
		case $text in
		*"$word"*) ;;
		*)
			lines "$work/dump.out" 5
			fail "the refusal does not name '$word'"
			;;
		esac
	done <"$work/names"
	[ -e "$work/images.$round/inventory.img" ] && fail "a refused dump left an inventory"
	gone $members && fail "a refused dump ended the program"
	return 0
}

round=1
start "$@"
case $variant in
none) ;;
once) round_trip ;;
twice)
	round_trip
	round=2
	sleep 0.1
	round_trip
	;;
running)
	must_dump --leave-running
	;;
copy)
	must_dump --leave-running
	sleep 0.05
	kill -9 $members
	await 5 gone $members
	await 5 eval "! [ -e /proc/$pid ]"
	restore
	;;
refused) refused ;;
*) fail "no variant $variant" ;;
esac
verdict
finish 0 ok
