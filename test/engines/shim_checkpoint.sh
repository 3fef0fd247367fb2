#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# containerd's shim without containerd: checkpoints, restores, rounds, lazy ones (shim_checkpoint.py).
# timeout: 240
. "${0%/*}/../lib.sh"
require_root
require_command /usr/bin/python3 protoc jq
mkdir -p /run/containerd
mount -t tmpfs -o mode=755 containerd /run/containerd
at_exit umount -l /run/containerd
make_bundle busybox "$TEST_DIR/bundle"
/usr/bin/python3 "${0%/*}/shim_checkpoint.py" "$TEST_DIR"
