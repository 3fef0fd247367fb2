#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a restored container is: all commands work on it, its output goes to the new caller, its loopback is up, its clocks go on, and it can
# be checkpointed again. Nothing of this depends on what else is on the host.
# timeout: 150
. "${0%/*}/../lib.sh"
require_root
require_command jq

cd "$TEST_DIR"
make_bundle busybox b sh -c 'i=0
	while :; do i=$((i+1)); echo $i; echo $i >/.count; mv /.count /count; read line <&3 || sleep 0.05; done 3</dev/null'
delete_at_exit c
run() { rm -f b/rootfs/count; torpor run --detach --bundle b c; }   # no number of the container before
checkpoint() { torpor checkpoint --image-path images --work-path log "$@" c || fail "checkpoint: $(cat log/dump.log)"; }
restore() { torpor restore --detach --image-path images --work-path log --bundle b --pid-file pidfile c || fail "restore: $(cat log/restore.log)"; }
count() { echo "$(<b/rootfs/count)"; }
pause() { torpor pause c; }
goes_on() {
	local n
	n=$(count)
	wait_until 10 eval "[ \"\$(count)\" -gt $n ]"
}

# -- commands --------------------------------------------------------------------------------------------------------------------
run </dev/null >run.out 2>&1
wait_until 10 test -s b/rootfs/count
created=$(torpor state c | jq -r .created)
refuses "manage-cgroups-mode sotf: soft, full" torpor checkpoint --manage-cgroups-mode sotf --image-path other c
equal "$(container_status c)" running
checkpoint
refuses "does not exist" torpor state c
refuses "manage-cgroups-mode sotf: soft, full" torpor restore --manage-cgroups-mode sotf --image-path other c
refuses "the images directory" torpor restore --bundle b --image-path never c
[ ! -e never ] || fail "a restore from nowhere has made a directory"
restore </dev/null >run.out 2>&1
goes_on
equal "$(cat pidfile)" "$(container_pid c)" "the pid file"
equal "$(torpor list --format json | jq -r '.[0] | .id, .status' | xargs)" "c running"
[[ $(torpor ps c) == *"sh -c i=0"* ]] || fail "ps: $(torpor ps c)"
equal "$(torpor exec c sh -c 'echo $$ is inside; exit 0' | cut -d' ' -f2-)" "is inside"
torpor exec c sh -c 'exit 7' && fail "exec's status" || equal $? 7
pause
equal "$(container_status c)" paused
n=$(count)
sleep 0.3
equal "$(count)" "$n" "a paused container"
torpor resume c
goes_on
[ -n "$created" ] || fail "no time of creation"

# Again and again.
for i in 1 2 3; do
	n=$(count)
	checkpoint
	restore </dev/null >run.out 2>&1
	[ "$(count)" -ge "$n" ] || fail "it counts back from $n to $(count)"
	goes_on
	equal "$(torpor exec c echo works)" works
done
torpor kill c KILL
wait_until 5 eval '[ "$(container_status c)" = stopped ]'
refuses "container not running" torpor checkpoint --image-path other c
torpor delete c
refuses "does not exist" torpor state c

# -- paused ----------------------------------------------------------------------------------------------------------------------
run </dev/null >run.out 2>&1
wait_until 10 test -s b/rootfs/count
pause
n=$(count)
checkpoint --leave-running
equal "$(container_status c)" paused "a paused container after a checkpoint that leaves it running"
sleep 0.3
equal "$(count)" "$n" "a paused container"
torpor resume c
goes_on
torpor pause c
checkpoint
restore </dev/null >run.out 2>&1
equal "$(container_status c)" running "one that was paused, restored"
goes_on
torpor delete --force c

# -- standard input, output and error --------------------------------------------------------------------------------------------
numbers_go_on() { # FILE…: taken together they are 1, 2, 3, …
	cmp <(cat "$@") <(seq "$(cat "$@" | wc -l)") || fail "numbers are lost or repeated in $*"
}
# Files of the host.
run </dev/null >first 2>errors
wait_until 10 eval '[ "$(wc -l <first)" -gt 5 ]'
checkpoint
restore </dev/null >second 2>errors
wait_until 10 eval '[ "$(wc -l <second)" -gt 5 ]'
torpor delete --force c
numbers_go_on first second
# The same file.
run </dev/null >one 2>&1
wait_until 10 eval '[ "$(wc -l <one)" -gt 5 ]'
checkpoint
restore </dev/null >>one 2>&1
n=$(wc -l <one)
wait_until 10 eval '[ "$(wc -l <one)" -gt $((n + 5)) ]'
torpor delete --force c
numbers_go_on one
# Pipes.
mkfifo fifo
cat fifo >first &
reader=$!
run </dev/null >fifo 2>&1
wait_until 10 eval '[ "$(wc -l <first)" -gt 5 ]'
checkpoint
wait $reader
cat fifo >second &
reader=$!
restore </dev/null >fifo 2>&1
wait_until 10 eval '[ "$(wc -l <second)" -gt 5 ]'
torpor delete --force c
wait $reader
numbers_go_on first second
# Closed descriptors, of the first caller and of the second.
run <&- >&- 2>&-
wait_until 10 test -s b/rootfs/count
checkpoint
restore <&- >&- 2>&-
goes_on
checkpoint
restore </dev/null >run.out 2>&1
goes_on
checkpoint
restore <&- >&- 2>&-
goes_on
torpor delete --force c

# -- the network and the clocks --------------------------------------------------------------------------------------------------
mkdir b/rootfs/outside
worker=$TEST_BUILD/test/fault/worker
copy_program b/rootfs "$worker"
install "$worker" b/rootfs/worker
configure b '.process.args = ["/worker", "/outside/status", "clocks"]'
run </dev/null >run.out 2>&1
wait_until 10 "$worker" b/rootfs/outside/status watch 1
# A file, which is there to be read: at the end of what the other side says, nc does not wait for its own input.
loopback() { torpor exec c sh -c 'ifconfig lo; echo "inet hello" >/tmp/said; nc -l -p 99 >/tmp/got &
	until nc -w 5 127.0.0.1 99 </tmp/said; do sleep 0.1; done 2>/dev/null; wait; cat /tmp/got'; }
loopback >before || fail "loopback: $(cat before)"
grep -q UP before && grep -q 127.0.0.1 before && grep -q hello before || fail "the loopback is not up: $(cat before)"
checkpoint
sleep 7
restore </dev/null >run.out 2>&1
"$worker" b/rootfs/outside/status watch 10 || fail "clocks"
loopback >after || fail "loopback after the restore: $(cat after)"
equal "$(grep -E 'inet|UP' after)" "$(grep -E 'inet|UP' before)" "the loopback"
checkpoint
sleep 7
restore </dev/null >run.out 2>&1
"$worker" b/rootfs/outside/status watch 10 || fail "clocks, the second time"

# -- a host with many cgroups ----------------------------------------------------------------------------------------------------
if command -v strace >/dev/null; then
	parents=()
	for parent in /sys/fs/cgroup/pids /sys/fs/cgroup/unified /sys/fs/cgroup; do
		[ -e "$parent/cgroup.procs" ] && mkdir "$parent$TEST_CGROUP-many" && parents+=("$parent$TEST_CGROUP-many")
	done
	for parent in "${parents[@]}"; do
		for i in {1..300}; do mkdir "$parent/other-$i"; done
		at_exit rmdir "$parent"
		at_exit find "$parent" -mindepth 1 -type d -delete
	done
	strace -f -o trace "$TORPOR" --root "$TEST_STATE" checkpoint --leave-running --image-path images --work-path log c || fail "checkpoint"
	grep -q "other-[0-9]" trace && fail "a checkpoint looks at cgroups that are not the container's: $(grep -m 3 "other-[0-9]" trace)"
	grep -q "${TEST_CGROUP#/}" trace || fail "the trace shows no cgroup"
fi
torpor delete --force c
