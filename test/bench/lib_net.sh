# SPDX-License-Identifier: Apache-2.0
# test/bench/run's cases conn1000, conn3000, conn10000: a server with so many established TCP connections, idle, whose clients are not in
# the tree, in a network namespace of its own. criu locks the connections with nftables (by iptables, its default, one takes it 30 ms).

# lock: the lock of a container's network and its end. lock, unlock, both: within a dump of an idle process that leaves it running, by the engine's own log
# (criu's: from "Lock network" and from "Unlock network" to the line that follows, which for the lock includes reading the mounts). Then
# torpor-netlock, whole commands; when that of unlock has ended, packets pass, and a child of it waits until the kernel has freed the table.
lock_times() { # ENGINE LOG WHERE
	if [ "$1" = torpor ]; then
		awk -v where="$3" '/stage: lock took/ { lock = $(NF - 1) * 1000 } /: unlocked in/ { unlock = $(NF - 1) * 1000 }
			END { print lock >(where ".lock"); print unlock >(where ".unlock"); print lock + unlock >(where ".both"); exit !(lock && unlock) }' "$2"
	else
		awk -v where="$3" '{ now = substr($1, 2) * 1e9 }
			from && !/Running network-/ { took[from] = now - since; from = "" }
			/net: (Lock|Unlock) network/ { from = $3; since = now }
			END { print took["Lock"] >(where ".lock"); print took["Unlock"] >(where ".unlock"); print took["Lock"] + took["Unlock"] >(where ".both")
				exit !(took["Lock"] && took["Unlock"]) }' "$2"
	fi
}
lock_round() { # CASE ENGINE - - WHERE
	local cr=${program[$2]} where=$5 holder result=0 netns
	unshare --net sleep 1000 &
	holder=$!
	for _ in {1..500}; do [ "$(cat /proc/$holder/comm)" = sleep ] && break; sleep 0.01; done
	netns=/proc/$holder/ns/net
	conn_inside ip link set lo up
	rm -rf $work/images
	mkdir $work/images
	(
		cd / || exit
		exec nsenter --net="$netns" setsid sleep 1000 </dev/null >/dev/null 2>&1 &
		echo $! >$work/pid
	)
	pid=$(<$work/pid)
	for _ in {1..500}; do [ "$(cat "/proc/$pid/comm")" = sleep ] && break; sleep 0.01; done
	if ! "$cr" dump -t "$pid" -D $work/images -o dump.log -v4 --leave-running --tcp-established --network-lock nftables \
		--external "net[$(stat -Lc %i "$netns")]:box" >$work/output 2>&1; then
		note "$1: $2 dump: $(failure dump.log)"
		result=1
	elif ! lock_times "$2" $work/images/dump.log "$where"; then
		note "$1: $2: its log does not tell when it locks"
		result=1
	elif [ "$2" = torpor ]; then
		"$heartbeat" elapsed "$where.lock-cmd" "$build/bin/torpor-netlock" lock --id bench --netns "$netns" &&
			"$heartbeat" elapsed "$where.free-cmd" "$build/bin/torpor-netlock" unlock --id bench --netns "$netns" || result=1
	else
		touch "$where.lock-cmd" "$where.free-cmd"
	fi
	kill -9 "$pid" $holder
	wait $holder 2>/dev/null
	await_gone "$pid"
	return $result
}

conn_count() { [ "$(cat "$1" 2>/dev/null)" = "$2" ]; }
conn_await() { for _ in {1..3000}; do conn_count "$1" "$2" && return; sleep 0.02; done; return 1; }
conn_inside() { nsenter --net="/proc/$holder/ns/net" "$@"; }

conn_round() { # CASE ENGINE CONNECTIONS - WHERE
	local cr=${program[$2]} where=$5 connections=$build/test/net/connections client how=() holder result=0
	[ "$2" = criu ] && how=(--network-lock nftables)
	unshare --net sleep 1000 &
	holder=$!
	for _ in {1..500}; do [ "$(cat /proc/$holder/comm)" = sleep ] && break; sleep 0.01; done
	conn_inside ip link set lo up
	rm -rf $work/images $work/served $work/held
	mkdir $work/images
	(
		cd / || exit
		exec nsenter --net="/proc/$holder/ns/net" setsid "$connections" serve 127.0.0.1 7000 "$3" $work/served </dev/null >/dev/null 2>&1 &
		echo $! >$work/pid
	)
	pid=$(<$work/pid)
	conn_await $work/served 0
	nsenter --net="/proc/$holder/ns/net" "$connections" hold 127.0.0.1 7000 "$3" $work/held </dev/null >/dev/null 2>&1 &
	client=$!
	if ! { conn_await $work/held 0 && conn_await $work/served "$3"; }; then
		note "$1: $3 connections cannot be made: $(cat $work/held)"
		result=1
	elif ! conn_inside "$heartbeat" elapsed "$where.dump" "$cr" dump -t "$pid" -D $work/images -o dump.log --tcp-established "${how[@]}" >$work/output 2>&1; then
		note "$1: $2 dump: $(failure dump.log)"
		result=1
	elif ! await_gone "$pid"; then
		note "$1: $2: the server is still there after the dump"
		result=1
	elif ! conn_inside "$heartbeat" elapsed "$where.restore" "$cr" restore -D $work/images -o restore.log -d --tcp-established "${how[@]}" >$work/output 2>&1; then
		note "$1: $2 restore: $(failure restore.log)"
		result=1
	elif ! { kill -USR1 $client && conn_await $work/held 1; }; then
		note "$1: $2: after the restore: $(cat $work/held)"
		result=1
	fi
	kill -9 "$pid" $client $holder 2>/dev/null
	wait $client $holder 2>/dev/null
	await_gone "$pid"
	return $result
}
