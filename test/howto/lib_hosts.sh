# SPDX-License-Identifier: Apache-2.0
# Two "hosts" for the how-to tests: network and mount namespaces, a and b, joined by a veth pair (10.77.0.1 and 10.77.0.2), each with a
# disk of its own at $disk (a tmpfs). `on a COMMAND…` runs a command there. `copy a b NAME` sends a directory of the disk over the wire.
# With own_pids=1 each has process numbers of its own, too.
. "${0%/*}/../lib.sh"
require_root
require_command ip python3 tar nsenter

below_reaper

new_tmpdir disk
declare -A host_pid
make_host() { # NAME
	if [ -n "${own_pids-}" ]; then
		unshare --mount --net --pid --fork --mount-proc --kill-child "$TEST_BUILD/test/cr/reaper" sleep 1000 </dev/null >/dev/null 2>&1 &
		at_exit kill -9 $!
		wait_until 5 eval "grep -q . /proc/$!/task/$!/children"
		host_pid[$1]=$(tr -d ' ' </proc/$!/task/$!/children)
		wait_until 5 eval "[ \"\$(cat /proc/${host_pid[$1]}/comm)\" = reaper ]"
	else
		unshare --mount --net sleep 1000 </dev/null >/dev/null 2>&1 &
		host_pid[$1]=$!
		at_exit kill -9 $!
		wait_until 5 eval "[ \"\$(readlink /proc/$!/ns/net)\" != \"\$(readlink /proc/self/ns/net)\" ]"
		wait_until 5 eval "[ \"\$(cat /proc/$!/comm)\" = sleep ]"
	fi
	on "$1" mount -t tmpfs host "$disk"
	# What comes from a has numbers that nothing on b has.
	[ "$1${own_pids-}" != a1 ] || on a sh -c 'echo 20000 >/proc/sys/kernel/ns_last_pid'
	on "$1" ip link set lo up
}
on() { # HOST COMMAND…
	nsenter --target "${host_pid[$1]}" --mount --net ${own_pids:+--pid} -- "${@:2}"
}
# On a: a program that writes its memory and compares it with a shadow (test/cr/track_random.c), in directory $work; its number is $pid.
writer() { # SEED
	(cd "$work" && TRACK_SEED=$1 exec nsenter --target "${host_pid[a]}" --mount --net -- \
		setsid "$TEST_BUILD/test/cr/track_random" "$work/ready" </dev/null >/dev/null 2>&1) &
	wait_until 20 [ -e "$work/ready" ]
	pid=$(pgrep --oldest -f "track_random $work/ready")
}
make_host a
make_host b
ip link add name host-a netns "${host_pid[a]}" type veth peer name host-b netns "${host_pid[b]}" || skip "no veth devices here"
on a ip addr add 10.77.0.1/24 dev host-a
on b ip addr add 10.77.0.2/24 dev host-b
on a ip link set host-a up
on b ip link set host-b up

copy() { # FROM TO NAME
	local address=10.77.0.2 port=$((20000 + RANDOM % 10000))
	[ "$2" = a ] && address=10.77.0.1
	on "$2" python3 -c "
import socket, subprocess
s = socket.create_server(('$address', $port))
c = s.accept()[0]
raise SystemExit(subprocess.call(['tar', '-C', '$disk', '-x'], stdin=c.fileno()))" &
	local receiver=$!
	on "$1" python3 -c "
import socket, subprocess, time
for i in range(3000):
    try:
        c = socket.create_connection(('$address', $port))
        break
    except OSError:
        time.sleep(0.02)
raise SystemExit(subprocess.call(['tar', '-C', '$disk', '-c', '$3'], stdout=c.fileno()))"
	wait $receiver
}
