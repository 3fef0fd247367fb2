#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A container whose checkpoint fails runs on, and all commands work on it. A restore that fails leaves nothing: no process, no cgroup, no
# mount, no state, no pid file.
# timeout: 200
. "${0%/*}/lib.sh"

fast_directory work
bundle=$work/bundle images=$work/images file=$work/dir/status
make_bundle busybox "$bundle" sh -c 'exec 5>>/var/log/file   # open in the child from its first moment
	sleep 100000 &
	exec 5>&-
	connect() {
		while [ ! -e /outside/connect ]; do sleep 1; done
		sleep 1000 | nc -l -p 4711 >/dev/null &
		until grep -q ":1267 0*:0000 0A" /proc/net/tcp /proc/net/tcp6; do sleep 0.1; done   # it listens
		sleep 1000 | nc 127.0.0.1 4711
	}
	connect &
	exec /worker /outside/status tree'
copy_program "$bundle/rootfs" "$TOOLS/worker"
install "$TOOLS/worker" "$bundle/rootfs/worker"
mkdir "$work/dir"
configure "$bundle" '.mounts += [{destination: "/outside", type: "bind", source: $dir, options: ["bind", "rw"]}]' --arg dir "$work/dir"
cgroups() { find_groups -mindepth 1 -maxdepth 4 -type d -path "*${TEST_CGROUP#/}/*"; }
mounts=$(cut -d' ' -f5 /proc/self/mountinfo)
delete_at_exit c

start() {
	rm -f "$file"
	torpor run --detach --bundle "$bundle" c </dev/null >"$work/out" 2>&1 || fail "run: $(cat "$work/out")"
	wait_until 10 "$TOOLS/worker" "$file" watch 1
}

# -- checkpoints that fail -------------------------------------------------------------------------------------------------------
# must_fail TEXT WHAT [OPTION…]
must_fail() {
	local text=$1 what=$2 status=0 init
	shift 2
	init=$(container_pid c)
	timeout 60 "$TORPOR" --root "$TEST_STATE" checkpoint --image-path "$images" --work-path "$work/log" "$@" c >"$work/out" 2>&1 || status=$?
	[ $status = 1 ] || fail "$what: status $status: $(cat "$work/out")"
	[[ $(cat "$work/out") == *"$text"* ]] || fail "$what: no \"$text\" in: $(cat "$work/out")"
	goes_on "$what" "$init"
}
goes_on() { # WHAT INIT
	equal "$(container_status c)" running "state, $1"
	equal "$(container_pid c)" "$2" "init, $1"
	equal "$(torpor exec c echo works)" works "exec, $1"
	worker_goes_on "$file" "$1"
}
start
for ((n = 3; ; n += 2)); do
	mkdir -p "$work/small"
	mount -t tmpfs -o nr_inodes=$n small "$work/small"
	init=$(container_pid c)
	if torpor checkpoint --leave-running --image-path "$work/small/images" --work-path "$work/log" c >"$work/out" 2>&1; then
		umount "$work/small"
		break
	fi
	equal "$(find "$work/small" ! -type d)" "" "left by a checkpoint that failed ($n inodes)"
	must_fail "" "$n inodes" --image-path "$work/small/images"
	umount "$work/small"
done
[ $n -gt 20 ] || fail "succeeded with $n inodes"
mount -t tmpfs -o ro small "$work/small"
must_fail "Read-only file system" "a read-only directory" --image-path "$work/small/images"
must_fail "Read-only file system" "a read-only work directory" --work-path "$work/small/log"
umount "$work/small"
must_fail "Not a directory" "a file" --image-path "$file"

mkfifo "$work/fifo"
"$TOOLS/tracer" "$(container_pid c)" <"$work/fifo" >"$work/tracer" &
tracer=$!
exec 9>"$work/fifo"
wait_until 5 grep -q traced "$work/tracer"
must_fail "is traced by process $tracer (tracer)" "traced by another"
exec 9>&-
wait $tracer

# A resource that cannot be saved.
touch "$work/dir/connect"
# Both ends, each a descriptor of its program: none waits to be accepted.
connected() { [ "$(nsenter --net --target "$(container_pid c)" ss --no-header --tcp --processes state established | grep -c '4711 .*"nc"')" = 2 ]; }
if command -v nsenter >/dev/null && command -v ss >/dev/null; then
	wait_until 10 connected
	must_fail "tcp" "a connection"
	grep -q 'task [0-9]* (nc), descriptor [0-9]*' "$work/out" || fail "task and descriptor are not named: $(cat "$work/out")"
	connected || fail "the connection is gone"
fi
[ ! -e "$images/inventory.img" ] || fail "an image was left"
rm "$work/dir/connect"
torpor exec --detach c tail -f /dev/null </dev/null >/dev/null 2>&1 || fail "exec of tail"
wait_until 10 pgrep -x tail   # the kernel gives the name after it has closed what tells the runtime of the execve
must_fail "(tail) is in the container but does not descend from its first process" "a process brought in by exec"
torpor exec c killall tail

# A paused container stays paused.
torpor pause c
status=0
torpor checkpoint --image-path "$work/dir/status" --work-path "$work/log" c >"$work/out" 2>&1 && fail "checkpointed into a file"
mount -t tmpfs -o nr_inodes=12 small "$work/small"
torpor checkpoint --image-path "$work/small/images" --work-path "$work/log" c >"$work/out" 2>&1 && fail "checkpointed with 12 inodes"
umount "$work/small"
equal "$(container_status c)" paused "a container that was paused"
torpor resume c
goes_on "paused, a checkpoint that failed, resumed" "$(container_pid c)"
torpor delete --force c

# Its init dies in the middle.
start
checkpoint=("$TORPOR" --root "$TEST_STATE" checkpoint --leave-running --image-path "$work/other" --work-path "$work/log" c)
us=$(median_us "${checkpoint[@]}")
succeeded=0
for ((i = 0; i < 20 * ROUNDS; i++)); do
	[ -e "$TEST_STATE/c" ] || start
	rm -rf "$work/other"
	random_below "$us"
	timeout 60 "$TOOLS/killafter" -v "$(container_pid c)" $((random + 1)) "${checkpoint[@]}" >"$work/outcome" 2>"$work/out" || fail "init died: hangs"
	case $(<"$work/outcome") in
	"exit 0") succeeded=$((succeeded + 1)) ;;
	"exit 1") [ ! -e "$work/other/inventory.img" ] || fail "init died: images were left" ;;
	*) fail "init died: $(<"$work/outcome"): $(cat "$work/out")" ;;
	esac
	torpor delete --force c || fail "delete after init's death"
	equal "$(cgroups)" "" "cgroups after init's death"
done
echo "init died: $succeeded checkpoints of $i succeeded"

# -- restores that fail ----------------------------------------------------------------------------------------------------------
start
torpor checkpoint --image-path "$images" --work-path "$work/log" c || fail "checkpoint: $(cat "$work/log/dump.log")"
nothing_left() { # WHAT
	wait_until 5 eval '[ -z "$(made)" ]'
	equal "$(cgroups)" "" "cgroups, $1"
	equal "$(ls -A "$TEST_STATE")" "" "the state directory, $1"
	equal "$(cut -d' ' -f5 /proc/self/mountinfo)" "$mounts" "mounts, $1"
	[ ! -e "$work/pidfile" ] || fail "$1: a pid file was left"
}
nothing_left "before"
mounts=$(cut -d' ' -f5 /proc/self/mountinfo)
restore() {
	timeout 60 "$TORPOR" --root "$TEST_STATE" restore --detach --image-path "$images" --work-path "$work/log" --bundle "$bundle" \
		--pid-file "$work/pidfile" "$@" c </dev/null >"$work/out" 2>&1
}
refused() { # TEXT WHAT [OPTION…]
	local status=0
	restore "${@:3}" || status=$?
	[ $status = 1 ] || fail "$2: status $status: $(cat "$work/out")"
	[[ $(cat "$work/out") == *"$1"* ]] || fail "$2: no \"$1\" in: $(cat "$work/out")"
	nothing_left "$2"
}
refused_with() { # JQ-FILTER TEXT: another config.json
	cp "$bundle/config.json" "$work/config.json"
	configure "$bundle" "$1"
	refused "$2" "with $1"
	cp "$work/config.json" "$bundle/config.json"
}
refused "no checkpoint" "no images" --image-path "$work/dir"
refused "" "no bundle" --bundle "$work/dir"
refused "" "a pid file in no directory" --pid-file "$work/no/such"
refused_with '.linux.namespaces |= map(select(.type != "pid"))' "pid namespace"
refused_with '.linux.namespaces |= map(select(.type != "network"))' "network namespace"
refused_with '.mounts |= map(select(.destination != "/outside"))' "/outside"
refused_with '.root.readonly = true' "/var/log/file"
refused_with '.root.path = "nowhere"' "nowhere"
refused_with '.mounts += [{destination: "/mnt", type: "bind", source: "/no/such/source", options: ["bind"]}]' "/no/such/source"
mv "$bundle/rootfs/worker" "$work/worker"
refused "/worker" "a program that is missing"
head -c 1000 "$work/worker" >"$bundle/rootfs/worker"
chmod 755 "$bundle/rootfs/worker"
refused "/worker" "a program of another size"
mv "$work/worker" "$bundle/rootfs/worker"
echo more >>"$bundle/rootfs/var/log/file"
refused "has 5 bytes now, it had 0" "a file of another size"
: >"$bundle/rootfs/var/log/file"

# Images that are damaged at random (restore_corrupt.sh has more of them).
base=$((${FAULT_SEED:-0} * 1000000)) restored=0 whole=$images
images=$work/damaged
cp "$file" "$work/status.before"
for ((i = 0; i < 60 * ROUNDS; i++)); do
	rm -rf "$images"
	cp -r "$whole" "$images"
	files=("$images"/*)
	random_below ${#files[@]}
	what=$("$TOOLS/corrupt" $((base + i)) "${files[random]}") || what="nothing"
	status=0
	restore || status=$?
	case $status in
	0)
		restored=$((restored + 1))
		torpor delete --force c || fail "delete, $what"
		rm -f "$work/pidfile"
		;;
	1) [ -s "$work/out" ] || fail "fails without a word: $what" ;;
	*) fail "seed $i: the engine ends with status $status ($what): $(cat "$work/out")" ;;
	esac
	nothing_left "seed $i: $what"
done
echo "damaged images: $restored of $i restored"
images=$whole
cat "$work/status.before" >"$file"

# An id that is taken: that container is not harmed.
restore || fail "restore: $(cat "$work/out")"
init=$(container_pid c)
equal "$(cat "$work/pidfile")" "$init" "the pid file"
status=0
restore || status=$?
[ $status = 1 ] && grep -q "already exists" "$work/out" || fail "restored twice: $(cat "$work/out")"
goes_on "a restore with an id that is taken" "$init"
torpor delete --force c
rm "$work/pidfile"
nothing_left "at the end"
