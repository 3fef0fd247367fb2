#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# create, start and delete killed after each of their system calls, and create at random moments: whatever is there can be deleted, and
# then nothing is left. KILLED_STEP=1 does each call, otherwise one in so many, another one each time.
# timeout: 280
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_inside.sh"
require_root
make_bundle busybox "$b" sleep 1000
step=${KILLED_STEP-7} rounds=${KILLED_ROUNDS-40} offset=$((RANDOM % 7 + 1))
killer=$TEST_BUILD/test/oci/killer
export ASAN_OPTIONS=detect_leaks=0   # it does not work in a traced program
# What makes create do more: hooks, a seccomp profile, a pid file.
configure "$b" '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", syscalls: [{names: ["swapoff"], action: "SCMP_ACT_ERRNO"}]}
	| .hooks = {createRuntime: [{path: "/bin/true"}], createContainer: [{path: "/bin/true"}], poststop: [{path: "/bin/true"}]}'

inside_group() { find_groups -maxdepth 3 -path "*$TEST_CGROUP/b/cgroup.procs" -exec cat {} + | sort -u | tr '\n' ' '; }
# Deletes and looks for what is left.
cleaned() {
	torpor delete --force c
	[ ! -e "$TEST_STATE/c" ] || fail "$1: the state is left"
	if [ -n "$(find_groups -maxdepth 3 -path "*$TEST_CGROUP/b")" ]; then fail "$1: cgroups are left, with processes $(inside_group)"; fi
}
# each NAME PREPARATION COMMAND…: kills the command after its Nth call until it ends by itself
each() {
	local name=$1 prepare=$2 n=$offset status=137 killed=0
	shift 2
	while :; do
		$prepare
		status=0
		"$killer" $n "$TORPOR" --root "$TEST_STATE" "$@" </dev/null >"$TEST_DIR/out" 2>&1 || status=$?
		cleaned "$name killed after call $n"
		[ $status = 137 ] || break
		n=$((n + step)) killed=$((killed + 1))
	done
	equal $status 0 "status of $name: $(cat "$TEST_DIR/out")"
	[ $killed -gt 5 ] || fail "$name was killed $killed times only"
	echo "$name: $killed times, up to call $n"
}
created() { torpor create --bundle "$b" c </dev/null; }
running() { torpor run --detach --bundle "$b" c </dev/null; }
each create true create --pid-file "$TEST_DIR/pid" --bundle "$b" c
each start created start c
each "delete of a created one" created delete --force c
each "delete of a running one" running delete --force c

half_made=0
for ((i = 0; i < rounds; i++)); do
	"$TORPOR" --root "$TEST_STATE" create --bundle "$b" c </dev/null >/dev/null 2>&1 &
	pid=$!
	sleep "$(printf '0.%04d' $((RANDOM % 120)))"
	kill -KILL $pid 2>/dev/null || :
	wait $pid 2>/dev/null || :
	[ -e "$TEST_STATE/c" ] || continue
	half_made=$((half_made + 1))
	cleaned "round $i"
done
echo "$half_made of $rounds killed at random had something to delete"
