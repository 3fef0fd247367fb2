#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Change tracking by soft-dirty bits, which Debian's kernels have.
# timeout: 420
. "${0%/*}/lib_vm.sh"
export TRACK_SEEDS=2 TORPOR_VM_SECONDS=400
vm '^unit/mem(_scan)?$' '^cr/rounds$' '^cr/track$'
