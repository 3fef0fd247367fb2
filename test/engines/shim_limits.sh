#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# containerd's shim without containerd: clients and requests that are not as they should be, descriptors that run out, a shim that is told to end
# or killed (shim_limits.py).
# timeout: 240
. "${0%/*}/../lib.sh"
require_root
require_command /usr/bin/python3 protoc jq
mkdir -p /run/containerd
mount -t tmpfs -o mode=755 containerd /run/containerd
at_exit umount -l /run/containerd
make_bundle busybox "$TEST_DIR/bundle"
/usr/bin/python3 "${0%/*}/shim_limits.py" "$TEST_DIR"
