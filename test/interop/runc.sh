#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# runc, Debian's and a current one, with torpor-cr as its criu: checkpoint, rounds, lazy migration and restore of a container; its mounts and
# groups are there again, and nothing of the host is. With the current one also images of criu restored by torpor-cr and the reverse.
# timeout: 200
. "${0%/*}/../lib.sh"

require_root
require_command jq
peers=$(realpath "${0%/*}/..")/peers
pty=$TEST_BUILD/test/oci/pty
new_tmpdir work
mkdir -p "$work"/{torpor,outside,state}
ln -s "$(realpath "$TORPOR_CR")" "$work/torpor/criu"
echo outside >"$work/outside/file"
# 4 MB of its memory are random; it says their sum in the beginning, and again when it is asked.
make_bundle busybox "$work/bundle" sh -c 'trap : TERM; echo kept >/dev/shm/kept; data=$(head -c 3000000 /dev/urandom | base64); echo "$data" | md5sum >/tmp/first
	i=0; while sleep 0.1; do i=$((i + 1)); echo $i >/tmp/new; mv /tmp/new /tmp/count
	[ -e /tmp/ask ] && rm /tmp/ask && echo "$data" | md5sum >/tmp/new && mv /tmp/new /tmp/sum; done'
configure "$work/bundle" '.mounts += [
	{destination: "/tmp", type: "tmpfs", source: "tmpfs", options: ["nosuid", "noatime", "size=1m"]},
	{destination: "/mnt", type: "bind", source: $outside, options: ["rbind", "ro"]}]
	| .linux.resources.pids.limit = 77' --arg outside "$work/outside"
mkdir "$work/other"   # of another host: the same files, other groups
jq --arg rootfs "$work/bundle/rootfs" '.linux.cgroupsPath += "-other" | .root.path = $rootfs' "$work/bundle/config.json" >"$work/other/config.json"

mkdir "$work/tty"
jq --arg rootfs "$work/bundle/rootfs" --arg s 'stty -echo; echo ready; while :; do read x && echo "got $x"; done' '.root.path = $rootfs | .process.terminal = true
	| .process.args = ["sh", "-c", $s]' "$work/bundle/config.json" >"$work/tty/config.json"

runc() { "$program" --root "$work/state" "$@"; }
count() { runc exec "${1-c1}" cat /tmp/count; }
later() { [ "$(count "${2-c1}")" -gt "$1" ]; }
# Mounts without what differs from one restore to the next by runc's own doing: where the groups' mounts begin, and whose /dev/null masks.
mounts() {
	runc exec c1 cat /proc/self/mountinfo | cut -d' ' -f4- |
		sed -E 's#^/null ([^ ]*) .*#/null \1#' | sort
}
with() { # FOLDER-OF-CRIU COMMAND…
	local path=$1
	shift
	PATH=$path:$PATH "$@"
}
start() {
	rm -rf "$work"/images* "$work/log"
	mkdir "$work/log"
	runc run --detach --bundle "$work/bundle" c1 </dev/null >/dev/null 2>&1
	wait_until 30 count
	mounts >"$work/before"
	n=$(count)
}
checkpoint() { # CRIU OPTION…
	local path=$1
	shift
	with "$path" runc checkpoint --work-path "$work/log" "$@" c1 || fail "checkpoint: $(tail -n 5 "$work/log/dump.log")"
}
restore() { # CRIU IMAGES OPTION…
	local path=$1 images=$2
	shift 2
	with "$path" runc restore --detach --bundle "$work/bundle" --image-path "$images" --work-path "$work/log" "$@" c1 </dev/null >"$work/out" 2>&1 ||
		fail "restore: $(cat "$work/out") $(tail -n 5 "$work/log/restore.log")"
	wait_until 30 later "$n"
}
compare() {
	diff "$work/before" <(mounts) || fail "other mounts than before"
	equal "$(runc exec c1 cat /dev/shm/kept)" kept "the file in /dev/shm"
	equal "$(runc exec c1 cat /mnt/file)" outside "the file outside"
	runc exec c1 sh -c 'echo x >/mnt/file' 2>/dev/null && fail "/mnt is no longer read-only"
	equal "$(runc events --stats c1 | jq .data.pids.limit)" 77 "the limit of processes"
}
cycle() { # CRIU-OF-DUMP CRIU-OF-RESTORE
	start
	checkpoint "$1" --image-path "$work/images"
	restore "$2" "$work/images"
	compare
	runc delete --force c1
}
rounds() {
	start
	checkpoint "$work/torpor" --pre-dump --image-path "$work/images1"
	checkpoint "$work/torpor" --pre-dump --image-path "$work/images2" --parent-path ../images1
	checkpoint "$work/torpor" --image-path "$work/images3" --parent-path ../images2
	[ -L "$work/images3/parent" ] || fail "the last round has no parent"
	restore "$work/torpor" "$work/images3"
	data_is_kept c1
	runc delete --force c1
}
data_is_kept() { # CONTAINER
	runc exec "$1" touch /tmp/ask
	wait_until 20 runc exec "$1" test -s /tmp/sum
	equal "$(runc exec "$1" cat /tmp/sum)" "$(runc exec "$1" cat /tmp/first)" "the sum of what was in memory"
}
# From the source's memory: it ends when the target has all of it.
lazy() {
	local port pager dump
	start
	port=$(free_port)
	mkfifo "$work/ready"
	with "$work/torpor" runc checkpoint --lazy-pages --page-server "127.0.0.1:$port" --status-fd 9 --work-path "$work/log" \
		--image-path "$work/images" c1 9>"$work/ready" &
	dump=$!
	timeout $((60 * ${TEST_PATIENCE:-1})) head -c 1 "$work/ready" >"$work/got" || :
	[ -s "$work/got" ] || fail "the dump is never ready: $(tail -n 5 "$work/log/dump.log")"
	rm "$work/ready"
	"$work/torpor/criu" lazy-pages --images-dir "$work/images" --work-dir "$work/log" --page-server --address 127.0.0.1 --port "$port" -o lazy.log &
	pager=$!
	wait_until 20 listens_at "$work/log/lazy-pages.socket"
	with "$work/torpor" runc restore --detach --bundle "$work/other" --image-path "$work/images" --work-path "$work/log" --lazy-pages c2 \
		</dev/null >"$work/out" 2>&1 || fail "restore: $(cat "$work/out") $(tail -n 5 "$work/log/restore.log")"
	wait "$pager" || fail "the pager: $(cat "$work/log/lazy.log")"
	wait "$dump" || fail "the lazy dump: $(tail -n 5 "$work/log/dump.log")"
	[ "$(cat "$work"/images/pages-*.img | wc -c)" -lt 3000000 ] || fail "the images have the memory that was to be fetched"
	wait_until 30 later "$n" c2
	data_is_kept c2
	runc delete --force c1
	runc delete --force c2
}
# Its terminal's new master comes over the RPC and goes to runc's console socket.
terminal() { # CRIU-OF-DUMP CRIU-OF-RESTORE
	local receiver
	"$pty" receive "$work/sock" expect ready >"$work/tty0" &
	receiver=$!
	wait_until 20 listens_at "$work/sock"
	rm -rf "$work/images" "$work/log"
	mkdir "$work/log"
	runc run --detach --bundle "$work/tty" --console-socket "$work/sock" c1 </dev/null
	wait_until 30 grep -q ready "$work/tty0"
	checkpoint "$1" --image-path "$work/images"
	wait "$receiver"
	rm -f "$work/sock"
	"$pty" receive "$work/sock" send $'one\r' expect "got one" >"$work/tty1" &
	receiver=$!
	wait_until 20 listens_at "$work/sock"
	with "$2" runc restore --detach --bundle "$work/tty" --image-path "$work/images" --work-path "$work/log" \
		--console-socket "$work/sock" c1 </dev/null >"$work/out" 2>&1 || fail "restore: $(cat "$work/out") $(tail -n 5 "$work/log/restore.log")"
	wait_until 30 grep -q "got one" "$work/tty1"
	equal "$(runc exec c1 sh -c '[ /dev/console -ef /dev/pts/0 ] && echo same')" same "the console"
	runc delete --force c1
	wait "$receiver" || fail "the restored terminal"
	rm -f "$work/sock"
}
with_runc() { # PROGRAM
	program=$1
	at_exit "$program" --root "$work/state" delete --force c1
	at_exit "$program" --root "$work/state" delete --force c2
	cycle "$work/torpor" "$work/torpor"
	rounds
	lazy
	terminal "$work/torpor" "$work/torpor"
}

at_exit rm -rf "$work/state"
done=
if debian=$(type -P runc); then
	with_runc "$debian"
	done=1
fi
if "$peers" has runc >/dev/null 2>&1; then
	bin=$("$peers" bin)
	with_runc "$bin/runc"
	if "$peers" has criu; then
		cycle "$bin" "$work/torpor"
		cycle "$work/torpor" "$bin"
		terminal "$bin" "$work/torpor"
		terminal "$work/torpor" "$bin"
	fi
	done=1
fi
[ "$done" ] || skip "there is no runc"
