#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Images of an older CRIU: that of Debian 12 (3.17.1), which saves on Linux 6.1, not on 6.18. It dumps, torpor restores, and the other
# way round; a chain of its pre-dumps (this kernel has soft-dirty bits); through torpor's page server. Only with VM_CRIU, the programs with a dash
# for each blank: "pipe mem_shared-once"; emulated, each takes half a minute and more.
# timeout: 300
. "${0%/*}/../lib.sh"
vm=$TEST_TOP/test/vm/boot
reason=$("$vm" check) || { echo "skipped vm/criu: $reason"; exit 0; }
[ -n "${VM_CRIU:-}" ] || { echo "skipped vm/criu: only with VM_CRIU, a list of programs of test/cr"; exit 0; }
"$TEST_TOP/test/peers" has criu-debian || { echo "skipped vm/criu: no criu of Debian's own: run test/peers fetch"; exit 0; }
TORPOR_VM_PEERS=1 "$vm" sh "bash test/vm/criu.job $VM_CRIU" | sed -E 's,^(ok|FAILED) ([^ ]*) ,\1 vm/criu:\2-,'
