#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a hostile image or process tries: the runtime's binary, its descriptors, its directory.
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_inside.sh"
require_root
make_bundle busybox "$b"
delete_at_exit c
sum=$(sha256sum <"$TORPOR")

# CVE-2019-5736: the program, or its interpreter, is /proc/self/exe
configure "$b" '.process.args = ["/proc/self/exe", "--version"]'
torpor create --bundle "$b" c </dev/null
refuses "Exec format error" torpor start c
torpor delete --force c
printf '#!/proc/self/exe --version\n' >"$b/rootfs/bin/script"
chmod +x "$b/rootfs/bin/script"
configure "$b" '.process.args = ["/bin/script"]'
torpor create --bundle "$b" c </dev/null
refuses "script" torpor start c
torpor delete --force c
# while init waits, its exe is nobody's file, and what is mapped of the runtime's binary cannot be written, not even by the host's root
configure "$b" '.process.args = ["sleep", "1000"]'
torpor create --bundle "$b" c </dev/null
pid=$(container_pid c)
equal "$(readlink "/proc/$pid/exe")" "/memfd:init (deleted)" "exe of a waiting init"
for mapped in "/proc/$pid/map_files"/*; do
	[ "$(stat -Lc %d:%i "$mapped")" = "$(stat -c %d:%i "$TORPOR")" ] || continue
	if out=$(sh -c ": >>'$mapped'" 2>&1); then fail "the runtime's binary can be written through $mapped"; fi
	[[ $out == *"Read-only file system"* || $out == *"Text file busy"* ]] || fail "$mapped: $out"   # busy: somebody executes it at this moment
done
! grep -F "$TORPOR" "/proc/$pid/maps" || fail "the runtime's binary is mapped in init by its path"
# … and it holds no descriptor but stdio and the start socket, no directory outside
wait_until 10 eval '[ "$(ls "/proc/$pid/fd" | wc -l)" = 4 ]'   # it closes the one over which it has said that it waits
equal "$(stat -c %d:%i "/proc/$pid/cwd/.")" "$(stat -c %d:%i "$b/rootfs")" "directory of a waiting init"
refuses "Permission denied" setpriv --bounding-set -sys_ptrace --inh-caps -sys_ptrace sh -c "capsh --drop=cap_sys_ptrace -- -c 'ls -l /proc/$pid/fd/'"
torpor start c
# exec
refuses "Exec format error" torpor exec c /proc/self/exe --version
torpor delete --force c
equal "$(sha256sum <"$TORPOR")" "$sum" "the runtime's binary"

# CVE-2024-21626: a working directory through a leaked descriptor
for n in 3 5 7 9; do
	with '.process.cwd = "/proc/self/fd/\($n)/../.."' --argjson n $n
	configure "$b" '.process.args = ["pwd"]'
	refuses "" torpor run --bundle "$b" c </dev/null
	undo
done
# a link for a masked path's target, or for /dev/null, changes nothing outside
rm -rf "$b/rootfs/sys"
ln -s / "$b/rootfs/sys"
with '.mounts |= map(select(.destination | startswith("/sys") | not)) | .linux.maskedPaths = ["/sys/etc"]'
equal "$(inside_sh 'ls -A /etc | wc -l')" 0 "a masked directory behind a link"
[ -e /etc/passwd ] || fail "the host's /etc"
undo
rm "$b/rootfs/sys"
mkdir "$b/rootfs/sys"

# CVE-2019-19921, CVE-2023-27561, CVE-2023-28642: /proc or /sys is a link, so that masks would be somewhere else
for d in proc sys; do
	mv "$b/rootfs/$d" "$b/rootfs/$d.away"
	mkdir -p "$b/rootfs/other"
	ln -s other "$b/rootfs/$d"
	create_refuses "mount /$d"
	rm "$b/rootfs/$d"
	mv "$b/rootfs/$d.away" "$b/rootfs/$d"
done
create_with() { with "$@"; torpor create --bundle "$b" c </dev/null; undo; }

# CVE-2025-52881, CVE-2019-16884: a false procfs does not get what the runtime writes; what it has no business with stays
mkdir -p "$TEST_DIR/false/sys/net/ipv4" "$TEST_DIR/false/self/attr"
touch "$TEST_DIR/false/sys/net/ipv4/ip_forward" "$TEST_DIR/false/self/oom_score_adj" "$TEST_DIR/false/self/attr/exec"
create_with '(.mounts[] | select(.destination == "/proc")) |= {destination: "/proc", type: "bind", source: $f, options: ["bind"]}
	| .linux.maskedPaths = [] | .linux.readonlyPaths = [] | .linux.sysctl = {"net.ipv4.ip_forward": "1"} | .process.oomScoreAdj = 500
	| .process.args = ["sleep", "1000"]' --arg f "$TEST_DIR/false"
equal "$(find "$TEST_DIR/false" -type f -size +0 | wc -l)" 0 "what a false procfs has got"
pid=$(container_pid c)
equal "$(nsenter -t "$pid" -n cat /proc/sys/net/ipv4/ip_forward),$(cat "/proc/$pid/oom_score_adj")" 1,500 "the kernel's own"
torpor delete --force c

# CVE-2025-31133: the image's /dev/null is something else; masks are the host's null device
mkdir "$b/rootfs/secret"
mknod "$b/rootfs/dev/null" c 1 5 || :
for what in 'ln -s /secret' 'touch'; do
	rm -f "$b/rootfs/dev/null"
	$what "$b/rootfs/dev/null"
	with '.mounts |= map(select(.destination | startswith("/dev") | not)) | .linux.maskedPaths = ["/proc/keys"]'
	create_refuses "device /dev/null: the container's root has something else at this path"
	undo
	with '.linux.maskedPaths = ["/proc/keys"]'
	equal "$(inside stat -c %t:%T /proc/keys)" 1:3 "a masked file"
	undo
done
rm -rf "$b/rootfs/dev/null" "$b/rootfs/secret"

# CVE-2021-30465, CVE-2024-45310: a directory on the way to a mount point is exchanged for a link, again and again
mkdir "$TEST_DIR/outside" "$b/rootfs/volume" "$b/rootfs/volume/real"
ln -s "$TEST_DIR/outside" "$b/rootfs/volume/link"
python3 - "$b/rootfs/volume" <<-'END' &
	import ctypes, os, sys
	os.chdir(sys.argv[1])
	c = ctypes.CDLL(None)
	while os.path.exists("real"):
	    c.renameat2(-100, b"real", -100, b"link", 2)
END
racer=$!
with '.mounts += [range(4) | {destination: "/volume/real/\(.)", type: "tmpfs", source: "x"}] | .linux.devices = [{type: "p", path: "/volume/real/fifo"}]
	| .process.args = ["true"]'
for _ in {1..15}; do
	torpor run --bundle "$b" c </dev/null >/dev/null 2>&1 || :   # it may fail, but never lead outside
	torpor delete --force c
done
kill $racer
wait $racer || :
undo
equal "$(ls -A "$TEST_DIR/outside")" "" "what was made outside"
rm -rf "$b/rootfs/volume"

# CVE-2022-24769, CVE-2022-29162, CVE-2022-27650: nothing inheritable that nobody asked for; CVE-2026-30892: --user 1 is user 1
"$TORPOR" spec --bundle "$TEST_DIR"
equal "$(jq -c '.process.capabilities | [.inheritable, .ambient]' "$TEST_DIR/config.json" | tr -d '[]nul,')" "" "inheritable capabilities of a new configuration"
create_with '.process.args = ["sleep", "1000"]'
torpor start c
equal "$(torpor exec --cap CAP_SYS_ADMIN c sed -n 's/^CapInh:.//p' /proc/self/status)" 0000000000000000 "inheritable capabilities of exec"
equal "$(torpor exec --user 1 c id -u),$(torpor exec --user 1:1 c id -g)" 1,1 "exec --user 1"
# no descriptor but three reaches a process, whatever the caller left open
exec 7</etc/passwd 8<"$TEST_DIR"
equal "$(torpor exec c ls /proc/self/fd | tr '\n' ' ')" "0 1 2 3 " "descriptors of exec"
equal "$(torpor exec c sh -c 'readlink /proc/self/cwd')" / "directory of exec"
torpor delete --force c
equal "$(inside ls /proc/self/fd | tr '\n' ' ')" "0 1 2 3 " "descriptors of init"
exec 7<&- 8<&-

# CVE-2023-25809: a container without a cgroup namespace sees its own group only, and "ro" holds
with '.linux.namespaces |= map(select(.type != "cgroup")) | .mounts += [{destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["ro"]}]'
[[ $(inside_sh 'for d in /sys/fs/cgroup/*; do mkdir $d/x && echo made; done' 2>&1) != *made* ]] || fail "a read-only cgroup mount"
configure "$b" '.mounts[-1].options = []'
equal "$(inside_sh 'cat /sys/fs/cgroup/pids/cgroup.procs /sys/fs/cgroup/cgroup.procs 2>/dev/null | head -1')" 1 "the group that a container sees"
undo
