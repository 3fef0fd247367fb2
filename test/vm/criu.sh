#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Images of an older CRIU: that of Debian 12 (3.17.1), which saves on Linux 6.1, not on 6.18. It dumps, torpor restores, and the other
# way round; a chain of its pre-dumps (this kernel has soft-dirty bits); its pages through torpor's page server.
#
# VM_CRIU is another list of WAY:PROGRAM (see criu.job), each 5 to 15 seconds: "from:epoll from:pty-plain chain:mem_shared server:threads".
# timeout: 500
. "${0%/*}/../lib.sh"
vm=$TEST_TOP/test/vm/boot
reason=$("$vm" check) || { echo "skipped vm/criu: $reason"; exit 0; }
"$TEST_TOP/test/peers" has criu-debian || { echo "skipped vm/criu: no criu of Debian's own: run test/peers fetch"; exit 0; }
TORPOR_VM_SECONDS=$((480 * ${TEST_PATIENCE:-1})) TORPOR_VM_PEERS=1 "$vm" sh "bash test/vm/criu.job ${VM_CRIU:-from:pipe server:regs from:tcp-contents-4 chain:mem_anon}" | sed -E 's,^(ok|FAILED|skipped) ,\1 vm/criu:,'
