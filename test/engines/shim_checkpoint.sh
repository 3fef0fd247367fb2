#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# containerd's shim without containerd: checkpoints, restores, rounds, lazy ones (shim_checkpoint.py).
# timeout: 240
. "${0%/*}/lib_shim.sh"
