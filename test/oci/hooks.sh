#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Hooks: when, where, with what, and what their failure does.
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_inside.sh"
require_root
make_bundle busybox "$b" sleep 1000
delete_at_exit c
log=$TEST_DIR/log
# One hook for all points: writes what it is given. startContainer's is the container's own, and its log is in the container.
cat >"$TEST_DIR/hook" <<'END'
#!/bin/sh
point=$1 log=$2
{
	echo "point $point"
	echo "args $0 $*"
	echo "env $(env | tr '\n' ' ')"
	echo "state $(cat)"
	echo "cwd $(pwd)"
	for n in pid mnt net uts; do echo "$n $(readlink /proc/self/ns/$n)"; done
	echo "hostname $(hostname)"
	echo "uid $(id -u)"
	echo "seccomp $(sed -n 's/^Seccomp:\t//p' /proc/self/status)"
	echo "capabilities $(sed -n 's/^CapBnd:\t//p' /proc/self/status)"
} >>"$log"
END
chmod +x "$TEST_DIR/hook"
install -m 755 "$TEST_DIR/hook" "$b/rootfs/bin/hook"
mkdir -m 777 "$b/rootfs/out"
all=(prestart createRuntime createContainer startContainer poststart poststop)
# hook POINT JSON: adds one
hook() { configure "$b" '.hooks[$p] += [$h]' --arg p "$1" --argjson h "$2"; }
for p in "${all[@]}"; do
	file=$TEST_DIR/hook out=$log.$p
	[ $p = startContainer ] && file=/bin/hook out=/out/log
	hook $p "{\"path\": \"$file\", \"args\": [\"name\", \"$p\", \"$out\"], \"env\": [\"A=1\", \"PATH=$PATH\"], \"timeout\": 20}"
done
configure "$b" '.annotations = {"an.annotation": "its value"} | .hostname = "inside" | .process.user = {uid: 33, gid: 33} |
	.process.capabilities = {bounding: ["CAP_KILL"], permitted: ["CAP_KILL"], effective: ["CAP_KILL"]} |
	.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", syscalls: [{names: ["swapoff"], action: "SCMP_ACT_ERRNO"}]}'
cp "$b/config.json" "$TEST_DIR/all.json"

# value POINT WORD
value() { sed -n "s/^$2 //p" "$log.$1"; }
exec 9</dev/null   # a descriptor of the caller's that nobody asked for
SECRET=42 torpor create --bundle "$b" c </dev/null
for p in prestart createRuntime createContainer; do [ -s "$log.$p" ] || fail "$p has not run"; done
for p in startContainer poststart poststop; do [ ! -e "$log.$p" ] && [ ! -e "$b/rootfs/out/log" ] || fail "$p has run"; done
pid=$(container_pid c)
mnt=$(readlink "/proc/$pid/ns/mnt") netns=$(readlink "/proc/$pid/ns/net") pidns=$(readlink "/proc/$pid/ns/pid")
SECRET=42 torpor start c
cp "$b/rootfs/out/log" "$log.startContainer"
[ -s "$log.poststart" ] && [ ! -e "$log.poststop" ] || fail "poststart"
torpor delete --force c
[ -s "$log.poststop" ] || fail "poststop"

for p in "${all[@]}"; do
	equal "$(value $p point)" $p point
	[[ "$(value $p args)" == *" $p "* ]] || fail "arguments of $p"
	[[ " $(value $p env)" == *" A=1 "* ]] && [[ "$(value $p env)" != *SECRET* ]] || fail "$p: environment: $(value $p env)"
	state=$(value $p state)
	equal "$(jq -r .id <<<"$state")" c "$p: id"
	equal "$(jq -r .bundle <<<"$state")" "$b" "$p: bundle"
	equal "$(jq -r .ociVersion <<<"$state")" "$(jq -r .ociVersion "$b/config.json")" "$p: version"
	equal "$(jq -r '.annotations["an.annotation"]' <<<"$state")" "its value" "$p: annotation"
	case $p in
	prestart | createRuntime | createContainer) status=creating ;;
	startContainer) status=created ;;
	poststart) status=running ;;
	poststop) status=stopped ;;
	esac
	equal "$(jq -r .status <<<"$state")" $status "$p: status"
	case $p in
	prestart | createRuntime | poststart) want=$pid ;;
	createContainer | startContainer) want=1 ;;
	poststop) want=null ;;
	esac
	equal "$(jq -r .pid <<<"$state")" "$want" "$p: pid"
	case $p in
	createContainer | startContainer)
		equal "$(value $p mnt),$(value $p net),$(value $p pid)" "$mnt,$netns,$pidns" "$p: namespaces"
		equal "$(value $p hostname)" inside "$p: host name" ;;
	*)
		equal "$(value $p mnt),$(value $p net)" "$(readlink /proc/self/ns/mnt),$(readlink /proc/self/ns/net)" "$p: namespaces"
		equal "$(value $p cwd)" "$b" "$p: directory" ;;
	esac
done
equal "$(value createContainer cwd)" "$b/rootfs" "createContainer: directory"
equal "$(value createContainer uid),$(value startContainer uid)" 0,33 users
equal "$(value startContainer seccomp),$(value startContainer capabilities)" 2,0000000000000020 "what confines startContainer"

# the order; all of one point run
echo '{}' >"$TEST_DIR/none"
ordered() { printf '{"path": "/bin/sh", "args": ["sh", "-c", "echo %s >>%s; exit %d"]}' "$1" "$2" "${3-0}"; }
plain() { configure "$b" 'del(.hooks) | .process.args = ["sleep", "1000"]'; rm -f "$log" "$b/rootfs/out/log"; }
plain
for p in "${all[@]}"; do for n in 1 2; do
	out=$log
	[ $p = startContainer ] && out=/out/log
	hook $p "$(ordered $p$n "$out")"
done; done
torpor run --detach --bundle "$b" c </dev/null
torpor delete --force c
equal "$(tr '\n' ' ' <"$log")" "prestart1 prestart2 createRuntime1 createRuntime2 createContainer1 createContainer2 poststart1 poststart2 poststop1 poststop2 " order
equal "$(tr '\n' ' ' <"$b/rootfs/out/log")" "startContainer1 startContainer2 " order

# failures: the first ends it, nothing is left, poststop runs
for p in prestart createRuntime createContainer; do
	plain
	hook $p '{"path": "/bin/sh", "args": ["sh", "-c", "echo because of; echo this >&2; exit 3"]}'
	hook $p "$(ordered second "$log")"
	hook poststop "$(ordered stopped "$log")"
	create_refuses "hook /bin/sh: exit status 3: because of this"
	equal "$(cat "$log")" stopped "after a failed $p"
	refuses "hooks.$p[0] failed" torpor run --bundle "$b" c </dev/null
done
plain
hook startContainer '{"path": "/bin/false"}'
hook startContainer "$(ordered second /out/log)"
hook poststop "$(ordered stopped "$log")"
torpor create --bundle "$b" c </dev/null
refuses "hooks.startContainer[0] failed" torpor start c
wait_until 5 eval '[ "$(container_status c)" = stopped ]'
[ ! -e "$b/rootfs/out/log" ] || fail "a second startContainer hook has run"
torpor delete c
equal "$(cat "$log")" stopped "after a failed startContainer"
plain
hook poststart "$(ordered first "$log" 1)"
hook poststart "$(ordered second "$log")"
hook poststop "$(ordered stopped "$log")"
torpor create --bundle "$b" c </dev/null
refuses "hook /bin/sh: exit status 1" torpor start c
wait_until 5 eval '[ "$(container_status c)" = stopped ]'
torpor delete c
equal "$(tr '\n' ' ' <"$log")" "first stopped " "after a failed poststart"
plain
hook poststop "$(ordered first "$log" 1)"
hook poststop '{"path": "/no/such/hook"}'
hook poststop "$(ordered last "$log")"
torpor run --detach --bundle "$b" c </dev/null
torpor delete --force c 2>"$TEST_DIR/warnings"
equal "$(tr '\n' ' ' <"$log")" "first last " "poststop hooks"
grep -q "hook /no/such/hook: execute it: No such file" "$TEST_DIR/warnings" || fail "no warning: $(cat "$TEST_DIR/warnings")"
# a create that fails for another reason
plain
hook poststop "$(ordered stopped "$log")"
with '.process.args = ["/no/such/program"]'
create_refuses "No such file"
equal "$(cat "$log")" stopped "poststop after a create that failed"
undo

# a hook without an environment has none; one that takes too long is killed with what it started; one that leaves something is not waited for
plain
hook createRuntime "{\"path\": \"/usr/bin/env\"}"
hook createRuntime "{\"path\": \"/bin/sh\", \"args\": [\"sh\", \"-c\", \"/usr/bin/env >$log\"]}"
hook createRuntime "{\"path\": \"/bin/sh\", \"args\": [\"sh\", \"-c\", \"exec ls /proc/self/fd >$log.fd\"]}"
hook createContainer "{\"path\": \"/bin/sh\", \"args\": [\"sh\", \"-c\", \"exec ls /proc/self/fd >$log.fd2\"]}"
hook createRuntime "{\"path\": \"/bin/sh\", \"args\": [\"sh\", \"-c\", \"sleep 1000 & echo \$! >$log.left\"]}"
SECRET=42 torpor create --bundle "$b" c </dev/null
! grep -v '^PWD=\|^_=\|^SHLVL=\|^OLDPWD=' "$log" || fail "an environment"
equal "$(cat "$log.fd" "$log.fd2" | tr '\n' ' ')" "0 1 2 3 0 1 2 3 " "descriptors of hooks (3 is the directory that ls reads)"
torpor delete --force c
kill -KILL "$(cat "$log.left")"
plain
hook createRuntime "{\"path\": \"/bin/sh\", \"args\": [\"sh\", \"-c\", \"sleep 4242 & echo \$! >$log; wait\"], \"timeout\": 3}"
create_refuses "did not end within 3 s and was killed"
wait_until 5 eval '[[ $(cat "/proc/$(<"$log")/stat" 2>&1) =~ No\ such|\)\ [ZX] ]]'   # what the hook has started is gone
# more input than a pipe holds, unread
plain
with '.annotations = {"long": ("x" * 300000)}'
hook createRuntime '{"path": "/bin/true"}'
hook poststop "{\"path\": \"/bin/sh\", \"args\": [\"sh\", \"-c\", \"wc -c >$log\"]}"
torpor create --bundle "$b" c </dev/null
torpor delete --force c
[ "$(cat "$log")" -gt 300000 ] || fail "the state is cut"
undo

# a killed create leaves poststop to delete
plain
hook createRuntime "{\"path\": \"/bin/sh\", \"args\": [\"sh\", \"-c\", \"echo \$\$ >$log; exec sleep 1000\"]}"
hook poststop "$(ordered stopped "$log")"
torpor create --bundle "$b" c </dev/null >/dev/null 2>&1 &
creator=$!
wait_until 10 test -s "$log"
kill -KILL "$(pgrep -P $creator torpor || echo $creator)"
kill -KILL "$(cat "$log")"
wait $creator || :
rm "$log"
torpor delete --force c
equal "$(cat "$log")" stopped "poststop after a killed create"

# a restore builds the container anew: the hooks of create run again
plain
for p in createRuntime createContainer poststart poststop; do hook $p "$(ordered $p "$log")"; done
torpor run --detach --bundle "$b" c </dev/null
torpor checkpoint --image-path "$TEST_DIR/images" c
rm "$log"
torpor restore --detach --image-path "$TEST_DIR/images" --bundle "$b" c </dev/null
equal "$(tr '\n' ' ' <"$log")" "createRuntime createContainer " "hooks of a restore"
torpor delete --force c
equal "$(tail -n 1 "$log")" poststop "hooks of a restored container"
