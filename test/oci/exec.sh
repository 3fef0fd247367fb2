#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# exec: a further process, its status, stdio, user, environment, directory, and the ways to fail.
. "${0%/*}/../lib.sh"
require_root
b=$TEST_DIR/b

status_of() {
	local status=0
	"$@" || status=$?
	echo $status
}

make_bundle busybox "$b" sleep 1000
delete_at_exit c
torpor create --bundle "$b" c </dev/null >"$TEST_DIR/out" 2>&1
torpor start c
equal "$(torpor exec c echo hello)" hello output
equal "$(echo in | torpor exec c cat)" in output
equal "$(status_of torpor exec c sh -c 'exit 9')" 9 status
equal "$(status_of torpor exec c sh -c 'kill -15 $$')" 143 status
equal "$(torpor exec c hostname)" torpor hostname
equal "$(torpor exec --cwd /tmp c pwd)" /tmp directory
equal "$(torpor exec -e A=1 --env B=2 c sh -c 'echo $A$B')" 12 environment
equal "$(torpor exec --user 33:33 c id -u)" 33 user
equal "$(torpor exec -u 33:33 -g 7 c sh -c 'id -G')" "33 7" groups
equal "$(torpor exec c sh -c 'test -d /proc/1 && tr "\0" " " </proc/1/cmdline')" "sleep 1000 " "pid namespace"
torpor exec c cat /proc/self/cgroup | grep -qE ":(pids)?:/\$"      # the container's group is the root of its cgroup namespace

# --process
cat >"$TEST_DIR/process.json" <<-END
	{"args": ["sh", "-c", "echo \$X; id -u; pwd"], "cwd": "/root", "env": ["X=y", "PATH=/bin"], "user": {"uid": 0, "gid": 0}}
END
equal "$(torpor exec --process "$TEST_DIR/process.json" c | tr '\n' ' ')" "y 0 /root " output
refuses "exclude each other" torpor exec --process "$TEST_DIR/process.json" c id
echo '{"args": [], "cwd": "/"}' >"$TEST_DIR/bad.json"
refuses "args: at least one is needed" torpor exec --process "$TEST_DIR/bad.json" c

# --detach and --pid-file
torpor exec --detach --pid-file "$TEST_DIR/pid" c sleep 500 </dev/null >"$TEST_DIR/out" 2>&1
pid=$(cat "$TEST_DIR/pid")
torpor ps --format json c | jq -e --argjson pid "$pid" 'index($pid)' >/dev/null
equal "$(tr '\0' ' ' </proc/"$pid"/cmdline)" "sleep 500 " command
kill "$pid"

# failures
equal "$(status_of torpor exec c /no/such 2>"$TEST_DIR/err")" 255 status
grep -qi "no such file or directory" "$TEST_DIR/err"
refuses "missing arguments" torpor exec c
refuses "container does not exist" torpor exec nobody true
torpor pause c
refuses "paused" torpor exec c true
torpor resume c
torpor kill c KILL
wait_until 5 eval '[ "$(container_status c)" = stopped ]'
refuses "container not running" torpor exec c true
torpor delete c
