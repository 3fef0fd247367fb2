#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Linux 6.1: no PAGEMAP_SCAN, PROCMAP_QUERY, statmount, pidfds of threads. A handful of kinds there.
# timeout: 500
. "${0%/*}/lib_vm.sh"
vm '^net/devices$' '^cr/(threads|tree|mem_file|mem_shared|signals|restart-poll|regular|pipe|epoll|unix_connected|tcp_listen|posix_timer)$' '^cr/threads-(lazy|container)$'
