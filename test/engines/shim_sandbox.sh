#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# containerd's shim without containerd: pods that are the shim's own (shim_sandbox.py).
# timeout: 240
. "${0%/*}/lib_shim.sh"
