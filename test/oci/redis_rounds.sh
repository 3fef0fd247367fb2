#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# redis-server in a container through ten rounds of checkpoint and restore in a row: no key is lost, pid and uptime go on, and
# nothing grows.
# timeout: 200
. "${0%/*}/../lib.sh"
require_root
require_command redis-server redis-cli jq

cd "$TEST_DIR"
make_bundle redis redis
delete_at_exit r
redis() { torpor exec r redis-cli "$@"; }
info() { redis info "$1" | tr -d '\r' | sed -n "s/^$2://p"; }
# A client that has just gone is a connection until the server has noticed.
no_clients() { [ -z "$(nsenter --net --target "$(container_pid r)" ss --no-header --tcp state connected exclude time-wait)" ]; }
# Its own: now and then it has a file of /proc open for a moment.
descriptors() { { ls -l "/proc/$1/fd" || :; } 2>/dev/null | grep -- ' -> ' | grep -vc -- ' -> /proc/\|stat$'; }
checkpoint() {
	local i
	for i in {1..20}; do
		wait_until 5 no_clients
		torpor checkpoint --image-path "images.$1" --work-path "log.$1" r >out 2>&1 && return
		sleep 0.2
	done
	fail "round $1: $(cat out)"
}

torpor run --detach --bundle redis r </dev/null >run.out 2>&1 || fail "run: $(cat run.out)"
wait_until 10 redis ping
pid=$(info server process_id) uptime=$(info server uptime_in_seconds) keys=0
for round in {1..10}; do
	seq $((keys + 1)) $((keys + 2000)) | awk '{ printf "SET key:%d value-%d-%d\r\n", $1, $1, $1 * 7919 }' >redis/rootfs/data/writes
	keys=$((keys + 2000))
	shows 'errors: 0' torpor exec r sh -c 'redis-cli --pipe </data/writes' || fail "writing the keys of round $round"
	redis incr rounds >/dev/null
	checkpoint "$round"
	refuses "does not exist" torpor state r
	torpor restore --detach --image-path "images.$round" --work-path "log.$round" --bundle redis r </dev/null >run.out 2>&1 ||
		fail "restore $round: $(cat run.out)"
	equal "$(container_status r)" running
	equal "$(redis ping)" PONG
	equal "$(redis dbsize)" $((keys + 1)) "keys after round $round"
	equal "$(redis get rounds)" "$round" "the counter"
	equal "$(info server process_id)" "$pid" "the server's pid"
	now=$(info server uptime_in_seconds)
	[ "$now" -ge "$uptime" ] || fail "the uptime went from $uptime to $now"
	uptime=$now
	wait_until 5 no_clients
	maps=$(wc -l <"/proc/$(container_pid r)/maps") fds=$(descriptors "$(container_pid r)")
	[ "$round" != 1 ] || first_maps=$maps first_fds=$fds
	rm -rf "images.$((round - 1))"
done
[ "$maps" -le $((first_maps + 8)) ] || fail "$first_maps mappings have become $maps"
equal "$fds" "$first_fds" "descriptors"
seq $keys | awk '{ printf "%s key:%d%s", NR % 100 == 1 ? "MGET" : "", $1, NR % 100 ? "" : "\n" }' >redis/rootfs/data/reads
torpor exec r sh -c 'redis-cli </data/reads' >answers
cmp answers <(seq $keys | awk '{ printf "value-%d-%d\n", $1, $1 * 7919 }') || fail "a key is lost or changed"
torpor delete --force r
