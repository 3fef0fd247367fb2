#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The root filesystem: mounts with their options, devices, masks, read-only, and links in the image that lead out of it.
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_inside.sh"
require_root
make_bundle busybox "$b"
delete_at_exit c
# options PATH: of the mount there, as the container sees it
options() { inside awk -v p="$1" '$5 == p { print $6 }' /proc/self/mountinfo; }
add_mount() { with ".mounts += [$1]"; }

equal "$(inside_sh 'ls -A / | grep -c oldroot')" 0 "trace of the old root"
equal "$(inside awk '{ print $5 }' /proc/self/mountinfo | head -1)" / "the first mount"
for d in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
	IFS=: read -r name major minor <<<"$d"
	equal "$(inside stat -c '%t:%T:%a' "/dev/$name")" "$(printf '%x:%x:666' "$major" "$minor")" "/dev/$name"
done
equal "$(inside_sh 'for l in fd stdin ptmx; do readlink /dev/$l; done; echo x >/dev/null; head -c 3 /dev/zero | wc -c')" $'/proc/self/fd\n/proc/self/fd/0\npts/ptmx\n3' "/dev"
with '.linux.devices = [{type: "c", path: "/dev/sub/mine", major: 1, minor: 5, fileMode: 384, uid: 33, gid: 34}, {type: "p", path: "/dev/fifo"}]
	| .linux.resources.devices = []'
equal "$(inside stat -c '%t:%T:%a:%u:%g %F' /dev/sub/mine /dev/fifo)" $'1:5:600:33:34 character special file\n0:0:666:0:0 fifo' devices
undo
with '.mounts |= map(select(.destination | startswith("/dev") | not))'
mknod "$b/rootfs/dev/null" c 1 5
create_refuses "device /dev/null: the container's root has something else at this path"
rm "$b/rootfs/dev/null"
undo

# options
mkdir "$TEST_DIR/source" "$TEST_DIR/source/sub"
echo text >"$TEST_DIR/source/file"
add_mount '{destination: "/t", type: "tmpfs", source: "tmpfs", options: ["nosuid", "nodev", "noexec", "noatime", "size=64k", "mode=700"]}'
equal "$(options /t)" rw,nosuid,nodev,noexec,noatime options
equal "$(inside_sh 'stat -c %a /t; df -k /t | awk "END { print \$2 }"')" $'700\n64' "the tmpfs"
undo
add_mount "{destination: \"/s\", source: \"$TEST_DIR/source\", options: [\"bind\", \"ro\", \"nosuid\"]}"
[[ $(options /s) == ro,nosuid* ]] || fail "options of a bind mount: $(options /s)"
[[ $(inside_sh 'cat /s/file; touch /s/x') == $'text\n'*"Read-only"* ]] || fail "a read-only bind mount"
undo
add_mount "{destination: \"/made/file\", type: \"bind\", source: \"$TEST_DIR/source/file\", options: [\"rbind\", \"rprivate\"]}"
equal "$(inside cat /made/file)" text "a file"
undo
mount -t tmpfs below "$TEST_DIR/source/sub"
add_mount "{destination: \"/s\", type: \"bind\", source: \"$TEST_DIR/source\", options: [\"rbind\", \"rro\"]}"
[[ $(options /s/sub) == ro* ]] || fail "rro: $(options /s/sub)"
configure "$b" '.mounts[-1].options = ["rbind", "ro"]'
[[ $(options /s/sub) == rw* ]] || fail "ro: $(options /s/sub)"
configure "$b" '.mounts[-1].options = ["bind"]'
equal "$(options /s/sub)" "" "bind is not recursive"
undo
umount "$TEST_DIR/source/sub"
cp -r "$TEST_DIR/source" "$b/relative"
add_mount '{destination: "/s", type: "bind", source: "relative"}'
equal "$(inside cat /s/file)" text "a source relative to the bundle"
undo
add_mount '{destination: "/t", type: "tmpfs", source: "tmpfs", options: ["ro"]}, {destination: "/t/u", type: "tmpfs", source: "tmpfs"}'
equal "$(options /t),$(options /t/u)" "ro,relatime,rw,relatime" "a read-only tmpfs with a mount in it"
undo
with '.root.readonly = true'
[[ $(inside touch /x) == *"Read-only"* ]] || fail "a read-only root"
equal "$(inside_sh 'touch /dev/x && echo fine')" fine "mounts in a read-only root"
undo
for p in private slave shared unbindable; do
	with '.linux.rootfsPropagation = $p' --arg p $p
	field=$(inside awk '$5 == "/" { print $7 }' /proc/self/mountinfo)
	case $p in private) want=- ;; slave) want=- ;; shared) want=shared:* ;; unbindable) want=unbindable ;; esac
	# shellcheck disable=SC2053
	[[ $field == $want ]] || fail "rootfsPropagation $p: \"$field\""
	undo
done
mounts=$(wc -l </proc/self/mountinfo)
configure "$b" '.process.args = ["true"]'
torpor run --no-pivot --bundle "$b" c </dev/null
equal "$(wc -l </proc/self/mountinfo)" "$mounts" "number of the host's mounts"

# every option of the specification that goes with a new filesystem, each on a tmpfs of its own: mount options and those of the filesystem
new=$("$TORPOR" features | jq '[.mountOptions[] | select(IN("bind", "rbind", "remount", "idmap", "ridmap") | not)]')
spec='async atime defaults dev diratime dirsync exec iversion lazytime loud mand noatime nodev nodiratime noexec noiversion nolazytime nomand
	norelatime nostrictatime nosuid nosymfollow private ratime rdev rdiratime relatime rexec rnoatime rnodev rnodiratime rnoexec rnorelatime
	rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared silent
	slave strictatime suid symfollow sync tmpcopyup unbindable'
equal "$(jq -r '.[]' <<<"$new" | sort | tr '\n' ' ')" "$(tr -s ' \t' '\n' <<<"$spec" | LC_ALL=C sort | tr '\n' ' ')" "mountOptions"
mkdir "$b/rootfs/o"
with '.mounts += [$new[] | {destination: "/o/\(.)", type: "tmpfs", source: "t", options: [.]}]' --argjson new "$new"
inside cat /proc/self/mountinfo >"$TEST_DIR/mountinfo"
undo
# shown OPTION FIELD
shown() { awk -v p="/o/$1" -v f="$2" '$5 == p { if (f == "super") print $NF; else if (f == "optional") print $7; else print $6 }' "$TEST_DIR/mountinfo"; }
for o in $spec; do
	want=rw,relatime
	case $o in
	ro | rro) want=ro,relatime ;;
	nosuid | rnosuid | nodev | rnodev | noexec | rnoexec) want=rw,${o#r},relatime ;;
	noatime | rnoatime) want=rw,noatime ;;
	strictatime | rstrictatime) want=rw ;;
	nodiratime | rnodiratime) want=rw,nodiratime,relatime ;;
	nosymfollow | rnosymfollow) want=rw,relatime,nosymfollow ;;
	esac
	equal "$(shown $o mount)" $want "the mount with $o"
done
[[ $(shown sync super) == rw,sync* && $(shown dirsync super) == rw,dirsync* && $(shown lazytime super) == rw,lazytime* ]] || fail "sync, dirsync, lazytime"
[[ $(shown shared optional) == shared:* && $(shown rshared optional) == shared:* && $(shown unbindable optional) == unbindable ]] || fail propagation

# a remount changes what is there: attributes, and the filesystem itself
add_mount '{destination: "/t", type: "tmpfs", source: "t", options: ["size=64k", "nosuid"]},
	{destination: "/t", type: "tmpfs", source: "t", options: ["remount", "noexec", "size=128k", "private"]},
	{destination: "/proc", options: ["bind", "remount", "ro"]}'
equal "$(options /t)" rw,nosuid,noexec,relatime "options after remount"
equal "$(inside_sh 'df -k /t | awk "END { print \$2 }"')" 128 "size after remount"
[[ $(options /proc) == ro,* ]] || fail "a remounted /proc: $(options /proc)"
configure "$b" '.mounts[-1].destination = "/bin"'
create_refuses "mount /bin: set its options: Invalid argument"
undo

# tmpcopyup
mkdir -p "$b/rootfs/full/sub"
echo text >"$b/rootfs/full/sub/file"
ln -s sub/file "$b/rootfs/full/link"
mkfifo -m 640 "$b/rootfs/full/fifo"
chown -h 33:34 "$b/rootfs/full/sub/file" "$b/rootfs/full/link" "$b/rootfs/full"
chmod 4755 "$b/rootfs/full/sub/file"
chmod 1755 "$b/rootfs/full"
touch -d 2001-02-03T04:05:06Z "$b/rootfs/full/sub/file" "$b/rootfs/full/sub"
add_mount '{destination: "/full", type: "tmpfs", source: "t", options: ["tmpcopyup", "ro"]}'
equal "$(inside_sh 'cat /full/link; stat -c %a:%u:%g:%Y /full/sub/file; stat -c %Y /full/sub; stat -c %a:%u:%g /full; stat -c %A /full/fifo; stat -c %u /full/link')" \
	$'text\n4755:33:34:981173106\n981173106\n1755:33:34\nprw-r-----\n33' "a copy"
[[ $(options /full) == ro* ]] || fail "a read-only copy"
configure "$b" '.mounts[-1].options = ["tmpcopyup", "mode=777", "uid=5"]'
equal "$(inside_sh 'stat -c %a:%u:%g /full; touch /full/new')" 777:5:34 "mode and owner of the copy"
[ ! -e "$b/rootfs/full/new" ] || fail "the original"
configure "$b" '.mounts[-1].options = ["tmpcopyup", "size=4k", "nr_inodes=3"]'
create_refuses "mount /full: tmpcopyup: copy"
configure "$b" '.mounts[-1] = {destination: "/full", type: "bind", source: "/etc", options: ["tmpcopyup"]}'
create_refuses 'the option "tmpcopyup" is for a new tmpfs only'
undo
rm -rf "$b/rootfs/full"

# masks and read-only paths
with '.linux.maskedPaths = ["/proc/keys", "/proc/tty", "/no/such"] | .linux.readonlyPaths = ["/proc/sys", "/no/such"]'
equal "$(inside_sh 'wc -c </proc/keys; ls -A /proc/tty | wc -l')" $'0\n0' "masked paths"
[[ $(inside_sh 'echo x >/proc/sys/kernel/hostname') == *"Read-only"* ]] || fail "a read-only path"
undo

# refused
add_mount '{destination: "/t", type: "tmpfs", source: "tmpfs", options: ["size=much"]}'
create_refuses 'mount /t: option "size=much"'
undo
add_mount '{destination: "/t", type: "nosuchfs", source: "x"}'
create_refuses 'this kernel has no filesystem "nosuchfs"'
undo
add_mount '{destination: "/s", type: "bind", source: "/no/such/source"}'
create_refuses "bind source /no/such/source: No such file or directory"
undo
add_mount '{destination: "/s", type: "bind", source: "/etc", options: ["size=1"]}'
create_refuses 'the option "size=1" means nothing to a bind mount'
undo
add_mount '{destination: "/proc/driver", type: "tmpfs", source: "x"}'
create_refuses "mount /proc/driver: it is inside the container's procfs"
undo
add_mount '{destination: "/", type: "tmpfs", source: "x"}'
create_refuses "nothing can be mounted on the container's root"
undo
with '.root.path = "missing"'
refuses missing torpor create --bundle "$b" c
undo

# links of the image stay inside it
mkdir "$TEST_DIR/outside"
ln -s ../../../../../../../../../../../../../../"$TEST_DIR/outside" "$b/rootfs/up"
ln -s "$TEST_DIR/outside" "$b/rootfs/absolute"
add_mount '{destination: "/up/a", type: "tmpfs", source: "x"}, {destination: "/absolute/b", type: "tmpfs", source: "x"}'
equal "$(inside_sh 'test -d /up/a && test -d /absolute/b && echo fine')" fine "links"
equal "$(ls -A "$TEST_DIR/outside")" "" "outside"
undo
with '.linux.devices = [{type: "p", path: "/absolute/fifo"}] | .process.cwd = "/up/cwd"'
inside true
equal "$(ls -A "$TEST_DIR/outside")" "" "outside"
undo

# id-mapped mounts
mkdir "$TEST_DIR/ids" "$TEST_DIR/two"
mount -t tmpfs ids "$TEST_DIR/ids"
mkdir "$TEST_DIR/ids/below"
mount -t tmpfs below "$TEST_DIR/ids/below"
for d in ids ids/below; do
	touch "$TEST_DIR/$d/zero" "$TEST_DIR/$d/seven"
	chown 7:8 "$TEST_DIR/$d/seven"
done
maps='uidMappings: [{containerID: 0, hostID: 1000, size: 1}, {containerID: 7, hostID: 33, size: 1}], gidMappings: [{containerID: 0, hostID: 2000, size: 10}]'
owners() { inside_sh 'stat -c %u:%g /m/zero /m/seven /m/below/zero /m/below/seven 2>&1 | tr "\n" " "'; }
for o in '"rbind"' '"rbind", "idmap"'; do
	add_mount "{destination: \"/m\", type: \"bind\", source: \"$TEST_DIR/ids\", options: [$o], $maps}"
	equal "$(owners)" "1000:2000 33:2008 0:0 7:8 " "owners in an id-mapped mount ($o)"
	undo
done
add_mount "{destination: \"/m\", source: \"$TEST_DIR/ids\", options: [\"rbind\", \"ridmap\", \"ro\"], $maps}"
equal "$(owners)" "1000:2000 33:2008 1000:2000 33:2008 " "owners in a recursively id-mapped mount"
[[ $(options /m) == ro* ]] || fail "a read-only id-mapped mount"
configure "$b" '.mounts[-1] |= del(.gidMappings)'
create_refuses "mount /m: uidMappings and gidMappings go together"
configure "$b" '.mounts[-1] |= del(.uidMappings)'
create_refuses 'mount /m: the option "idmap" needs uidMappings and gidMappings'
configure "$b" '.mounts[-1] = {destination: "/m", type: "tmpfs", source: "x", options: ["idmap"]}'
create_refuses "mount /m: only bind mounts can have their ids mapped"
configure "$b" '.mounts[-1] = {destination: "/proc", options: ["remount", "idmap"]}'
create_refuses "mount /proc: ids cannot be mapped by a remount"
configure "$b" '.mounts[-1] = {destination: "/m", source: "/proc/sys", options: ["bind"], '"$maps}"
create_refuses "mount /m: map its ids: the filesystem of /proc/sys may not support it"
undo
# in a user namespace: "idmap" takes the container's own mapping, a source that its root could not reach is opened for it, devices are bound
mkdir -m 700 "$TEST_DIR/private"
mkdir -m 755 "$TEST_DIR/private/source" "$b/rootfs/p"
echo text >"$TEST_DIR/private/source/file"
with '.linux.namespaces += [{type: "user"}] | .linux.uidMappings = [{containerID: 0, hostID: 100000, size: 1000}] | .linux.gidMappings = .linux.uidMappings
	| .mounts += [{destination: "/m", type: "bind", source: $d, options: ["rbind", "idmap"]},
		{destination: "/p", type: "bind", source: $p, options: ["bind", "ro", "nosuid"]}]' --arg d "$TEST_DIR/ids" --arg p "$TEST_DIR/private/source"
equal "$(owners)" "0:0 7:8 65534:65534 65534:65534 " "owners with the container's mapping"
equal "$(inside cat /p/file)" text "a source that only the runtime reaches"
[[ $(options /p) == ro,nosuid* ]] || fail "options of a prepared mount: $(options /p)"
equal "$(inside awk '$5 == "/p" { print $7 }' /proc/self/mountinfo)" - "propagation of a prepared mount"
equal "$(inside_sh 'stat -c %t:%T /dev/null /dev/tty | tr "\n" " "; echo x >/dev/null && head -c 2 /dev/zero | wc -c')" "1:3 5:0 2" "devices in a user namespace"
undo
umount "$TEST_DIR/ids/below" "$TEST_DIR/ids"
