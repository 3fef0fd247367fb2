#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# containerd's shim without containerd: every method of the task service, events, streams, ends (shim_api.py).
# timeout: 240
. "${0%/*}/lib_shim.sh"
