#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A current crun, which uses libcriu, with torpor-cr as its criu: checkpoint, rounds and restore of a container.
#
# On cgroup v1 crun's restore ends every process of a root group that it sees, and crun refuses a tree that shows cgroup2 beside v1. So all of it runs
# in a further pid namespace, in groups of its own, without /sys/fs/cgroup/unified. Its state is in /run/crun (a new /run): with --root it names the
# directory that it masks others with differently at dump and at restore.
# timeout: 120
. "${0%/*}/../lib.sh"

require_root
require_command jq unshare
peers=$(realpath "${0%/*}/..")/peers
"$peers" has crun >/dev/null 2>&1 || skip "there is no crun: test/peers fetch"
if [ "${1-}" != inside ]; then
	hidden='mount -t tmpfs none /run;'
	mountpoint -q /sys/fs/cgroup/unified && hidden+='umount /sys/fs/cgroup/unified;'
	status=0
	unshare --pid --fork --mount --mount-proc --kill-child sh -c "$hidden"' exec "$@"' sh setsid -w "$0" inside || status=$?
	unseen=/sys/fs/cgroup/unified/${TEST_CGROUP#/}   # a restore puts tasks there as well; crun cannot take it away
	[ ! -d "$unseen" ] || rmdir "$unseen"/bundle "$unseen"
	exit $status
fi

for procs in /sys/fs/cgroup/*/cgroup.procs; do   # cgroup v1: out of the root groups
	group=${procs%/*}/${TEST_CGROUP#/}
	case $procs in */unified/* | */cpuset/*) continue ;; esac
	mkdir -p "$group/test" && echo $$ >"$group/test/cgroup.procs"
done
leave() {
	local group
	for procs in /sys/fs/cgroup/*/cgroup.procs; do
		group=${procs%/*}/${TEST_CGROUP#/}
		[ -d "$group/test" ] || continue
		echo $$ >"$procs"
		for _ in {1..300}; do   # a keeper of rounds may be about to end
			rmdir "$group/test" 2>/dev/null && break
			sleep 0.1
		done
		rmdir "$group"
	done
}
at_exit leave
crun=$("$peers" bin)/crun
new_tmpdir work
mkdir -p "$work/torpor"
ln -s "$(realpath "$TORPOR_CR")" "$work/torpor/criu"
export PATH=$work/torpor:$PATH
make_bundle busybox "$work/bundle" sh -c 'trap : TERM; echo kept >/dev/shm/kept; i=0; while sleep 0.1; do i=$((i + 1)); echo $i >/tmp/new; mv /tmp/new /tmp/count; done'
configure "$work/bundle" '.mounts += [{destination: "/tmp", type: "tmpfs", source: "tmpfs", options: ["nosuid", "size=1m"]}]'

crun() { setsid -w "$crun" "$@"; }
count() { crun exec c1 cat /tmp/count; }
later() { [ "$(count)" -gt "$1" ]; }
start() {
	rm -rf "$work"/images* "$work/log"
	mkdir "$work/log"
	crun run --detach --bundle "$work/bundle" c1 </dev/null >/dev/null 2>&1 || fail "crun run"
	wait_until 30 count
	n=$(count)
}
checkpoint() {
	crun checkpoint --work-path "$work/log" "$@" c1 2>"$work/out" || fail "checkpoint: $(cat "$work/out") $(tail -n 5 "$work/log/dump.log")"
}
restore() {
	crun restore --detach --bundle "$work/bundle" --image-path "$1" --work-path "$work/log" c1 </dev/null >"$work/out" 2>&1 ||
		fail "restore: $(cat "$work/out") $(tail -n 5 "$work/log/restore.log")"
	wait_until 30 later "$n"
	equal "$(crun exec c1 cat /dev/shm/kept)" kept "the file in /dev/shm"
}

at_exit "$crun" delete --force c1
start
checkpoint --image-path "$work/images"
restore "$work/images"
crun delete --force c1
start
checkpoint --pre-dump --image-path "$work/images1"
checkpoint --image-path "$work/images2" --parent-path ../images1
[ -L "$work/images2/parent" ] || fail "the last round has no parent"
restore "$work/images2"
crun delete --force c1
