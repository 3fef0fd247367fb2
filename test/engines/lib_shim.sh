# SPDX-License-Identifier: Apache-2.0
# containerd's shim without containerd. Sourced; then shim_case.py is what its scripts share.
. "${BASH_SOURCE[0]%/*}/../lib.sh"
require_root
require_command /usr/bin/python3 protoc jq
mkdir -p /run/containerd
mount -t tmpfs -o mode=755 containerd /run/containerd
at_exit umount -l /run/containerd
make_bundle busybox "$TEST_DIR/bundle"
/usr/bin/python3 "${0%.sh}.py" "$TEST_DIR"
