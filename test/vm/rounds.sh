#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Change tracking by soft-dirty bits, which Debian's kernels have.
# timeout: 500
. "${0%/*}/lib_vm.sh"
export TRACK_SEEDS=2
vm '^unit/mem(_scan)?$' '^cr/rounds$' '^cr/track$'
