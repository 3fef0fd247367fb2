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
shows ":(pids)?:/\$" torpor exec c cat /proc/self/cgroup      # the container's group is the root of its cgroup namespace

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
wait_until 10 grep -q . "/proc/$pid/cmdline"   # which an execve writes after it has closed what tells the runtime of it
equal "$(tr '\0' ' ' </proc/"$pid"/cmdline)" "sleep 500 " command
kill "$pid"

# --cgroup: groups below the container's
groups=$(find_groups -maxdepth 3 -path "*$TEST_CGROUP/b" -type d)
for g in $groups; do mkdir "$g/below"; done
at_exit eval 'for g in $groups; do rmdir $g/below 2>/dev/null; done'
equal "$(torpor exec --cgroup below c sh -c 'grep -c "/below$" /proc/self/cgroup')" "$(wc -w <<<"$groups")" "number of groups"
if [ -d "/sys/fs/cgroup/pids$TEST_CGROUP/b" ]; then
	equal "$(torpor exec --cgroup pids:below c sh -c 'grep "/below$" /proc/self/cgroup | cut -d: -f2')" pids "the one group"
	equal "$(torpor exec --cgroup memory:below --cgroup pids,devices:below c sh -c 'grep -c "/below$" /proc/self/cgroup')" 3 "number of groups"
	refuses "the container has no group of this controller" torpor exec --cgroup none:below c true
fi
refuses "--cgroup elsewhere: " torpor exec --cgroup elsewhere c true
for bad in ../x /x pids: :x; do refuses "--cgroup $bad: expected a path below" torpor exec --cgroup $bad c true; done
for g in $groups; do wait_until 5 rmdir "$g/below"; done   # who was in it may be on its way out

# --cap, --no-new-privs, --preserve-fds, LISTEN_FDS, no further descriptors
equal "$(torpor exec --cap CAP_NET_RAW -c sys_chroot c grep -E 'CapEff|CapAmb' /proc/self/status | tr -d '\t' | tr '\n' ' ')" "CapEff:0000000020042420 CapAmb:0000000000000000 " capabilities
equal "$(torpor exec --user 33 --cap CAP_NET_RAW c grep -E 'CapEff|CapAmb' /proc/self/status | tr -d '\t' | tr '\n' ' ')" "CapEff:0000000000002000 CapAmb:0000000000002000 " capabilities
refuses "--cap CAP_NONE: no such capability" torpor exec --cap CAP_NONE c true
configure "$b" '.process.noNewPrivileges = false'
equal "$(torpor exec --no-new-privs c grep NoNewPrivs /proc/self/status)" $'NoNewPrivs:\t1' no_new_privs
equal "$(exec 7</etc/hostname; torpor exec c sh -c 'ls /proc/self/fd | wc -l')" 4 "open descriptors"
echo three >"$TEST_DIR/three"
equal "$(torpor exec --preserve-fds 1 c sh -c 'cat <&3; ls /proc/self/fd | wc -l' 3<"$TEST_DIR/three" 7</etc/hostname)" $'three\n5' "the preserved descriptor"
equal "$(LISTEN_FDS=1 LISTEN_FDNAMES=a torpor exec c sh -c 'cat <&3; echo $LISTEN_FDS $LISTEN_FDNAMES; [ $$ = $LISTEN_PID ] && echo mine' 3<"$TEST_DIR/three")" $'three\n1 a\nmine' "the listening descriptor"

# the session keyring: one for the container and its processes, none with --no-new-keyring
if [ -e /proc/keys ]; then
	make_bundle busybox "$TEST_DIR/keys" sleep 1000
	configure "$TEST_DIR/keys" 'del(.linux.maskedPaths)'
	delete_at_exit keys
	torpor run --detach --bundle "$TEST_DIR/keys" keys </dev/null >"$TEST_DIR/out" 2>&1
	equal "$(torpor exec keys grep -c '_ses.keys: ' /proc/keys)" 1 "number of session keyrings"
	torpor delete --force keys
	delete_at_exit nokeys
	torpor run --detach --no-new-keyring --no-subreaper --bundle "$TEST_DIR/keys" nokeys </dev/null >"$TEST_DIR/out" 2>&1
	equal "$(torpor exec nokeys grep -c '_ses.nokeys: ' /proc/keys || :)" 0 "number of session keyrings"
	torpor delete --force nokeys
fi

# --ignore-paused
torpor pause c
torpor exec --ignore-paused c echo late >"$TEST_DIR/late" &
late=$!
sleep 0.2
torpor resume c
wait $late
equal "$(cat "$TEST_DIR/late")" late "output after the pause"

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
