#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# As on a kernel without mount_setattr() (before Linux 5.12): mount(2) does what it can, the rest is refused by name.
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_inside.sh"
require_root
setattr=442
torpor() { "$TEST_BUILD/test/oci/without" $setattr "$TORPOR" --root "$TEST_STATE" "$@"; }
make_bundle busybox "$b"
delete_at_exit c
options() { inside awk -v p="$1" '$5 == p { print $6 }' /proc/self/mountinfo; }
mkdir "$TEST_DIR/source" "$TEST_DIR/source/sub"
echo text >"$TEST_DIR/source/file"
mount -t tmpfs -o noatime,nodev below "$TEST_DIR/source/sub"
at_exit umount "$TEST_DIR/source/sub"

with '.mounts += [
	{destination: "/dir", source: $s, options: ["rbind", "ro", "nosuid"]},
	{destination: "/file", source: ($s + "/file"), options: ["bind", "ro", "noexec", "slave"]},
	{destination: "/kept", source: ($s + "/sub"), options: ["bind", "nosuid"]},
	{destination: "/other", source: ($s + "/sub"), options: ["bind", "strictatime", "dev"]},
	{destination: "/t", type: "tmpfs", source: "t", options: ["ro", "noatime"]}, {destination: "/t/u", type: "tmpfs", source: "t"},
	{destination: "/t/u", options: ["bind", "remount", "noexec"]}]
	| .root.readonly = true | .linux.maskedPaths = ["/proc/keys", "/proc/tty"] | .linux.readonlyPaths = ["/proc/sys", "/proc/version"]' --arg s "$TEST_DIR/source"
inside cat /proc/self/mountinfo >"$TEST_DIR/mountinfo"
options() { awk -v p="$1" '$5 == p { print $6 }' "$TEST_DIR/mountinfo"; }
[[ $(options /) == ro,* ]] || fail "the root: $(options /)"
[[ $(options /dir) == ro,nosuid,* && $(options /dir/sub) == rw,* ]] || fail "a bind mount: $(options /dir), $(options /dir/sub)"
[[ $(options /file) == ro,noexec,* ]] || fail "a file: $(options /file)"
equal "$(options /kept)" rw,nosuid,nodev,noatime "what a bind mount had and got"
equal "$(options /other)" rw "what a bind mount lost"
equal "$(options /t),$(options /t/u)" ro,noatime,rw,noexec,relatime "tmpfs"
[[ $(options /proc/sys) == ro,* && $(options /proc/version) == ro,* ]] || fail "read-only paths: $(options /proc/sys), $(options /proc/version)"
[[ $(options /proc/tty) == ro,* ]] || fail "a masked directory"
equal "$(inside_sh 'wc -c </proc/keys; cat /dir/file /file; cat /proc/self/cgroup >/dev/null && ls /sys/fs/cgroup | wc -l | grep -c ^0')" $'0\ntext\ntext\n0' "what is there"
undo
for p in private slave shared unbindable; do
	with '.linux.rootfsPropagation = $p' --arg p $p
	field=$(inside awk '$5 == "/" { print $7 }' /proc/self/mountinfo)
	case $p in shared) want=shared:* ;; unbindable) want=unbindable ;; *) want=- ;; esac
	# shellcheck disable=SC2053
	[[ $field == $want ]] || fail "rootfsPropagation $p: \"$field\""
	undo
done

# in a user namespace: trees that the runtime opened, whose locked attributes stay
chmod 755 "$TEST_DIR" "$TEST_DIR/source"
with '.linux.namespaces += [{type: "user"}] | .linux.uidMappings = [{containerID: 0, hostID: 100000, size: 1000}] | .linux.gidMappings = .linux.uidMappings
	| .mounts += [{destination: "/dir", source: $s, options: ["rbind", "ro"]}, {destination: "/kept", source: ($s + "/sub"), options: ["bind", "nosuid"]}]' --arg s "$TEST_DIR/source"
equal "$(inside cat /dir/file)" text "a source in a user namespace"
inside cat /proc/self/mountinfo >"$TEST_DIR/mountinfo"
[[ $(options /dir) == ro,* ]] || fail "options in a user namespace: $(options /dir)"
equal "$(options /kept)" rw,nosuid,nodev,noatime "locked attributes"
equal "$(awk '$5 == "/dir" { print $7 }' "$TEST_DIR/mountinfo")" - "propagation of a prepared mount"
undo

mounts=$(wc -l </proc/self/mountinfo)
configure "$b" '.process.args = ["true"]'
torpor run --no-pivot --bundle "$b" c </dev/null
equal "$(wc -l </proc/self/mountinfo)" "$mounts" "number of the host's mounts"
configure "$b" '.process.args = ["sleep", "1000"]'
torpor run --detach --bundle "$b" c </dev/null
equal "$(torpor exec c echo exec)" exec
torpor delete --force c

# refused
with '.mounts += [{destination: "/dir", source: $s, options: ["rbind", "rro"]}]' --arg s "$TEST_DIR/source"
create_refuses "mount /dir: options for all mounts below it need Linux 5.12"
undo
with '.mounts += [{destination: "/dir", source: $s, options: ["bind", "idmap"], uidMappings: $m, gidMappings: $m}]' --arg s "$TEST_DIR/source" \
	--argjson m '[{"containerID": 0, "hostID": 1000, "size": 10}]'
create_refuses "mount /dir: to map ids needs Linux 5.12"
undo
setattr=428   # open_tree()
create_refuses "containers need Linux 5.10 or newer"
