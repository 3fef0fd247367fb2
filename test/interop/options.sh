#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# torpor-cr's command line where scripts written for criu rely on it: exit codes, logs, check with every feature's name, cpuinfo, and options that
# need little to be tried. What each option's test is says coverage.tsv.
. "${0%/*}/../lib.sh"
require_root
below_reaper
new_tmpdir work
cd "$work"
status() { # STATUS COMMAND…
	local wanted=$1 got=0
	shift
	"$@" >out 2>&1 || got=$?
	equal "$got" "$wanted" "the exit status of $*"
}
start() {
	rm -rf i
	mkdir i
	setsid "$@" </dev/null >/dev/null 2>&1 &
	pid=$!
	at_exit kill -9 $pid
	wait_until 20 sleeps
}
sleeps() { [ "/proc/$pid/exe" -ef "$(type -P sleep)" ]; }   # not what makes it the leader of a session
runs() { [[ $(sed 's/.*) \(.\).*/\1/' "/proc/$pid/stat" 2>/dev/null) == [SRD] ]]; }
end() {
	kill -9 "$pid"
	wait_until 20 eval "! kill -0 $pid 2>/dev/null"
}
round() { # the dump's options, --, the restore's
	local dump=() restore
	while [ "$1" != -- ]; do
		dump+=("$1")
		shift
	done
	restore=("${@:2}")
	torpor_cr dump --tree "$pid" --images-dir i "${dump[@]}" >out 2>&1 || fail "dump ${dump[*]}: $(cat out)"
	wait_until 20 eval "! kill -0 $pid 2>/dev/null"
	torpor_cr restore --images-dir i --restore-detached "${restore[@]}" >out 2>&1 || fail "restore ${restore[*]}: $(cat out)"
	wait_until 20 runs
}

# --- commands, exit codes, versions ---
status 0 torpor_cr --version
grep -q '^Version: 4\.2$' out || fail "the version: $(cat out)"
status 0 torpor_cr -V
status 0 torpor_cr --help
status 1 torpor_cr
status 1 torpor_cr nonsense
status 255 torpor_cr exec
status 255 torpor_cr show
status 1 torpor_cr check --ms
status 1 torpor_cr dump --tree 4194302 --images-dir .
status 1 torpor_cr restore --images-dir .
status 1 torpor_cr dump --no-such-option
status 1 torpor_cr dump --stream --tree 1
grep -q -- --stream out || fail "another reason: $(cat out)"
status 0 torpor_cr check --tree 5 --deprecated --libdir /nowhere --no-default-config   # of other commands: as criu takes it
grep -q 'option --tree is without effect' out || fail "not a word of --tree"
mkdir plugins
touch plugins/cuda_plugin.so
status 1 torpor_cr check --libdir plugins
grep -q cuda_plugin out || fail "a plugin is not named: $(cat out)"

# --- check ---
for f in mnt_id mem_dirty_track aio_remap timerfd tun tun_ns userns fdinfo_lock seccomp_suspend seccomp_filters loginuid cgroupns autofs \
	tcp_half_closed compat_cr uffd uffd-noncoop can_map_vdso sk_ns sk_unix_file net_diag_raw nsid link_nsid kcmp_epoll timens external_net_ns \
	clone3_set_tid newifindex nftables has_ipt_legacy pidfd_store ns_pid apparmor_stacking network_lock_nftables sockopt_buf_lock memfd_hugetlb \
	move_mount_set_group openat2 get_rseq_conf ipv6_freebind pagemap_scan timer_cr_ids overlayfs_maps breakpoints pagemap_scan_guard_pages; do
	if torpor_cr check --feature "$f" >out 2>&1; then
		equal "$(cat out)" "$f is supported"
	else
		equal "$(head -n 1 out)" "$f is not supported"
	fi
done
status 0 torpor_cr check --feature mnt_id
status 1 torpor_cr check --feature compat_cr
status 1 torpor_cr check --feature nonsense
status 0 torpor_cr check --feature nonsense --feature openat2   # the last one
status 0 torpor_cr check
equal "$(tail -n 1 out)" "Looks good."
torpor_cr check --all --extra --experimental >out 2>&1 || :
grep -q '^Looks good' out || fail "check --all: $(cat out)"

# --- cpuinfo ---
mkdir c
status 0 torpor_cr cpuinfo dump --images-dir c
status 0 torpor_cr cpuinfo check --images-dir c
status 0 torpor_cr cpuinfo check --images-dir c --cpu-cap
status 1 torpor_cr cpuinfo check --images-dir c --cpu-cap=magic
status 1 torpor_cr cpuinfo check --images-dir plugins
status 255 torpor_cr cpuinfo dump --images-dir /proc/self
status 1 torpor_cr cpuinfo
peers=$(realpath "${0%/*}/..")/peers
if "$peers" has crit; then   # a feature more, another model
	"$peers" run crit decode -i c/cpuinfo.img >cpu.json
	jq -c '.entries[0].x86_entry[0].capability[0] = 4294967295' cpu.json >other.json
	"$peers" run crit encode -i other.json -o c/cpuinfo.img
	status 1 torpor_cr cpuinfo check --images-dir c
	status 0 torpor_cr cpuinfo check --images-dir c --cpu-cap=^ins
	jq -c '.entries[0].x86_entry[0].model += 1' cpu.json >other.json
	"$peers" run crit encode -i other.json -o c/cpuinfo.img
	status 0 torpor_cr cpuinfo check --images-dir c
	status 1 torpor_cr cpuinfo check --images-dir c --cpu-cap=cpu
	status 0 torpor_cr cpuinfo check --images-dir c --cpu-cap=none
fi

# --- logs ---
start sleep 1000
mkdir w
echo earlier >"w/r.log.$pid"   # of another restore
round --work-dir w --log-file d.log -v4 --cpu-cap -- --work-dir w -o r.log -v4 --log-pid --pidfile p --cpu-cap=all --weak-sysctls --display-stats \
	--file-validation filesize --skip-file-rwx-check
equal "$(cat w/p)" "$pid" "the pid file"
[ -s i/cpuinfo.img ] || fail "--cpu-cap: no cpuinfo.img"
for f in w/d.log w/r.log "w/r.log.$pid"; do
	[ -s "$f" ] || fail "$f is empty or missing"
	grep -qvE '^\([0-9]+\.[0-9]{6}\) ' "$f" && fail "$f: a line without a time stamp"
done
grep -q earlier "w/r.log.$pid" && fail "--log-pid: a task's log is not begun anew"
[ -s w/stats-dump ] && [ -s w/stats-restore ] || fail "no statistics"
grep -qi 'pages' out || fail "--display-stats: $(cat out)"
status 1 torpor_cr restore --images-dir i --work-dir w -d --pidfile p   # it is there
for level in --verbosity=1 -v4 -vv; do
	status 1 torpor_cr dump --tree 4194302 --images-dir i --work-dir w -o "e$level" $level
done
[ "$(wc -l <w/e-v4)" -gt "$(wc -l <w/e--verbosity=1)" ] || fail "-v4 says no more than --verbosity=1"
status 1 torpor_cr dump --tree 4194302 --images-dir i --work-dir w -o e.log
grep -q '^([0-9.]*) Error (' w/e.log || fail "the error in the log: $(cat w/e.log)"
end

# --- --exec-cmd: the command is the parent of the tree ---
start sleep 1000
torpor_cr dump --tree "$pid" --images-dir i
wait_until 20 eval "! kill -0 $pid 2>/dev/null"
torpor_cr restore --images-dir i --exec-cmd -- sh -c 'echo $$ --version' >out
parent=$(sed -n 's/^\([0-9]*\) --version$/\1/p' out)
[ -n "$parent" ] || fail "the command: $(cat out)"
end
status 1 torpor_cr restore --images-dir i --exec-cmd

# --- a dump for whose pages there is no room: --keep-partial; one that does not wait for the disk ---
start sleep 1000
mkdir small
mount -t tmpfs -o size=64k tmpfs small
at_exit sh -c "! mountpoint -q small || umount small"
status 1 torpor_cr dump --tree "$pid" --images-dir small
equal "$(ls -A small)" "" "what a failed dump left"
status 1 torpor_cr dump --tree "$pid" --images-dir small --keep-partial
shows pages ls -A small || fail "--keep-partial: no images are left: $(ls -A small)"
status 1 torpor_cr restore --images-dir small
umount small
round --no-sync --
end

# --- --evasive-devices: what is at the path of /dev/null by now is another device ---
mknod null c 1 3
rm -rf i && mkdir i
setsid sleep 1000 <null >null 2>&1 &
pid=$!
at_exit kill -9 $pid
wait_until 20 sleeps
mount --bind /dev/zero null
at_exit sh -c "! mountpoint -q null || umount null"
status 1 torpor_cr dump --tree "$pid" --images-dir i
round --evasive-devices --
equal "$(readlink "/proc/$pid/fd/0")" /dev/null "the device"
end
umount null

# --- --root of a dump without a mount namespace ---
start sleep 1000
status 1 torpor_cr dump --tree "$pid" --images-dir i --root "$work"
grep -q -- "--root $work" out || fail "another reason: $(cat out)"
status 1 torpor_cr restore --images-dir i --root "$work"
round --root / --
end

# --- as another user, with two capabilities ---
if [ "$(type -P setpriv)" ]; then
	user=(setpriv --reuid 1000 --regid 1000 --clear-groups)
	mighty=("${user[@]}" --inh-caps +checkpoint_restore,+sys_ptrace --ambient-caps +checkpoint_restore,+sys_ptrace)
	start "${user[@]}" sleep 1000
	wait_until 20 eval "grep -q '^Uid:.1000' /proc/$pid/status && [[ \$(tr -d '\\0' </proc/$pid/cmdline) == sleep* ]]"
	chmod 755 "$TEST_DIR" "$work"
	cp "$TORPOR_CR" "$work/engine"   # which the user may not be able to reach
	chown 1000:1000 i
	HOME=/ "${mighty[@]}" "$work/engine" dump --unprivileged --tree "$pid" --images-dir i || fail "a user's dump"
	wait_until 20 eval "! kill -0 $pid 2>/dev/null"
	HOME=/ "${mighty[@]}" "$work/engine" restore --unprivileged --images-dir i --restore-detached 2>out || fail "a user's restore: $(cat out)"
	grep -q 'clocks will jump' out || fail "no word of the clocks: $(cat out)"
	wait_until 20 runs
	end
fi

# --- a job of this program; a freezer; nothing else changes by these ---
rm -rf i && mkdir i
sleep 1000 </dev/null >/dev/null 2>&1 &
pid=$!
at_exit kill -9 $pid
wait_until 20 sleeps
status 1 torpor_cr dump --tree "$pid" --images-dir i
grep -q -- --shell-job out || fail "another reason: $(cat out)"
exec 7</dev/null
torpor_cr dump --tree "$pid" --images-dir i --shell-job --ghost-fiemap --force-irmap --irmap-scan-path /tmp --close 7 --timeout 60 ||
	fail "dump of a job"
wait_until 20 eval "! kill -0 $pid 2>/dev/null"
torpor_cr restore --images-dir i --restore-detached --restore-sibling --shell-job
grep -q "^PPid:	$$\$" "/proc/$pid/status" || fail "not a sibling: $(grep PPid "/proc/$pid/status")"
end
exec 7<&-

# --- --ext-unix-sk with a list ---
rm -rf i && mkdir i
setsid python3 -c '
import os, socket, time
a, b = socket.socketpair()
pid = os.fork()
if pid:
    a.close()
    open("inode", "w").write("%d %d\n" % (os.fstat(b.fileno()).st_ino, os.getpid()))
    os.waitpid(pid, 0)
else:
    b.close()
    os.setsid()
    open("child", "w").write("%d\n" % os.getpid())
time.sleep(1000)' </dev/null >/dev/null 2>&1 &
parent=$!
at_exit kill -9 $parent
wait_until 20 [ -s child ]
wait_until 20 [ -s inode ]
read -r inode _ <inode
pid=$(<child)
at_exit kill -9 "$pid"
status 1 torpor_cr dump --tree "$pid" --images-dir i
status 1 torpor_cr dump --tree "$pid" --images-dir i --ext-unix-sk=x
torpor_cr dump --tree "$pid" --images-dir i --ext-unix-sk="$inode" || fail "--ext-unix-sk=$inode"
kill -9 "$parent"

# --- mounts: --skip-mnt, --enable-fs, --ext-mount-map; --root of a restore ---
rm -rf i && mkdir i outside
rootfs_busybox "$work/root"
mkdir "$work"/root/{skipped,plain,inside,old}
echo there >outside/file
setsid unshare --mount --pid --fork setsid bash -c '
	mount --make-rprivate / && mount --bind root root && mount --bind outside root/inside && cd root && pivot_root . old && hash -r &&
	mount -t ramfs ramfs plain && mount -t ramfs ramfs skipped && mount -t proc proc proc && umount -l old && exec chroot . sleep 1000 <&- >&- 2>&-' </dev/null >/dev/null 2>&1 &
parent=$!
at_exit kill -9 $parent
is_there() { pid=$(xargs <"/proc/$parent/task/$parent/children") && [ "$pid" ] && [[ $(tr -d '\0' <"/proc/$pid/cmdline") == sleep* ]]; }
wait_until 20 is_there
at_exit kill -9 "$pid"
mounts=(--ext-mount-map /inside:here --enable-external-masters)
status 1 torpor_cr dump --tree "$pid" --images-dir i "${mounts[@]}" --skip-mnt /skipped
grep -q ramfs out || fail "another reason: $(cat out)"
status 1 torpor_cr dump --tree "$pid" --images-dir i --enable-external-sharing
status 1 torpor_cr dump --tree "$pid" --images-dir i --external 'mnt[]:sm'
status 1 torpor_cr dump --tree "$pid" --images-dir i --external 'mnt[]:m' --skip-mnt /skipped
torpor_cr dump --tree "$pid" --images-dir i "${mounts[@]}" --skip-mnt /skipped --enable-fs ramfs,fuse || fail "dump of mounts"
status 1 torpor_cr restore --images-dir i --ext-mount-map "here:$work/outside" -d --root "$work/root"
grep -q -- '--enable-fs ramfs' out || fail "another reason: $(cat out)"
torpor_cr restore --images-dir i --ext-mount-map "here:$work/outside" -d --enable-fs all --root "$work/root" --pidfile pid || fail "restore of mounts"
pid=$(<i/pid)
at_exit kill -9 "$pid"
grep -q " /plain .* - ramfs " "/proc/$pid/mountinfo" || fail "--enable-fs: it is not mounted"
grep " /skipped " "/proc/$pid/mountinfo" && fail "--skip-mnt: it is mounted"
equal "$(cat "/proc/$pid/root/inside/file")" there "the mount from outside"
equal "$(wc -l <"/proc/$pid/mountinfo")" 4 "the number of mounts: $(cat "/proc/$pid/mountinfo")"
kill -9 "$pid"

# --- refused, by name ---
for option in --lsm-profile=apparmor:x --lsm-mount-context=x --mntns-compat-mode --allow-uprobes --stream --file-validation=magic; do
	status 1 torpor_cr restore --images-dir i "$option"
	grep -q -- "${option%%=*}" out || fail "$option is not named: $(cat out)"
done
for option in --cgroup-root=/x --manage-cgroups=magic --empty-ns=pid --pre-dump-mode=magic; do
	case $option in --pre-dump-mode*) command=pre-dump ;; *) command=dump ;; esac
	status 1 torpor_cr $command --tree $$ --images-dir i "$option"
	grep -q -- "${option%%=*}" out || fail "$option is not named: $(cat out)"
done
