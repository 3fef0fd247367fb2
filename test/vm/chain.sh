#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Rounds by criu, restored by torpor-cr, and the reverse: criu needs soft-dirty bits for them. Lazy migration from criu to torpor-cr, and the
# reverse: criu's lazy dump serves there, not on Linux 6.18.
# timeout: 500
. "${0%/*}/lib_vm.sh"
if ! reason=$("$TEST_TOP/test/vm/boot" check) || ! "$TEST_TOP/test/peers" has criu; then
	echo "skipped vm/chain: ${reason:-no criu: run test/peers fetch}"
	exit 0
fi
TORPOR_VM_PEERS=1 "$TEST_TOP/test/vm/boot" sh "(. test/vm/lib_chain.sh); chains=\$?; bash test/vm/lazy.job && exit \$chains"
