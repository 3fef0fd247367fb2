#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# delete --force of containers whose state, or configuration beside it, is damaged: what runs is ended, what is another's is not.
. "${0%/*}/../lib.sh"
require_root
make_bundle busybox "$TEST_DIR/b" sh -c "sleep 999 & exec sleep 1000"
configure "$TEST_DIR/b" '.linux.cgroupsPath = $c' --arg c "$TEST_CGROUP/b"
state=$TEST_STATE/c/state.json

begin() {
	torpor run --detach --bundle "$TEST_DIR/b" c </dev/null >"$TEST_DIR/out" 2>&1
	wait_until 5 eval '[ $(torpor ps --format json c | jq length) = 2 ]'
	pids=$(torpor ps --format json c | jq -r '.[]')
	init=$(container_pid c)
}
groups_left() { find_groups -maxdepth 4 -type d -path "*$TEST_CGROUP/b"; }
has_ended() { [ ! -e "/proc/$1" ] || grep -q '^State:.[ZX]' "/proc/$1/status"; }
cut_off() { head -c "$1" "$state" >"$TEST_DIR/cut" && cp "$TEST_DIR/cut" "$state"; }
# ends TEXT: delete --force says so, and all is gone
ends() {
	local out pid
	refuses "delete --force c" torpor state c
	out=$(torpor delete --force c 2>&1)
	[[ $out == *"$1"* ]] || fail "no \"$1\" in: $out"
	[ ! -e "$TEST_STATE/c" ] || fail "the state directory stays"
	for pid in $pids; do wait_until 5 has_ended $pid; done
}

# the configuration names the groups; what is left of the state does not matter
configure "$TEST_DIR/b" '.hooks.poststop = [{path: "/bin/sh", args: ["sh", "-c", "cat >$0", $f]}]' --arg f "$TEST_DIR/poststop"
for size in 0 7 120; do
	begin
	cut_off $size
	ends "known by its cgroup"
	equal "$(groups_left)" "" "cgroups left"
done
equal "$(jq -r .id "$TEST_DIR/poststop")" c "what the poststop hook has got"
configure "$TEST_DIR/b" 'del(.hooks)'

# also without a pid namespace of its own, whose processes do not go with init
configure "$TEST_DIR/b" '.linux.namespaces |= map(select(.type != "pid"))'
begin
echo '{"id": "other", "pid": 1, "pidStart": 1}' >"$state"
ends "known by its cgroup"
equal "$(groups_left)" "" "cgroups left"
configure "$TEST_DIR/b" '.linux.namespaces += [{type: "pid"}]'

# without the configuration: init, as far as it is named
begin
cut_off 120
echo '{' >"$TEST_STATE/c/config.json"
ends "its first process ($init) is ended"
for group in $(groups_left); do wait_until 5 rmdir "$group"; done

# of a container that has ended nothing lives: who is in groups of that name is another's
begin
torpor kill c KILL
wait_until 5 eval '[ "$(container_status c)" = stopped ]'
sleep 1000 &
for group in $(groups_left); do echo $! >"$group/cgroup.procs"; done
cut_off 120
ends "known by its cgroup"
kill -0 $! || fail "another's process was killed"
kill $! && wait $! || :
for group in $(groups_left); do wait_until 5 rmdir "$group"; done

# nothing can be read: it says where to look
begin
: >"$state"
: >"$TEST_STATE/c/config.json"
out=$(torpor delete --force c 2>&1)
[[ $out == *"find /sys/fs/cgroup -name '*c*'"* ]] || fail "$out"
kill -KILL $pids || :
for group in $(groups_left); do wait_until 5 rmdir "$group"; done
