#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A restore that fails says why and leaves nothing: no process, no pid file, no file.
# timeout: 120
. "${0%/*}/lib.sh"

fast_directory work
file=$work/status images=$work/images
cat >"$work/reader" <<-'END'
	#!/bin/sh
	exec 5<"$1" 6>>"$2" 7<"$3"
	echo ready >"$4"
	while :; do sleep 100000; done
END
chmod 755 "$work/reader"
mkdir "$work/dir"
echo content >"$work/dir/read"
echo content >"$work/dir/append"
setsid "$work/reader" "$work/dir/read" "$work/dir/append" "$work/dir" "$work/ready" </dev/null >/dev/null 2>&1 251>&- &
reader=$!
disown $reader
at_exit end_tree $reader
wait_until 10 test -e "$work/ready"
sleeps() { [ "$(cat "/proc/$(xargs </proc/$reader/task/$reader/children)/comm")" = sleep ]; }
wait_until 10 sleeps
members=$(tree $reader)
mkdir "$images"
"$TORPOR_CR" dump --tree $reader --images-dir "$images" -o "$work/dump.log" || fail "dump: $(cat "$work/dump.log")"
# shellcheck disable=SC2086
wait_until 5 none_there $members
before=$(cd "$work" && find . | sort)

restore() { timeout 60 "$TORPOR_CR" restore --restore-detached --images-dir "$images" --pidfile "$work/pidfile" "$@"; }
# must_fail TEXT WHAT [OPTION…]
must_fail() {
	local text=$1 what=$2 status=0
	shift 2
	restore "$@" </dev/null >"$work/out" 2>&1 || status=$?
	[ $status = 1 ] || fail "$what: status $status: $(cat "$work/out")"
	[[ $(cat "$work/out") == *"$text"* ]] || fail "$what: no \"$text\" in: $(cat "$work/out")"
	# shellcheck disable=SC2086
	wait_until 5 none_there $members
	wait_until 5 eval '[ -z "$(made)" ]'
	[ ! -e "$work/pidfile" ] || fail "$what: a pid file was left"
	equal "$(cd "$work" && find . ! -name out | sort)" "$before" "files, $what"
}
whole_restore() { # WHAT: it is all there again
	restore >"$work/out" 2>&1 || fail "restore, $1: $(cat "$work/out")"
	equal "$(cat "$work/pidfile")" $reader "the pid file"
	# shellcheck disable=SC2086
	kill -9 $(tree $reader)
	# shellcheck disable=SC2086
	wait_until 5 none_there $members
	rm "$work/pidfile"
	rm -f "$images/stats-restore.img" "$images/stats-restore"
}

# -- images ----------------------------------------------------------------------------------------------------------------------
# Without one of them it fails; those that a restore can do without are few, and it is then whole.
optional=0
for image in "$images"/*; do
	name=${image##*/}
	mv "$image" "$work/away"
	if restore </dev/null >"$work/out" 2>&1; then
		case $name in
		seccomp.img | stats-dump | timens-* | cgroup.img | *-data.img | sk-queues.img | *.log) optional=$((optional + 1)) ;;
		*) fail "restored without $name" ;;
		esac
		# shellcheck disable=SC2086
		kill -9 $(tree $reader)
		# shellcheck disable=SC2086
		wait_until 5 none_there $members
		rm -f "$work/pidfile" "$images"/stats-restore*
	else
		[ -s "$work/out" ] || fail "without $name: fails without a word"
		[ ! -e "$work/pidfile" ] || fail "without $name: a pid file was left"
		# shellcheck disable=SC2086
		wait_until 5 none_there $members
	fi
	mv "$work/away" "$image"
done
echo "$optional images can be missing"
must_fail "holds no checkpoint" "an empty directory" --images-dir "$work/dir"
must_fail "No such file" "no directory" --images-dir "$work/no/such"

# -- files -----------------------------------------------------------------------------------------------------------------------
mv "$work/dir/read" "$work/dir/gone"
before=$(cd "$work" && find . ! -name out | sort) must_fail "$work/dir/read" "a missing file"
mv "$work/dir/gone" "$work/dir/read"
echo more >>"$work/dir/append"
must_fail "has 13 bytes now, it had 8" "a file of another size"
echo content >"$work/dir/append"
chmod 600 "$work/dir/read"
must_fail "has mode 0600 now" "a file of another mode"
chmod 644 "$work/dir/read"
rm "$work/dir/read"
mkdir "$work/dir/read"
must_fail "is a directory now" "a file of another kind"
rmdir "$work/dir/read"
mkfifo "$work/dir/read"
must_fail "is a fifo now" "a fifo in its place"
rm "$work/dir/read"
echo content >"$work/dir/read"
echo longer >>"$work/reader"
must_fail "$work/reader" "a program of another size"
head -c -7 "$work/reader" >"$work/shorter"
cat "$work/shorter" >"$work/reader"
rm "$work/shorter"
whole_restore "files put back"

# -- pids ------------------------------------------------------------------------------------------------------------------------
for m in $members; do
	"$TOOLS/holder" "$m" &
	holder=$!
	wait_until 5 test -e "/proc/$m"
	status=0
	restore </dev/null >"$work/out" 2>&1 || status=$?
	[ $status = 1 ] && grep -q "pid $m is in use" "$work/out" || fail "pid $m is taken: status $status: $(cat "$work/out")"
	[ -n "$(alive "$m")" ] || fail "a restore that failed ended another process"
	[ ! -e "$work/pidfile" ] || fail "pid in use: a pid file was left"
	kill -9 "$m"
	wait $holder 2>/dev/null || :
	# shellcheck disable=SC2086
	wait_until 5 none_there $members
done
echo other >"$work/pidfile"
restore </dev/null >"$work/out" 2>&1 && fail "restored although there is a pid file"
equal "$(cat "$work/pidfile")" other "the pid file of somebody else"
# shellcheck disable=SC2086
wait_until 5 none_there $members
rm "$work/pidfile"
whole_restore "at the end"
