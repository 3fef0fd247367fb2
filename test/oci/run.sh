#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# run in the foreground and detached: exit status, signals, stdio, pid file, what is left.
. "${0%/*}/../lib.sh"
require_root
b=$TEST_DIR/b

status_of() {
	local status=0
	"$@" || status=$?
	echo $status
}
command_is() { configure "$b" '.process.args = $ARGS.positional' --args -- "$@"; }

make_bundle busybox "$b" true
delete_at_exit c
equal "$(status_of torpor run --bundle "$b" c </dev/null)" 0 status
refuses "does not exist" torpor state c
command_is sh -c 'exit 42'
equal "$(status_of torpor run --bundle "$b" c </dev/null)" 42 status
command_is sh -c 'read x; echo "got $x"; echo error >&2'
equal "$(echo hello | torpor run --bundle "$b" c 2>"$TEST_DIR/err")" "got hello" output
equal "$(cat "$TEST_DIR/err")" error "standard error"
(cd "$b" && command_is sh -c 'kill -9 $$; exit 3')
command_is /no/such/program
refuses "No such file or directory" torpor run --bundle "$b" c
refuses "does not exist" torpor state c

# signals go on to the container
command_is sh -c 'trap "echo term; exit 7" TERM; echo ready; while :; do sleep 0.05; done'
torpor run --bundle "$b" --pid-file "$TEST_DIR/pid" c </dev/null >"$TEST_DIR/out" 2>&1 &
runner=$!
wait_until 5 grep -q ready "$TEST_DIR/out"
equal "$(cat "$TEST_DIR/pid")" "$(container_pid c)" "the pid file"
pkill -TERM -P $runner 2>/dev/null || kill -TERM $runner
status=0
wait $runner || status=$?
equal $status 7 status
grep -q term "$TEST_DIR/out"

# killed by a signal: 128 and its number
command_is sh -c 'echo ready; exec sleep 1000'
rm "$TEST_DIR/out"   # which has the same word, and is made anew in the background
torpor run --bundle "$b" c </dev/null >"$TEST_DIR/out" 2>&1 &
runner=$!
wait_until 5 grep -q ready "$TEST_DIR/out"   # before that it could die without a program
equal "$(container_status c)" running status
torpor kill c 9
status=0
wait $runner || status=$?
equal $status 137 status
refuses "does not exist" torpor state c

# --keep
command_is true
torpor run --keep --bundle "$b" c </dev/null
equal "$(container_status c)" stopped status
torpor delete c

# --detach returns while it runs
command_is sleep 1000
torpor run --detach --bundle "$b" --pid-file "$TEST_DIR/pid" c </dev/null >"$TEST_DIR/out" 2>&1
equal "$(container_status c)" running status
equal "$(cat "$TEST_DIR/pid")" "$(container_pid c)" "the pid file"
torpor delete --force c

# another configuration file
jq '.process.args = ["sh", "-c", "exit 5"]' "$b/config.json" >"$b/other.json"
equal "$(status_of torpor run --bundle "$b" --config other.json c </dev/null)" 5 status

# what the configuration asks for and is not done, by its path; nothing is left
configure "$b" '.linux.resources.pids.limit = "many"'
refuses "config.json: linux.resources.pids.limit: expected an integer, found a string" torpor create --bundle "$b" c
refuses "container does not exist" torpor state c
refuses "read the container's configuration" torpor create --bundle /nonexistent c
