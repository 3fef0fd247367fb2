#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# linux.seccomp: actions, arguments, architectures, flags; the listener; the cache of compiled filters.
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_inside.sh"
require_root
require_command python3
nosys=$(python3 -c "import errno, os; print(os.strerror(errno.ENOSYS))")   # what a call says that is not there
make_bundle busybox "$b"
delete_at_exit c
allow_but() { with ".linux.seccomp = {defaultAction: \"SCMP_ACT_ALLOW\", syscalls: [$1]}"; }
status_of() { local r=0; configure "$b" '.process.args = $ARGS.positional' --args -- "$@"; torpor run --bundle "$b" c </dev/null >"$TEST_DIR/out" 2>&1 || r=$?; echo $r; }

# actions
allow_but '{names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 28}, {names: ["no_such_call"], action: "SCMP_ACT_ERRNO"}'
[[ $(inside mkdir /x) == *"No space left"* ]] || fail errnoRet
configure "$b" '.linux.seccomp.syscalls[0] |= del(.errnoRet)'
[[ $(inside mkdir /x) == *"Operation not permitted"* ]] || fail "the errno without errnoRet"
for a in KILL KILL_THREAD KILL_PROCESS TRAP; do
	configure "$b" '.linux.seccomp.syscalls[0].action = $a' --arg a SCMP_ACT_$a
	equal "$(status_of mkdir /x)" $((128 + 31)) "status with SCMP_ACT_$a"
done
configure "$b" '.linux.seccomp.syscalls[0].action = "SCMP_ACT_TRACE"'   # nobody traces
[[ $(inside mkdir /x) == *"$nosys"* ]] || fail SCMP_ACT_TRACE
configure "$b" '.linux.seccomp.syscalls[0].action = "SCMP_ACT_LOG" | .linux.seccomp.flags = ["SECCOMP_FILTER_FLAG_LOG"]'
equal "$(status_of mkdir /x)" 0 SCMP_ACT_LOG
rmdir "$b/rootfs/x"
undo
with '.linux.seccomp = {defaultAction: "SCMP_ACT_ERRNO", defaultErrnoRet: 28, syscalls: [{action: "SCMP_ACT_ALLOW", names: (
	"execve exit exit_group read write open openat close stat fstat newfstatat brk mmap munmap arch_prctl set_tid_address getuid geteuid" +
	" getgid getegid ioctl rt_sigaction rt_sigprocmask prctl capset umask set_robust_list rseq prlimit64 mprotect readlink getrandom" | split(" "))}]}'
[[ $(inside mkdir /x) == *"No space left"* ]] || fail "defaultErrnoRet: $(inside mkdir /x)"
undo

# a call that is newer than the profile does not exist; one that the profile leaves out is refused
call=$TEST_BUILD/test/oci/call
copy_program "$b/rootfs" "$call"
names=$(awk '/^#define __NR_/ && $2 != "__NR_mkdir" && $3 < 400 { print substr($2, 6) }' /usr/include/x86_64-linux-gnu/asm/unistd_64.h | jq -R . | jq -s .)
with '.linux.seccomp = {defaultAction: "SCMP_ACT_ERRNO", defaultErrnoRet: 28, architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
	syscalls: [{action: "SCMP_ACT_ALLOW", names: $n}]}' --argjson n "$names"
equal "$(inside "$call" 39 83 5000 439)" "done, No space left on device, $nosys, $nosys" "calls"
configure "$b" '.linux.seccomp.syscalls[0].names += ["faccessat2"]'
equal "$(inside "$call" 439 438 5000)" "Bad address, No space left on device, $nosys" "calls"
undo

# flags and architectures
for f in TSYNC LOG SPEC_ALLOW; do
	allow_but '{names: ["mkdir"], action: "SCMP_ACT_ERRNO"}'
	configure "$b" '.linux.seccomp.flags = [$f] | .linux.seccomp.architectures = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]' \
		--arg f SECCOMP_FILTER_FLAG_$f
	equal "$(inside sed -n 's/^Seccomp:.//p' /proc/self/status)" 2 "Seccomp with $f"
	undo
done

# arguments: kill(pid, N) fails for some N
signals() { inside_sh 'trap : 1 2 3 4; for n in 0 1 2 3 4; do kill -$n $$ 2>/dev/null && echo -n y || echo -n n; done'; }
for t in "EQ 2 0 yynyy" "NE 2 0 nnynn" "LT 2 0 nnyyy" "LE 2 0 nnnyy" "GT 2 0 yyynn" "GE 2 0 yynnn" "MASKED_EQ 2 2 yynny"; do
	read -r op value two want <<<"$t"
	allow_but "{names: [\"kill\"], action: \"SCMP_ACT_ERRNO\", args: [{index: 1, op: \"SCMP_CMP_$op\", value: $value, valueTwo: $two}]}"
	equal "$(signals)" $want "SCMP_CMP_$op"
	undo
done

# the listener
listener=$TEST_BUILD/test/oci/listener
sleep 1000 | "$listener" "$TEST_DIR/socket" "$TEST_DIR/listened" &
at_exit kill $! "$(jobs -p)"
wait_until 5 test -S "$TEST_DIR/socket"
notify() { with ".linux.seccomp = {defaultAction: \"SCMP_ACT_ALLOW\", listenerPath: \"$TEST_DIR/socket\", listenerMetadata: \"some data\",
	syscalls: [{names: [$1], action: \"SCMP_ACT_NOTIFY\"}]} | .annotations = {\"an.annotation\": \"x\"}"; }
for calls in '"mkdir", "mkdirat"' '"mkdir", "mkdirat", "read", "execve"'; do
	notify "$calls"
	for nnp in true false; do
		configure "$b" '.process.noNewPrivileges = $n | .process.args = ["sh", "-c", "sleep 1000"]' --argjson n $nnp
		: >"$TEST_DIR/listened"
		torpor create --bundle "$b" c </dev/null
		equal "$(wc -c <"$TEST_DIR/listened")" 0 "what the listener has before start"
		torpor start c
		pid=$(container_pid c)
		wait_until 5 test -s "$TEST_DIR/listened"
		jq -e --argjson pid "$pid" --arg b "$b" '.fds == ["seccompFd"] and .pid == $pid and .metadata == "some data" and .ociVersion == .state.ociVersion
			and .state.id == "c" and .state.pid == $pid and .state.status == "created" and .state.bundle == $b
			and .state.annotations["an.annotation"] == "x"' <(tail -n 1 "$TEST_DIR/listened") >/dev/null || fail "the state: $(cat "$TEST_DIR/listened")"
		refuses "No medium found" torpor exec c mkdir /x
		equal "$(tail -n 1 "$TEST_DIR/listened" | jq -c '[.fds, .state.pid, .state.status, .pid != .state.pid]')" "[[\"seccompFd\"],$pid,\"running\",true]" "the state of exec"
		equal "$(torpor exec c ls /proc/self/fd | tr '\n' ' ')" "0 1 2 3 " descriptors
		wait_until 5 eval '[ "$(wc -l <"$TEST_DIR/listened")" = 3 ]'   # of the last one too, which has not waited for an answer
		torpor delete --force c
	done
	undo
done
notify '"mkdir"'
configure "$b" '.linux.seccomp.flags = ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", "SECCOMP_FILTER_FLAG_TSYNC"]
	| .hooks.startContainer = [{path: "/bin/mkdir", args: ["mkdir", "/x"]}]'
torpor create --bundle "$b" c </dev/null
refuses "No medium found" torpor start c   # a hook has the container's filter
torpor delete --force c
configure "$b" 'del(.hooks) | .linux.seccomp.listenerPath = "/no/such/socket"'
torpor create --bundle "$b" c </dev/null
refuses "linux.seccomp.listenerPath: connect to /no/such/socket" torpor start c
wait_until 5 eval '[ "$(container_status c)" = stopped ]'
torpor delete c
for f in 'del(.linux.seccomp.listenerPath, .linux.seccomp.listenerMetadata)|SCMP_ACT_NOTIFY needs a listenerPath' \
	'del(.linux.seccomp.listenerPath)|SCMP_ACT_NOTIFY needs a listenerPath' \
	'.linux.seccomp.defaultAction = "SCMP_ACT_NOTIFY"|cannot be the default action' \
	'.linux.seccomp.listenerPath = "socket"|is not an absolute path' \
	'.linux.seccomp.syscalls = [] | .linux.seccomp.flags = ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]|goes with SCMP_ACT_NOTIFY' \
	'.linux.seccomp.syscalls = [] | del(.linux.seccomp.flags, .linux.seccomp.listenerPath)|listenerMetadata needs a listenerPath'; do
	cp "$b/config.json" "$TEST_DIR/before.json"
	configure "$b" "${f%|*}"
	create_refuses "${f##*|}"
	cp "$TEST_DIR/before.json" "$b/config.json"
done
undo

# the cache: found again, and only if it is the same profile, of the same owner, unharmed
cache=$TEST_STATE/seccomp~
allow_but '{names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 28}'
rm -rf "$cache"
mkdir_says() { inside mkdir /x; }
[[ $(mkdir_says) == *"No space left"* ]] || fail "a new filter"
equal "$(stat -c %a "$cache"),$(ls "$cache" | wc -l),$(stat -c %a "$cache"/*)" 700,1,600 "the cache"
file=$(echo "$cache"/*)
inode=$(stat -c %i "$file")
[[ $(mkdir_says) == *"No space left"* ]] || fail "a cached filter"
equal "$(stat -c %i "$file")" "$inode" "the file"
# another profile under this name: its own filter, not the one that is there
sed 's/mkdir/rmdir/' "$file" >"$TEST_DIR/other"
cat "$TEST_DIR/other" >"$file"
[[ $(mkdir_says) == *"No space left"* ]] || fail "another's filter was believed"
# not to be trusted
chmod 666 "$file"
[[ $(mkdir_says) == *"No space left"* ]] || fail "a file that others may write"
chown 33 "$file"
[[ $(mkdir_says) == *"No space left"* ]] || fail "somebody else's file"
equal "$(stat -c %u:%a "$file")" 0:600 "the file, made again"
: >"$file"
[[ $(mkdir_says) == *"No space left"* ]] || fail "an empty file"
chmod 777 "$cache"
[[ $(mkdir_says) == *"No space left"* ]] || fail "a directory that others may write"
rm -rf "$cache"
ln -s "$TEST_DIR" "$cache"
[[ $(mkdir_says) == *"No space left"* ]] || fail "a link"
rm "$cache"
equal "$(torpor list --quiet)" "" "containers"
undo
