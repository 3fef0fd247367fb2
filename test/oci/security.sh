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
	[ "$(stat -Lc %d:%i "$mapped")" != "$(stat -c %d:%i "$TORPOR")" ] || refuses "Read-only file system" sh -c ": >>'$mapped'"
done
! grep -F "$TORPOR" "/proc/$pid/maps" || fail "the runtime's binary is mapped in init by its path"
# … and it holds no descriptor but stdio and the start socket, no directory outside
equal "$(ls "/proc/$pid/fd" | wc -l)" 4 "descriptors of a waiting init"
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
