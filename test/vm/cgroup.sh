#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cgroup v2 alone, with all its controllers.
# timeout: 500
. "${0%/*}/lib_vm.sh"
vm '^unit/(kernel|cgroup|limits)$' '^oci/(cgroup|update|events|lifecycle)$'
