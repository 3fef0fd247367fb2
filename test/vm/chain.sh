#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Rounds by criu, restored by torpor-cr, and the reverse: criu needs soft-dirty bits for them.
# timeout: 300
. "${0%/*}/lib_vm.sh"
if ! reason=$("$TEST_TOP/test/vm/boot" check) || ! "$TEST_TOP/test/peers" has criu; then
	echo "skipped vm/chain: ${reason:-no criu: run test/peers fetch}"
	exit 0
fi
TORPOR_VM_PEERS=1 "$TEST_TOP/test/vm/boot" sh ". /guest/test/vm/lib_chain.sh"
