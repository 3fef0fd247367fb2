#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Terminals: in the foreground, over a console socket, of run, create and exec; size, keys, controlling terminal, what does not go together.
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_inside.sh"
require_root
pty=$TEST_BUILD/test/oci/pty
make_bundle busybox "$b"
configure "$b" '.process.terminal = true'
delete_at_exit c
script() { configure "$b" '.process.args = ["sh", "-c", $s]' --arg s "$1"; }
lines() { tr -d '\r' | tr '\n' '|'; }

# in the foreground: on a terminal, with its size, which it follows; keys go in raw; the status comes out, all output with it
script 'trap "stty size; exit 7" WINCH; tty; stty size; echo ready; read x; echo "got $x"; while :; do sleep 0.05; done'
status=0
out=$("$pty" run expect ready send $'word\r' expect "got word" size 50 132 -- "$TORPOR" --root "$TEST_STATE" run --bundle "$b" c </dev/null) || status=$?
equal "$status" 7 status
equal "$(lines <<<"$out")" '/dev/pts/0|24 80|ready|word|got word|50 132|' output
refuses "does not exist" torpor state c
script 'trap "echo interrupted; exit 3" INT; echo ready; while :; do sleep 0.05; done'
status=0
out=$("$pty" run expect $'ready\r\n' send $'\003' -- "$TORPOR" --root "$TEST_STATE" run --bundle "$b" c </dev/null) || status=$?
[[ $out == *^C* ]] || fail "^C: $out"   # the kernel sends the signal before it shows the key
equal "$status $(lines <<<"${out/^C/}")" '3 ready|interrupted|' "^C"
script 'seq 1 20000'
equal "$("$pty" run -- "$TORPOR" --root "$TEST_STATE" run --bundle "$b" c </dev/null | tail -n 1 | lines)" '20000|' "the end of long output"
# the caller's terminal is as before
script true
equal "$("$pty" run -- sh -c 'stty -g; "$@"; stty -g' sh "$TORPOR" --root "$TEST_STATE" run --bundle "$b" c </dev/null | sort -u | wc -l)" 1 "settings"
# without a terminal here
script 'tty; stty size; cat'
configure "$b" '.process.consoleSize = {height: 33, width: 99}'
equal "$(printf 'abc\n\004' | torpor run --bundle "$b" c | sort | lines)" '/dev/pts/0|33 99|abc|abc|' "piped, with consoleSize"
script 'tty; stty size'
equal "$(torpor run --bundle "$b" c <&- 2>&- | sort | lines)" '/dev/pts/0|33 99|' "with stdin and stderr closed"
# the controlling terminal, its owner, /dev/console, no further descriptors
script 'exec 2>&1; echo $(cut -d" " -f5-6 /proc/self/stat); echo x >/dev/tty; stat -c %u:%a /dev/pts/0; test /dev/console -ef /dev/pts/0 && echo same
	stat -c %t:%T /dev/console; echo y >/dev/console; ls /proc/self/fd | wc -l'
configure "$b" '.process.user.uid = 33 | .mounts |= map(if .type == "devpts" then .options += ["mode=0620"] else . end)'
equal "$(torpor run --bundle "$b" c </dev/null | lines)" '1 1|x|33:620|same|88:0|y|4|' "the terminal"
configure "$b" 'del(.process.user) | .root.readonly = true'
script 'echo z >/dev/console'
equal "$(torpor run --bundle "$b" c </dev/null | lines)" 'z|' "with a read-only root"
configure "$b" '.root.readonly = false'

# console sockets
script 'echo ready; read x; echo "got $x"; sleep 1000'
"$pty" receive "$TEST_DIR/sock" expect ready send $'word\r' expect "got word" >"$TEST_DIR/out" &
receiver=$!
wait_until 5 test -S "$TEST_DIR/sock"
torpor create --bundle "$b" --console-socket "$TEST_DIR/sock" c </dev/null
pid=$(container_pid c)
equal "$(readlink "/proc/$pid/fd/"{0,1,2} | sort -u)" /dev/pts/0 "stdio of a waiting init"
torpor start c
wait_until 10 grep -q "got word" "$TEST_DIR/out"
equal "$(head -n 1 "$TEST_DIR/out" | lines)" '/dev/ptmx|' "the name"

# exec
equal "$("$pty" run -- "$TORPOR" --root "$TEST_STATE" exec -t c sh -c 'tty; stty size' </dev/null | lines)" '/dev/pts/1|24 80|' "exec -t"
status=0
"$pty" run -- "$TORPOR" --root "$TEST_STATE" exec --tty c sh -c 'exit 9' </dev/null || status=$?
equal "$status" 9 status
equal "$(torpor exec -t c sh -c 'tty' </dev/null | lines)" '/dev/pts/1|' "exec -t without a terminal here"
equal "$(torpor exec c tty </dev/null || :)" "not a tty" "exec without -t"
rm "$TEST_DIR/sock"
"$pty" receive "$TEST_DIR/sock" >"$TEST_DIR/out2" &
second=$!
wait_until 5 test -S "$TEST_DIR/sock"
jq '.process | .args = ["sh", "-c", "tty; stty size"] | .consoleSize = {height: 5, width: 6}' "$b/config.json" >"$TEST_DIR/process.json"
torpor exec --detach --process "$TEST_DIR/process.json" --console-socket "$TEST_DIR/sock" c </dev/null
wait $second
equal "$(lines <"$TEST_DIR/out2")" '/dev/ptmx|/dev/pts/1|5 6|' "exec with a console socket"

# what does not go together; nothing is left of it
refuses "cannot allocate tty if torpor will detach without setting console socket" torpor exec --detach -t c true
refuses "cannot use console socket if torpor will not detach or allocate tty" torpor exec --console-socket "$TEST_DIR/sock" c true
refuses "cannot use console socket if torpor will not detach or allocate tty" torpor exec --console-socket "$TEST_DIR/sock" -t c true
refuses "--console-socket: connect to /no/such" torpor exec -d -t --console-socket /no/such c true
torpor delete --force c
wait $receiver
create_refuses "cannot allocate tty if torpor will detach without setting console socket"
refuses "cannot allocate tty" torpor run --detach --bundle "$b" c </dev/null
refuses "--console-socket: connect to /no/such: No such file" torpor create --console-socket /no/such --bundle "$b" c </dev/null
refuses "cannot use console socket" torpor run --console-socket "$TEST_DIR/sock" --bundle "$b" c </dev/null
with '.mounts |= map(select(.type != "devpts"))'
refuses "process.terminal: open /dev/ptmx in the container" torpor run --bundle "$b" c </dev/null
mkdir -p "$b/rootfs/other"
configure "$b" '.mounts |= map(select(.destination != "/dev"))'
rm -rf "$b/rootfs/dev"
mkdir -p "$b/rootfs/dev/pts"
mkfifo "$b/rootfs/dev/pts/ptmx"
refuses "/dev/ptmx in the container is not the pty multiplexer" timeout 60 "$TORPOR" --root "$TEST_STATE" run --bundle "$b" c </dev/null
undo
configure "$b" '.process.terminal = false'
refuses "cannot use console socket" torpor create --console-socket "$TEST_DIR/sock" --bundle "$b" c </dev/null

# pidfds
configure "$b" '.process.args = ["sleep", "1000"]'
for verb in create exec; do
	"$pty" pidfd "$TEST_DIR/pidfd.$verb" >"$TEST_DIR/pid.$verb" &
	receiver=$!
	wait_until 5 test -S "$TEST_DIR/pidfd.$verb"
	case $verb in
	create) torpor create --pidfd-socket "$TEST_DIR/pidfd.create" --bundle "$b" c </dev/null; torpor start c; pid=$(container_pid c) ;;
	exec) torpor exec --detach --pid-file "$TEST_DIR/pid" --pidfd-socket "$TEST_DIR/pidfd.exec" c sleep 1000 </dev/null; pid=$(cat "$TEST_DIR/pid") ;;
	esac
	wait $receiver
	equal "$(cat "$TEST_DIR/pid.$verb")" "$pid" "pid of the pidfd"
done
refuses "--pidfd-socket: connect to /no/such" torpor exec --pidfd-socket /no/such c sleep 1000
equal "$(torpor ps --format json c | jq length)" 2 "number of processes"
torpor delete --force c
