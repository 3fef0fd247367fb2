#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A stream as of a terminal, a byte every 10 ms each way, goes on when either side is saved and restored, and when the container at one end
# moves to another host with its address.
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_e2e.sh"

make_srv python3 /tree/test/net/talk.py serve 10.9.0.10 22
start_srv
wait_until 20 eval '[ -n "$(on a ss -Htln "sport = :22")" ]'
begin peer python3 "$TALK" ask 10.9.0.10 22 "$TEST_DIR/answers"
asker=$begun
wait_until 10 test -e "$TEST_DIR/answers"
goes_on "$TEST_DIR/answers"

move_srv a a
goes_on "$TEST_DIR/answers"
no_reset "container saved and restored"
again peer "$asker"
goes_on "$TEST_DIR/answers"
no_reset "its peer saved and restored"
move_srv a b
goes_on "$TEST_DIR/answers"
no_reset "container moved"
move_srv b a
goes_on "$TEST_DIR/answers"
no_reset "container moved back"
