#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Control groups that the engine saves and makes again: where each task was, settings, a group below, another root, each --manage-cgroups mode;
# what a restore that fails leaves.
. "${0%/*}/../lib.sh"
require_root
below_reaper
[ -w /sys/fs/cgroup/pids/cgroup.procs ] && [ -w /sys/fs/cgroup/cpu/cgroup.procs ] || skip "no cgroup v1 hierarchies here: vm/cgroup has v2"

new_tmpdir work
cd "$work"
at_exit remove_groups
hierarchies=(pids cpu unified)
remove_groups() {
	for h in /sys/fs/cgroup/*; do   # another root is made in all of them
		for top in "$TEST_CGROUP" "$TEST_CGROUP-other"; do
			wait_until 20 remove_group "$h$top"   # a task that is about to be gone is in it yet
		done
	done
}
remove_group() {
	find "$1" -depth -type d -exec rmdir {} +
	[ ! -e "$1" ]
}
make_groups() {
	for h in "${hierarchies[@]}"; do mkdir -p "/sys/fs/cgroup/$h$TEST_CGROUP/below"; done
	echo 77 >"/sys/fs/cgroup/pids$TEST_CGROUP/pids.max"
	echo 33 >"/sys/fs/cgroup/pids$TEST_CGROUP/below/pids.max"
	echo 512 >"/sys/fs/cgroup/cpu$TEST_CGROUP/cpu.shares"
	chown 1234:1235 "/sys/fs/cgroup/pids$TEST_CGROUP"
}
# A task in the groups, with a child in those below.
start() {
	rm -f child
	setsid bash -c '
		for h in "${@:2}"; do echo $$ >"/sys/fs/cgroup/$h$1/cgroup.procs"; done
		sleep 1000 &
		for h in "${@:2}"; do echo $! >"/sys/fs/cgroup/$h$1/below/cgroup.procs"; done
		echo $! >child
		wait' bash "$TEST_CGROUP" "${hierarchies[@]}" </dev/null >/dev/null 2>&1 &
	pid=$!
	at_exit kill -9 $pid
	wait_until 20 [ -s child ]
	child=$(<child)
	at_exit kill -9 "$child"
}
end() {
	kill -9 "$pid" "$child"   # the parent first: it ends by itself when its child does
	wait_until 20 eval "! kill -0 $pid 2>/dev/null && ! kill -0 $child 2>/dev/null"
}
group_of() { sed -n "s/^[0-9]*:$2://p" "/proc/$1/cgroup"; }
is_in() { # GROUP of the task: in all hierarchies, the child below
	for h in pids cpu ""; do
		equal "$(group_of "$pid" "$h")" "$1" "the task's group of hierarchy \"$h\""
		equal "$(group_of "$child" "$h")" "$1/below" "the child's group of hierarchy \"$h\""
	done
}
settings_are() { # GROUP PIDS BELOW SHARES OWNER
	equal "$(cat "/sys/fs/cgroup/pids$1/pids.max" "/sys/fs/cgroup/pids$1/below/pids.max" "/sys/fs/cgroup/cpu$1/cpu.shares" | tr '\n' ' ')" \
		"$2 $3 $4 " "settings"
	equal "$(stat -c %u:%g "/sys/fs/cgroup/pids$1")" "$5" "the owner"
}
dump() {
	"$TORPOR_CR" dump --tree "$pid" --images-dir images --manage-cgroups "$@" 2>log || fail "dump: $(cat log)"
	wait_until 20 eval "! kill -0 $pid 2>/dev/null && ! kill -0 $child 2>/dev/null"
}
restore() { "$TORPOR_CR" restore --images-dir images --restore-detached "$@" 2>log; }

mkdir images
make_groups
start
is_in "$TEST_CGROUP"
dump
remove_groups

# Made again, with owners and settings.
restore --manage-cgroups || fail "restore: $(cat log)"
is_in "$TEST_CGROUP"
settings_are "$TEST_CGROUP" 77 33 512 1234:1235
end

# soft leaves what is there as it is; full and props write; strict wants nothing to be there.
echo 99 >"/sys/fs/cgroup/pids$TEST_CGROUP/pids.max"
restore --manage-cgroups=soft || fail "restore: $(cat log)"
settings_are "$TEST_CGROUP" 99 33 512 1234:1235
end
for mode in full props; do
	echo 99 >"/sys/fs/cgroup/pids$TEST_CGROUP/pids.max"
	restore --manage-cgroups=$mode || fail "restore: $(cat log)"
	is_in "$TEST_CGROUP"
	settings_are "$TEST_CGROUP" 77 33 512 1234:1235
	end
done
restore --manage-cgroups=strict && fail "strict took groups that are there"
grep -q "is there already (--manage-cgroups=strict)" log || fail "strict: $(cat log)"
wait_until 20 eval "! kill -0 $pid 2>/dev/null && ! kill -0 $child 2>/dev/null"   # a failed restore leaves no task
remove_groups
restore --manage-cgroups=strict || fail "restore: $(cat log)"
is_in "$TEST_CGROUP"
end

# none and props make nothing, and a restore that fails leaves nothing.
remove_groups
for mode in none props; do
	restore --manage-cgroups=$mode && fail "$mode made groups"
	grep -q "is not there, and --manage-cgroups=$mode makes none" log || fail "$mode: $(cat log)"
done
mv images/core-"$child".img images/away
restore --manage-cgroups && fail "a restore without an image"
for h in "${hierarchies[@]}"; do [ -e "/sys/fs/cgroup/$h$TEST_CGROUP" ] && fail "a failed restore left group $h$TEST_CGROUP"; done
mv images/away images/core-"$child".img

# ignore: where the restorer is. Another root, for all hierarchies or for one.
restore --manage-cgroups=ignore || fail "restore: $(cat log)"
equal "$(cat /proc/"$pid"/cgroup)" "$(cat /proc/self/cgroup)" "the groups that were ignored"
end
restore --manage-cgroups --cgroup-root "$TEST_CGROUP-other" || fail "restore: $(cat log)"
is_in "$TEST_CGROUP-other"
settings_are "$TEST_CGROUP-other" 77 33 512 1234:1235
end
remove_groups
restore --manage-cgroups --cgroup-root "cpu:$TEST_CGROUP-other" || fail "restore: $(cat log)"
equal "$(group_of "$pid" cpu) $(group_of "$pid" pids)" "$TEST_CGROUP-other $TEST_CGROUP" "one hierarchy with another root"
end
remove_groups

# Only the controllers and settings that were asked for.
make_groups
start
dump --cgroup-dump-controller pids --cgroup-props '"pids":
  - "strategy": "replace"
  - "properties": []'
remove_groups
restore --manage-cgroups || fail "restore: $(cat log)"
is_in "$TEST_CGROUP"
settings_are "$TEST_CGROUP" max max 1024 1234:1235
end

# The same from a file; the hierarchies as they are mounted in a directory, of which one that is needed may not be missing.
remove_groups
make_groups
start
printf '"pids":\n  - "strategy": "replace"\n  - "properties": ["pids.max"]\n' >props
status=0
"$TORPOR_CR" dump --tree "$pid" --images-dir images --manage-cgroups --cgroup-props-file nowhere 2>log || status=$?
[ $status != 0 ] && grep -q -- '--cgroup-props-file: read nowhere' log || fail "a file that is not there: $(cat log)"
mkdir yard
ln -s /sys/fs/cgroup/pids yard/pids
status=0
"$TORPOR_CR" dump --tree "$pid" --images-dir images --manage-cgroups --cgroup-yard "$work/yard" 2>log || status=$?
[ $status != 0 ] && grep -q -- "--cgroup-yard: open $work/yard/" log || fail "a yard without a hierarchy: $(cat log)"
rm -r yard
dump --cgroup-props-file "$work/props" --cgroup-yard /sys/fs/cgroup
remove_groups
restore --manage-cgroups --cgroup-yard /sys/fs/cgroup || fail "restore: $(cat log)"
is_in "$TEST_CGROUP"
settings_are "$TEST_CGROUP" 77 33 512 1234:1235
end
