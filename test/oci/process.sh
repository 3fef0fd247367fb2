#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a container's process is like: pid 1, names, user, capabilities, limits, no_new_privs, seccomp, environment, directory, descriptors.
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_inside.sh"
require_root
make_bundle busybox "$b"
delete_at_exit c

equal "$(inside_sh 'echo $$')" 1 "its pid"
with '.hostname = "some-host" | .domainname = "some.domain"'
equal "$(inside_sh 'hostname; cat /proc/sys/kernel/domainname')" $'some-host\nsome.domain' names
undo
equal "$(inside_sh 'cut -d" " -f5-6 /proc/self/stat')" "1 1" "process group and session"

# user, groups, umask
with '.process.user = {uid: 33, gid: 34, additionalGids: [5, 6], umask: 63}'
equal "$(inside_sh 'id -u; id -g; id -G; umask')" $'33\n34\n34 5 6\n0077' user
equal "$(inside_sh 'echo $HOME')" /var/www "HOME from the container's passwd"
equal "$(inside_sh 'echo again >/dev/stdout' | cat)" again "stdout opened again by an ordinary user"
undo
equal "$(inside_sh umask)" 0022 umask
rm "$b/rootfs/etc/passwd"
mkfifo "$b/rootfs/etc/passwd"
equal "$(timeout 60 "$TORPOR" --root "$TEST_STATE" run --bundle "$b" c </dev/null)" 0022 "umask, with a fifo for passwd"
rm "$b/rootfs/etc/passwd"

# capabilities: three in all sets, ambient for an ordinary user
caps() { inside_sh 'grep ^Cap /proc/self/status | tr "\t\n" " ;"'; }
list='["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE"]'
with ".process.capabilities = {bounding: $list, permitted: $list, effective: $list}"
equal "$(caps)" "CapInh: 0000000000000000;CapPrm: 0000000020000420;CapEff: 0000000020000420;CapBnd: 0000000020000420;CapAmb: 0000000000000000;" \
	capabilities
configure "$b" ".process.user.uid = 33 | .process.capabilities += {inheritable: $list, ambient: [\"CAP_KILL\"]}"
equal "$(caps)" "CapInh: 0000000020000420;CapPrm: 0000000000000020;CapEff: 0000000000000020;CapBnd: 0000000020000420;CapAmb: 0000000000000020;" \
	capabilities
configure "$b" 'del(.process.capabilities)'
equal "$(caps)" "CapInh: 0000000000000000;CapPrm: 0000000000000000;CapEff: 0000000000000000;CapBnd: 0000000000000000;CapAmb: 0000000000000000;" \
	capabilities
undo
with '.process.capabilities.ambient = ["CAP_KILL"]'   # neither permitted nor inheritable here, or not both: left out
[[ $(caps) == *"CapAmb: 0000000000000000;" ]] || fail "an ambient capability alone: $(caps)"
undo

# no_new_privs and limits
with '.process.noNewPrivileges = true'
equal "$(inside_sh 'grep NoNewPrivs: /proc/self/status')" $'NoNewPrivs:\t1' no_new_privs
undo
with '.process.noNewPrivileges = false'
equal "$(inside_sh 'grep NoNewPrivs: /proc/self/status')" $'NoNewPrivs:\t0' no_new_privs
undo
with '.process.rlimits = [{type: "RLIMIT_NOFILE", soft: 100, hard: 200}, {type: "RLIMIT_CORE", soft: 0, hard: 0}]'
equal "$(inside_sh 'ulimit -Sn; ulimit -Hn; ulimit -c')" $'100\n200\n0' limits
undo
if ! capsh --has-p=cap_sys_resource 2>/dev/null; then
	with '.process.rlimits = [{type: "RLIMIT_NOFILE", soft: 100, hard: 4000000000}]'
	create_refuses "raising the hard limit of RLIMIT_NOFILE"
	undo
fi
with '.process.oomScoreAdj = 123'
equal "$(inside_sh 'cat /proc/self/oom_score_adj')" 123 oom_score_adj
undo

# seccomp, with and without no_new_privs; names that do not exist are skipped, a default action in a rule is
for nnp in true false; do
	with '.process.noNewPrivileges = $nnp | .linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", architectures: ["SCMP_ARCH_X86_64"], syscalls: [
		{names: ["mkdir", "mkdirat", "no_such_call"], action: "SCMP_ACT_ERRNO", errnoRet: 95}, {names: ["read"], action: "SCMP_ACT_ALLOW"}]}' \
		--argjson nnp $nnp
	output=$(inside_sh 'grep ^Seccomp: /proc/self/status; mkdir /tmp/x')
	[[ $output == *"Seccomp:"$'\t2'* && $output == *"not supported"* ]] || fail "seccomp: $output"
	undo
done
# arguments: one rule with two conditions on different arguments is "and", on the same is "or"
with '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", syscalls: [{names: ["kill"], action: "SCMP_ACT_ERRNO", errnoRet: 99,
	args: [{index: 1, value: 10, op: "SCMP_CMP_EQ"}, {index: 1, value: 12, op: "SCMP_CMP_EQ"}]}]}'
output=$(inside_sh 'trap "" 10 12 14; kill -10 $$; kill -12 $$; kill -14 $$ && echo fine')
equal "$(grep -c "Cannot assign\|assign requested" <<<"$output")" 2 "refused signals"
[[ $output == *fine ]] || fail "seccomp: $output"
undo

# the program
with '.process.cwd = "/made/for/it"'
equal "$(inside pwd)" /made/for/it directory
undo
with '.process.env = ["PATH=/bin", "A=b c"]'
equal "$(inside_sh 'echo "$A"')" "b c" environment
configure "$b" '.process.env = ["PATH=/nowhere"]'
configure "$b" '.process.args = ["true"]'
create_refuses 'exec: "true": executable file not found in $PATH'
undo
configure "$b" '.process.args = ["/no/such"]'
create_refuses "stat /no/such: No such file or directory"
configure "$b" '.process.args = ["/etc"]'
create_refuses "stat /etc: Is a directory"
configure "$b" '.process.args = ["/etc/group"]'
create_refuses "Permission denied"
printf '#!/no/interpreter\n' >"$b/rootfs/bin/script"
chmod +x "$b/rootfs/bin/script"
configure "$b" '.process.args = ["script"]'
torpor create --bundle "$b" c </dev/null
refuses 'exec: "script": execute /bin/script: No such file or directory' torpor start c
wait_until 5 eval '[ "$(container_status c)" = stopped ]'
torpor delete c

# descriptors: none but those asked for
equal "$(exec 7</etc/hostname; inside_sh 'ls /proc/self/fd | wc -l')" 4 "open descriptors (and that of ls)"
configure "$b" '.process.args = ["sh", "-c", "cat <&3; ls /proc/self/fd | wc -l"]'
echo three >"$TEST_DIR/three"
equal "$(torpor run --preserve-fds 1 --bundle "$b" c </dev/null 3<"$TEST_DIR/three" 7</etc/hostname)" $'three\n5' "the preserved descriptor"
refuses "descriptor 4 is to be preserved" torpor run --preserve-fds 2 --bundle "$b" c </dev/null 3<"$TEST_DIR/three"
configure "$b" '.process.args = ["sh", "-c", "cat <&3; echo $LISTEN_FDS $LISTEN_PID"]'
equal "$(LISTEN_FDS=1 torpor run --bundle "$b" c </dev/null 3<"$TEST_DIR/three")" $'three\n1 1' "the listening descriptor"
# signals that the caller ignores are not ignored inside
equal "$(trap '' HUP USR1; inside grep SigIgn /proc/self/status)" $'SigIgn:\t0000000000000000' "ignored signals"

# NOTIFY_SOCKET: the supervisor's socket, under a name of the container's
python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print(s.recv(100).decode())' "$TEST_DIR/notify" >"$TEST_DIR/notified" &
receiver=$!
wait_until 5 test -S "$TEST_DIR/notify"
copy_program "$b/rootfs" "$TEST_BUILD/test/oci/pty"
configure "$b" '.process.args = ["sh", "-c", "echo $NOTIFY_SOCKET; \($p) notify"]' --arg p "$TEST_BUILD/test/oci/pty"
equal "$(NOTIFY_SOCKET=$TEST_DIR/notify torpor run --bundle "$b" c </dev/null)" /run/notify/notify.sock NOTIFY_SOCKET
wait $receiver
equal "$(cat "$TEST_DIR/notified")" READY=1 "what the supervisor heard"
equal "$(NOTIFY_SOCKET=@abstract inside_sh 'echo $NOTIFY_SOCKET')" @abstract "an abstract name"
equal "$(NOTIFY_SOCKET=$TEST_DIR/notify inside_sh 'stat -c %F /run/notify/notify.sock')" socket "the socket inside"
configure "$b" '.process.env += ["NOTIFY_SOCKET=/mine"]'
equal "$(NOTIFY_SOCKET=$TEST_DIR/notify inside_sh 'echo $NOTIFY_SOCKET')" /mine "the configuration's own"
