#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# make demo: two containers are checkpointed, are gone, and go on where they stopped.
set -eEuo pipefail
build=$(realpath "${1:-build}")
here=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" = 0 ] || { echo "The demo runs containers: please start it as root."; exit 1; }

TORPOR=$build/bin/torpor TEST_DIR=$(mktemp -d /tmp/torpor-demo-XXXXXX)
TEST_STATE=$TEST_DIR/state TEST_CGROUP=/torpor-demo-$$
# For make_bundle and the like.
# shellcheck source=test/lib.sh
. "$here/lib.sh"
cd "$TEST_DIR"

bold= plain=
[ -t 1 ] && bold=$'\e[1m' plain=$'\e[0m'
say() { printf '%s\n' "$bold$*$plain"; }
show() { printf '    %s\n' "$*"; }
ms_since() { echo $(((${EPOCHREALTIME/./} - $1) / 1000)); }
now() { echo "${EPOCHREALTIME/./}"; }

clean_up() {
	local c
	for c in counter redis; do torpor delete --force $c 2>/dev/null || :; done
	find /sys/fs/cgroup -maxdepth 3 -type d -name "${TEST_CGROUP#/}" -exec rmdir {} + 2>/dev/null || :
	rm -rf --one-file-system "$TEST_DIR"
}
at_exit clean_up

checkpoint() {
	local began
	began=$(now)
	torpor checkpoint --image-path "$TEST_DIR/$1.images" --work-path "$TEST_DIR" "$1"
	show "checkpointed in $(ms_since "$began") ms: $(du -sh "$1.images" | cut -f1) in $(ls "$1.images" | wc -l) images"
	if torpor state "$1" >/dev/null 2>&1; then fail "the container $1 is still there"; fi
	show "the container is gone: \`torpor state $1\` finds nothing"
}
restore() {
	local began
	began=$(now)
	torpor restore --detach --image-path "$TEST_DIR/$1.images" --work-path "$TEST_DIR" --bundle "$TEST_DIR/$1" "$1" \
		</dev/null >>"$1.out" 2>&1 || { cat "$1.out"; fail "restore of $1"; }
	show "restored in $(ms_since "$began") ms: pid $(container_pid "$1") on the host, $(container_status "$1")"
}

# -- a shell that counts ----------------------------------------------------------------------------------------------------

act_counter() {
	local last
	say "1. A shell in a container counts"
	make_bundle busybox counter sh -c 'i=0; while :; do i=$((i+1)); echo $i >>/count; sleep 0.05; done'
	torpor run --detach --bundle counter counter </dev/null >counter.out 2>&1 || { cat counter.out; fail "run"; }
	show "running: pid $(container_pid counter) on the host"
	wait_until 10 grep -q '^20$' counter/rootfs/count
	checkpoint counter
	last=$(tail -n 1 counter/rootfs/count)
	show "the last number is $last; a second goes by"
	sleep 1
	[ "$(tail -n 1 counter/rootfs/count)" = "$last" ] || fail "something still counts"
	restore counter
	wait_until 10 grep -q "^$((last + 20))\$" counter/rootfs/count
	torpor delete --force counter
	last=$(wc -l <counter/rootfs/count)
	cmp <(seq "$last") counter/rootfs/count || fail "a number was lost or repeated"
	show "it went on: 1 to $last, no number lost or repeated"
}

# -- redis ------------------------------------------------------------------------------------------------------------------

KEYS=100000
redis() { torpor exec redis redis-cli "$@"; }
# A client that has just gone is a connection until the server has noticed.
no_clients() { [ -z "$(nsenter --net --target "$(container_pid redis)" ss --no-header --tcp state connected exclude time-wait)" ]; }
info() { redis info server | tr -d '\r' | sed -n "s/^$1://p"; }

up_for() { [ "$(info uptime_in_seconds)" -ge "$1" ]; }

act_redis() {
	local pid before after
	say "2. redis-server in a container with its own network namespace, $KEYS keys"
	make_bundle redis redis
	torpor run --detach --bundle redis redis </dev/null >redis.out 2>&1 || { cat redis.out; fail "run"; }
	wait_until 10 redis ping
	seq $KEYS | awk '{ printf "SET key:%d value-%d-%d\r\n", $1, $1, $1 * 7919 }' >redis/rootfs/data/writes
	seq $KEYS | awk '{ printf "%s key:%d%s", NR % 100 == 1 ? "MGET" : "", $1, NR % 100 ? "" : "\n" }' >redis/rootfs/data/reads
	seq $KEYS | awk '{ printf "value-%d-%d\n", $1, $1 * 7919 }' >expected
	torpor exec redis sh -c 'redis-cli --pipe </data/writes' | grep -q 'errors: 0' || fail "writing the keys"
	wait_until 10 up_for 2
	pid=$(info process_id) before=$(info uptime_in_seconds)
	show "running: pid $(container_pid redis) on the host, $pid in the container; $(redis dbsize) keys, up for $before s"
	wait_until 5 no_clients
	checkpoint redis
	restore redis
	redis ping >/dev/null
	torpor exec redis sh -c 'redis-cli </data/reads' >answers
	cmp answers expected || fail "a key is lost or changed"
	after=$(info uptime_in_seconds)
	[ "$(info process_id)" = "$pid" ] || fail "another pid"
	[ "$after" -ge "$before" ] && [ "$after" -le $((before + 120)) ] || fail "uptime went from $before to $after s"
	show "all $(wc -l <answers) keys read back and compared; pid $pid in the container as before; up for $after s"
	torpor delete --force redis
}

act_counter
act_redis
say "Done."
