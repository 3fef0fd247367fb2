#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# containerd's shim without containerd: clients and requests that are not as they should be, descriptors that run out, a shim that is told to end
# or killed (shim_limits.py).
# timeout: 240
. "${0%/*}/lib_shim.sh"
