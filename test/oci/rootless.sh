#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Containers of an ordinary user: his own id alone, and ranges by newuidmap and newgidmap; create, start, run, exec, ps, kill, delete.
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_inside.sh"
require_root
require_command setpriv
user=54321
setpriv --reuid $user --regid $user --clear-groups unshare --user true 2>/dev/null || skip "users cannot make user namespaces"
make_bundle busybox "$b"
runtime=$TEST_DIR/runtime
mkdir -p "$runtime"
chown -R $user:$user "$runtime" "$b"
# torpor as that user; its state is where XDG_RUNTIME_DIR says
torpor() { setpriv --reuid $user --regid $user --clear-groups env XDG_RUNTIME_DIR="$runtime" PATH="${user_path-$PATH}" "$TORPOR" "$@"; }
at_exit setpriv --reuid $user --regid $user --clear-groups env XDG_RUNTIME_DIR="$runtime" "$TORPOR" delete --force c

create_refuses "config.json: linux.namespaces: operation not permitted for user $user without a user namespace"
# as `torpor spec --rootless` has it: no network of its own, no limits, /sys and ids of one user only
configure "$b" '.linux.namespaces += [{type: "user"}] | del(.linux.resources)
	| .linux.uidMappings = [{containerID: 0, hostID: $u, size: 1}] | .linux.gidMappings = .linux.uidMappings
	| .mounts |= map(select(.type != "cgroup")) | .mounts |= map(if .options then .options |= map(select(startswith("gid=") | not)) else . end)' --argjson u $user
equal "$(inside_sh 'id -u; id -g; tr -s " " </proc/self/uid_map; cat /proc/self/setgroups; echo $$')" $'0\n0\n 0 54321 1\ndeny\n1' "ids"
equal "$(inside_sh 'touch /tmp/mine; stat -c %u:%g /tmp/mine')" 0:0 "owner inside"
equal "$(stat -c %u:%g "$b/rootfs/tmp/mine")" $user:$user "owner outside"
equal "$(inside_sh 'echo x >/dev/null; head -c 2 /dev/urandom | wc -c; ls /dev/pts; hostname')" $'2\nptmx\ntorpor' devices
with '.process.oomScoreAdj = 500 | .process.rlimits = [{type: "RLIMIT_NOFILE", soft: 50, hard: 60}]'
equal "$(inside_sh 'cat /proc/self/oom_score_adj; ulimit -Hn')" $'500\n60' "score and limits"
undo
with '.linux.namespaces += [{type: "time"}] | .linux.timeOffsets = {boottime: {secs: 50000}}'
equal "$(inside_sh 'tr -s " " </proc/self/timens_offsets')" $'monotonic 0 0\nboottime 50000 0' "the clocks' offsets"
undo
with '.process.terminal = true | .process.args = ["tty"]'
equal "$(torpor run --bundle "$b" c </dev/null | tr -d '\r')" /dev/pts/0 "a terminal"
undo
with '.process.user.additionalGids = [5]'
create_refuses "process.user.additionalGids: set 1 groups: Operation not permitted"
undo
with '.linux.resources.memory.limit = 10000000'
create_refuses "linux.resources.memory.limit"
undo
with '.linux.uidMappings[0].hostID = 0'
user_path=/nowhere-else
create_refuses "run newuidmap, which this user's id maps need: No such file"
unset user_path
undo

# a life
configure "$b" '.process.args = ["sleep", "1000"]'
torpor create --bundle "$b" --pid-file "$runtime/pid" c </dev/null
[ -d "$runtime/torpor/c" ] || fail "the state is not below XDG_RUNTIME_DIR"
equal "$(container_status c)" created status
equal "$(cat "$runtime/pid")" "$(container_pid c)" "the pid file"
torpor start c
wait_until 10 grep -q . "/proc/$(container_pid c)/cmdline"
equal "$(torpor exec c sh -c 'id -u; tr "\0" " " </proc/1/cmdline; echo $(($$ > 1)); readlink /proc/self/ns/user')" \
	"0"$'\n'"sleep 1000 1"$'\n'"$(readlink "/proc/$(container_pid c)/ns/user")" exec
equal "$(torpor exec -t c tty </dev/null | tr -d '\r')" /dev/pts/0 "exec on a terminal"
jq '.process | .oomScoreAdj = 300 | .args = ["cat", "/proc/self/oom_score_adj"]' "$b/config.json" >"$runtime/process.json"
equal "$(torpor exec --process "$runtime/process.json" c)" 300 "score of a process"
torpor exec --detach c sleep 900 </dev/null >/dev/null 2>&1
equal "$(torpor ps --format json c | jq length)" 2 "number of processes"
shows "^c .*running" torpor list
refuses "it has no cgroup of its own" torpor pause c
torpor kill c KILL
wait_until 5 eval '[ "$(container_status c)" = stopped ]'
torpor delete c
refuses "does not exist" torpor state c

# root of a user namespace that somebody made before (as engines for users do), with a bind mount from there
for mounts in '' --mount; do
	mkdir -p "$b/shared"
	echo text >"$b/shared/file"
	with '.linux.uidMappings[0].hostID = 0 | .linux.gidMappings[0].hostID = 0
		| .mounts += [{destination: "/shared", type: "bind", source: $s, options: ["bind", "ro"]}]' --arg s "$b/shared"
	# shellcheck disable=SC2016,SC2086
	equal "$(setpriv --reuid $user --regid $user --clear-groups unshare --user --map-root-user $mounts bash -c '
		"$0" "$@" run --detach --bundle '"$b"' c </dev/null >/dev/null 2>&1
		"$0" "$@" exec c sh -c "id -u; cat /shared/file; touch /shared/x 2>/dev/null || echo refused"
		"$0" "$@" exec -t c tty </dev/null | tr -d "\r"
		"$0" "$@" delete --force c' "$TORPOR" --root "$runtime/nested")" $'0\ntext\nrefused\n/dev/pts/0' "in a user's namespace"
	undo
done

# ranges
[ -u "$(command -v newuidmap)" ] || { echo "(newuidmap is not installed: ranges are not tried)"; exit 0; }
{ cat /etc/passwd; echo "torpor-test:x:$user:$user::/:/bin/false"; } >"$TEST_DIR/passwd"
echo "torpor-test:700000:1000" >"$TEST_DIR/sub"
for f in passwd:passwd sub:subuid sub:subgid; do
	[ -e "/etc/${f#*:}" ] || skip "no /etc/${f#*:}"
	mount --bind "$TEST_DIR/${f%:*}" "/etc/${f#*:}"
	at_exit umount "/etc/${f#*:}"
done
configure "$b" '.linux.uidMappings += [{containerID: 1, hostID: 700000, size: 1000}] | .linux.gidMappings = .linux.uidMappings
	| .process.user = {uid: 33, gid: 33, additionalGids: [7]} | .process.cwd = "/tmp"'
equal "$(inside_sh 'id -u; id -G; tr -s " " </proc/self/uid_map; touch /tmp/range; stat -c %u /tmp/range')" $'33\n33 7\n 0 54321 1\n 1 700000 1000\n33' ids
equal "$(stat -c %u "$b/rootfs/tmp/range")" 700032 "owner outside"
configure "$b" '.linux.uidMappings[1].hostID = 800000'
create_refuses "newuidmap refused the id maps of linux.uidMappings"
