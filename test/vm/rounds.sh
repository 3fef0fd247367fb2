#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Change tracking by soft-dirty bits, which Debian's kernels have.
# timeout: 300
. "${0%/*}/lib_vm.sh"
export TRACK_SEEDS=2
vm '^unit/mem$' '^cr/rounds$' '^cr/track$'
