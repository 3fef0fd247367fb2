#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A container with a terminal through checkpoints: to a console socket, to the foreground, twice; what was typed and not read, size,
# settings, keys, jobs, /dev/console; left running; refused without a taker.
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_inside.sh"
require_root
pty=$TEST_BUILD/test/oci/pty
make_bundle busybox "$b"
configure "$b" '.process.terminal = true | .process.consoleSize = {height: 33, width: 99}'
configure "$b" '.process.args = ["sh", "-c", $s]' --arg s 'trap "echo interrupted" INT; stty -echo; sleep 1000 & echo ready; while :; do read x && echo "got $x"; done'
delete_at_exit c
images=$TEST_DIR/images
# As one line; the shell says where it is.
state() { torpor exec c sh -c 'stty size </dev/pts/0; stty -a </dev/pts/0 | grep -o "[-]echo " ; readlink /proc/1/fd/0; test /dev/console -ef /dev/pts/0 && echo same
	cut -d" " -f5-8 /proc/1/stat' </dev/null | tr '\n' '|'; }
receive() { # FILE STEP…
	local file=$1
	shift
	rm -f "$TEST_DIR/sock"
	"$pty" receive "$TEST_DIR/sock" "$@" >"$file" &
	receiver=$!
	wait_until 5 test -S "$TEST_DIR/sock"
}

receive "$TEST_DIR/out0" expect ready send $'one\r' expect "got one" send half say typed
torpor create --bundle "$b" --console-socket "$TEST_DIR/sock" c </dev/null
torpor start c
wait_until 10 grep -q typed "$TEST_DIR/out0"
was=$(state)
[[ $was == "33 99|-echo |/dev/pts/0|same|1 1 34816 1|" ]] || fail "before: $was"

# left running: as if nothing had been
torpor checkpoint --leave-running --image-path "$images.left" c
equal "$(state)" "$was" "left running"
torpor checkpoint --image-path "$images.1" c
wait "$receiver" || fail "the first terminal"

# through a console socket; the half line is completed
receive "$TEST_DIR/out1" send $' done\r' expect "got half done" send $'\003' expect interrupted size 40 120 send $'two\r' expect "got two"
torpor restore --detach --bundle "$b" --console-socket "$TEST_DIR/sock" --image-path "$images.1" c </dev/null
wait_until 10 grep -q "got two" "$TEST_DIR/out1"
equal "$(state)" "${was/33 99/40 120}" "restored"
torpor checkpoint --image-path "$images.2" c
wait "$receiver" || fail "the second terminal"

# in the foreground, here with a terminal, there without
"$pty" run send $'three\r' expect "got three" send $'\003' expect interrupted -- "$TORPOR" --root "$TEST_STATE" restore --bundle "$b" \
	--image-path "$images.2" c </dev/null >"$TEST_DIR/out2" 2>&1 &
foreground=$!
wait_until 10 grep -q interrupted "$TEST_DIR/out2"
torpor kill c KILL
status=0
wait $foreground || status=$?
[[ $(cat "$TEST_DIR/out2") == *"got three"*interrupted* ]] || fail "in the foreground ($status): $(cat "$TEST_DIR/out2")"

# nobody to take it
refuses "cannot allocate tty if torpor will detach without setting console socket" torpor restore --detach --bundle "$b" --image-path "$images.1" c
configure "$b" '.process.terminal = false'
refuses "the checkpointed container had a terminal" torpor restore --detach --bundle "$b" --image-path "$images.1" c
refuses "does not exist" torpor state c
