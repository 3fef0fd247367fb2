#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A thousand idle connections with keepalive, E2E_CONNECTIONS of them: all are there after either side was saved and restored, and after the container at
# one end has moved to another host with its address.
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_e2e.sh"

n=${E2E_CONNECTIONS-1000}
connections=$TEST_BUILD/test/net/connections
make_srv /build/test/net/connections serve 10.9.0.10 80 "$n" /outside/served
start_srv
wait_until 20 [ -e "$TEST_DIR/outside/served" ]
begin peer "$connections" hold 10.9.0.10 80 "$n" "$TEST_DIR/held"
holder=$begun
wait_until 30 eval '[ "$(cat "$TEST_DIR/held")" = 0 ] && [ "$(cat "$TEST_DIR/outside/served")" = "$n" ]'

rounds=0
all_there() { # WHEN
	rounds=$((rounds + 1))
	kill -USR1 "$holder"
	wait_until 60 eval '[ "$(cat "$TEST_DIR/held")" != $((rounds - 1)) ]'
	equal "$(cat "$TEST_DIR/held")" $rounds "rounds ($1)"
	equal "$(on peer ss -Htn state established dst 10.9.0.10 | wc -l)" "$n" "connections ($1)"
	no_reset "$1"
}
all_there "before"
move_srv a a
all_there "container saved and restored"
again peer "$holder"
all_there "its peer saved and restored"
move_srv a b
sleep 3   # a probe of each
all_there "container moved"
