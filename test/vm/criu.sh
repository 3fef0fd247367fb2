#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Images of an older CRIU: that of Debian 12 (3.17.1), which saves on Linux 6.1, not on 6.18. It dumps, torpor restores, and the other
# way round; a chain of its pre-dumps (this kernel has soft-dirty bits); through torpor's page server. Only with VM_CRIU, the programs with a dash
# for each blank: "pipe mem_shared-once"; emulated, each takes half a minute and more.
# timeout: 300
. "${0%/*}/../lib.sh"
vm=$TEST_TOP/test/vm/boot
reason=$("$vm" check) || skip "$reason"
"$TEST_TOP/test/peers" has criu-debian || skip "no criu of Debian's own: run test/peers fetch"
[ -n "${VM_CRIU:-}" ] || skip "only with VM_CRIU, a list of programs of test/cr"
programs=$VM_CRIU
# shellcheck disable=SC2086
TORPOR_VM_PEERS=1 "$vm" sh "bash test/vm/criu.job $programs" >"$TEST_DIR/out" || { cat "$TEST_DIR/out"; fail "the virtual machine"; }
cat "$TEST_DIR/out"
! grep -q '^FAILED' "$TEST_DIR/out" || fail "see above"
grep -q '^ok from-3.17' "$TEST_DIR/out" || fail "nothing was tried"
