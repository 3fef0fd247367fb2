#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# contrib/hooks: what the examples do, run as the engine runs them.
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_net.sh"
require_command nft
ip link set lo up
hooks=$TEST_TOP/contrib/hooks
export TORPOR_ID=c+1

# A veth between this host and a container.
new_host box
ip link add host0 type veth peer name eth0 netns "$box_pid"
ip address add 10.9.0.2/24 dev host0
ip link set host0 up
on box ip address add 10.9.0.1/24 dev eth0
on box ip link set eth0 up
in_background box "$TALK" serve 10.9.0.1 80
"$TALK" ask 10.9.0.1 80 "$TEST_DIR/a" &
at_exit kill -9 $!
goes_on "$TEST_DIR/a"
action() { CRTOOLS_SCRIPT_ACTION=$1 CRTOOLS_INIT_PID=$box_pid "$hooks/$2"; }
before=$(nft list ruleset)
for point in pre-dump network-lock network-lock post-dump; do action $point veth-lock; done
stands_still "$TEST_DIR/a"
action network-unlock veth-lock
action network-unlock veth-lock
goes_on "$TEST_DIR/a"
equal "$(nft list ruleset)" "$before" "the rules"

# An address that comes and goes.
printf '%s\n' 'c+1 10.8.0.7/24 host0' 'c+1 fd08::7/64 host0' 'c+12 10.8.0.8/24 host0' >"$TEST_DIR/addresses"
export TORPOR_ADDRESSES=$TEST_DIR/addresses
action pre-restore move-address
action post-restore move-address
addresses() { ip -o address show dev host0 | awk '{ print $4 }' | grep -E '^(10\.8|fd08)' | sort | tr '\n' ' '; }
equal "$(addresses)" "10.8.0.7/24 fd08::7/64 " "the addresses (none of another container's)"
action post-dump move-address
equal "$(addresses || :)" "" "the addresses afterwards"
