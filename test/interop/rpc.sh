#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# CRIU's own client library for Python against torpor-cr swrk and torpor-cr service.
# timeout: 120
. "${0%/*}/../lib.sh"

require_root
require_command jq
python=$(realpath "${0%/*}/..")/peers
"$python" has python3 >/dev/null 2>&1 || skip "there is no newer python3-pycriu: test/peers fetch"
new_tmpdir work
"$TORPOR_CR" service --work-dir "$work" --address "$work/socket" --daemon --pidfile "$work/pid" -o service.log || fail "the service does not start"
at_exit kill "$(cat "$work/pid")"
"$TORPOR_CR" service --work-dir "$work" --address "$work/pid" 2>"$work/err" && fail "the service replaced a file"
grep -q 'no socket' "$work/err" || fail "another reason: $(cat "$work/err")"
# For a while it has no descriptor for a connection. (accept() that waits already has one for the next.)
pid=$(cat "$work/pid")
limit=$(prlimit --pid "$pid" --nofile --output SOFT --noheadings | tr -d ' ')
prlimit --pid "$pid" --nofile=3:   # 0 to 2 are open
"$python" run python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect(sys.argv[1])' "$work/socket"
wait_until 10 grep -q "cannot be accepted: Too many open files" "$work/service.log"
prlimit --pid "$pid" --nofile="$limit:"
result=$(timeout $((100 * ${TEST_PATIENCE:-1})) "$python" run python3 "${0%/*}/rpc.py" "$TORPOR_CR" "$work/socket" "$work" 2>&1) || fail "$result"
equal "$(tail -n 1 <<<"$result")" ok "the client's last word"
