#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A container's life in single steps: create, state, start, ps, pause, resume, kill, delete; and each step at the wrong time.
. "${0%/*}/../lib.sh"
require_root

make_bundle busybox "$TEST_DIR/b" sh -c 'echo started >/started; exec sleep 1000'
delete_at_exit c
torpor create --bundle "$TEST_DIR/b" --pid-file "$TEST_DIR/pid" c </dev/null >"$TEST_DIR/out" 2>&1
equal "$(container_status c)" created status
pid=$(container_pid c)
equal "$(cat "$TEST_DIR/pid")" "$pid" "the pid file"
equal "$(wc -l <"$TEST_DIR/pid")" 0 "number of newlines in the pid file"
kill -0 "$pid"
[ ! -e "$TEST_DIR/b/rootfs/started" ] || fail "it runs before start"
torpor state c | jq -e --arg b "$TEST_DIR/b" '.id == "c" and .bundle == $b and .rootfs == $b + "/rootfs" and .ociVersion == "1.3.0"
	and (.created | test("^[0-9-]+T[0-9:]+[.][0-9]+Z$")) and .owner == ""' >/dev/null
refuses "container with given ID already exists" torpor create --bundle "$TEST_DIR/b" c
refuses "container not paused" torpor resume c

ln "$TEST_STATE/c/start" "$TEST_STATE/kept"
torpor start c
wait_until 5 test -e "$TEST_DIR/b/rootfs/started"
ln "$TEST_STATE/kept" "$TEST_STATE/c/start"   # as a start leaves it that was killed when init had heard
equal "$(container_status c)" running "status with the start socket"
refuses "it is running, not created" torpor start c
refuses "cannot delete container c that is not stopped: running" torpor delete c
rm "$TEST_STATE/c/start" "$TEST_STATE/kept"
equal "$(container_status c)" running status
equal "$(container_pid c)" "$pid" pid
if torpor start c 2>/dev/null; then fail "started twice"; fi
torpor kill c 0   # only asks
refuses "are more than there can be" torpor exec --preserve-fds 4294967295 c true
refuses "cannot delete container c that is not stopped: running" torpor delete c
equal "$(torpor ps --format json c)" "[$pid]"
wait_until 5 shows "[0-9] sleep 1000$" torpor ps c   # the shell says that it has started before it is that
equal "$(torpor ps c -o pid,comm | tail -n +2 | awk '{print $1}')" "$pid"
refuses "no PID column" torpor ps c -o comm

[[ $(torpor list) =~ c\ +$pid\ +running\ +$TEST_DIR/b\ +20.*\ +root ]] || fail "list: $(torpor list)"
torpor list --format json | jq -e --argjson pid "$pid" 'length == 1 and .[0].id == "c" and .[0].pid == $pid and .[0].owner == "root"' >/dev/null
equal "$(torpor list -q)" c

torpor pause c
equal "$(container_status c)" paused status
refuses "paused already" torpor pause c
torpor resume c
equal "$(container_status c)" running status

torpor kill c USR2 || :      # sleep dies of it; as first process of its namespace it does not
torpor kill c KILL
wait_until 5 eval '[ "$(container_status c)" = stopped ]'
equal "$(container_pid c)" 0 pid
refuses "container not running" torpor kill c TERM
torpor kill --all c TERM
refuses "container not running" torpor pause c
torpor delete c
refuses "container does not exist" torpor delete c

# one that was killed a moment ago
torpor run --detach --bundle "$TEST_DIR/b" c </dev/null >"$TEST_DIR/out" 2>&1
torpor kill c KILL && torpor delete c

# delete of a created one, of a paused one, of one with other processes
torpor create --bundle "$TEST_DIR/b" c </dev/null >"$TEST_DIR/out" 2>&1
torpor delete c
torpor run --detach --bundle "$TEST_DIR/b" c </dev/null >"$TEST_DIR/out" 2>&1
torpor pause c
torpor delete --force c
refuses "container does not exist" torpor state c

# without a pid namespace of its own, other processes survive init: delete takes them along
configure "$TEST_DIR/b" '.linux.namespaces |= map(select(.type != "pid")) | .process.args = ["sh", "-c", "sleep 999 & exec sleep 1000"]'
torpor run --detach --bundle "$TEST_DIR/b" c </dev/null >"$TEST_DIR/out" 2>&1
wait_until 5 eval '[ $(torpor ps --format json c | jq length) = 2 ]'
other() { pgrep -f '^sleep 999$' >/dev/null; }   # in this test's pid namespace
wait_until 5 other
kill -KILL "$(container_pid c)"
wait_until 5 eval '[ "$(container_status c)" = stopped ]'
other || fail "the other process has not survived init"
torpor delete --force c
if other; then fail "a process is left"; fi

# several at once by expression
configure "$TEST_DIR/b" '.process.args = ["sleep", "1000"] | del(.linux.cgroupsPath)'
for id in r-1 r-2 other; do
	delete_at_exit $id
	configure "$TEST_DIR/b" '.linux.cgroupsPath = $c' --arg c "$TEST_CGROUP/$id"
	torpor run --detach --bundle "$TEST_DIR/b" $id </dev/null >"$TEST_DIR/out" 2>&1
done
torpor delete --force --regex '^r-[0-9]$'
equal "$(torpor list -q)" other
torpor delete --force other
