#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Action scripts: which points, in which order, with what environment; what a failing one does. Configuration files.
. "${0%/*}/../lib.sh"

require_root
new_tmpdir work
mkdir "$work/images"
cat >"$work/script" <<'END'
#!/bin/sh
echo "$CRTOOLS_SCRIPT_ACTION ${CRTOOLS_INIT_PID:-none}" >>"$ACTIONS_LOG"
test -d "$CRTOOLS_IMAGE_DIR" || echo "no images directory" >>"$ACTIONS_LOG"
[ "$CRTOOLS_SCRIPT_ACTION" != post-dump ] || ls "$CRTOOLS_IMAGE_DIR/inventory.img" >/dev/null || echo "no inventory" >>"$ACTIONS_LOG"
[ "$CRTOOLS_SCRIPT_ACTION" != "${ACTIONS_FAIL-}" ] || exit 42
END
sed 's/ACTIONS_LOG"/ACTIONS_LOG.2"/g; /ACTIONS_FAIL/d' "$work/script" >"$work/second"
chmod +x "$work/script" "$work/second"
export ACTIONS_LOG=$work/log
seen() { # WHAT LINE…
	local what=$1
	shift
	equal "$(cat "$work/log")" "$(printf '%s\n' "$@")" "$what"
	rm -f "$work/log"
}

(
	for fd in /proc/self/fd/*; do [ "${fd##*/}" -le 2 ] || eval "exec ${fd##*/}>&-"; done
	exec setsid sleep 1000
) </dev/null >/dev/null 2>&1 &
pid=$!
at_exit kill -9 $pid
wait_until 10 grep -q sleep /proc/$pid/comm

# A script that refuses: the program runs on; post-dump's status is the command's, and the images stay.
status=0
ACTIONS_FAIL=pre-dump torpor_cr dump -t $pid -D "$work/images" --action-script "$work/script" 2>"$work/err" || status=$?
equal $status 1 "the status"
grep -q "pre-dump: the action script $work/script ended with status 42" "$work/err" || fail "$(cat "$work/err")"
seen "a refused pre-dump" "pre-dump $pid"
status=0
ACTIONS_FAIL=post-dump torpor_cr dump -t $pid -D "$work/images" --action-script "$work/script" 2>"$work/err" || status=$?
equal $status 42 "the status after post-dump ($(cat "$work/err"))"
seen "a refused post-dump" "pre-dump $pid" "post-dump $pid"
[ -e "$work/images/inventory.img" ] || fail "the images are gone"
wait_until 20 grep -q '^State:.S' /proc/$pid/status   # the program runs on, and sleeps

# Two scripts; one from a configuration file.
cat >"$work/config" <<END
# a comment
action-script "$work/second"   # both
log-file config.log
tcp-close-is-not-an-option-of-restore
END
refuses "line 4" torpor_cr dump -t $pid -D "$work/images" --config "$work/config"
sed -i '$d' "$work/config"
torpor_cr dump -t $pid -D "$work/images" --config "$work/config" --action-script "$work/script"
seen "a dump" "pre-dump $pid" "post-dump $pid"
equal "$(cat "$work/log.2")" "pre-dump $pid
post-dump $pid" "the second script's"
[ -e "$work/images/config.log" ] || fail "the file's log-file was not used"
wait $pid || :
ACTIONS_FAIL=post-restore refuses "post-restore: the action script" torpor_cr restore -d -D "$work/images" --action-script "$work/script"
seen "a refused restore" "pre-restore none" "post-restore $pid"
# Whose pid is free again when pid 1 has reaped it.
wait_until 20 test ! -e /proc/$pid
torpor_cr restore -d -D "$work/images" --action-script "$work/script"
seen "a restore" "pre-restore none" "post-restore $pid" "pre-resume $pid" "post-resume $pid"

# A script that is not there; a file of configuration that is not, or is wrong.
refuses "run the action script /nowhere" torpor_cr dump -t $pid -D "$work/images" --action-script /nowhere
refuses "/nowhere" torpor_cr dump -t $pid -D "$work/images" --config /nowhere
echo 'tree "12' >"$work/config"
refuses "no end" torpor_cr dump -D "$work/images" --config "$work/config"
echo 'tree 12 13' >"$work/config"
refuses "more than one value" torpor_cr dump -D "$work/images" --config "$work/config"
CRIU_CONFIG_FILE=$work/config refuses "more than one value" torpor_cr dump -D "$work/images"
