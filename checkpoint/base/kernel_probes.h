/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_KERNEL_PROBES_H
#define BASE_KERNEL_PROBES_H

#include <stdbool.h>

/* Probes of kernel_probes.c, for the table in kernel.c. */
bool probe_aio_remap(void);
bool probe_tun_ns(void);
bool probe_autofs(void);
bool probe_tcp_half_closed(void);
bool probe_nsid(void);
bool probe_link_nsid(void);
bool probe_newifindex(void);
bool probe_nft_program(void);
bool probe_legacy_iptables(void);
bool probe_nftables(void);
bool probe_apparmor_stacking(void);
bool probe_overlayfs_maps(void);
bool probe_breakpoints(void);
bool probe_sk_ns(void);
bool probe_sk_unix_file(void);
bool probe_net_diag_raw(void);
bool probe_sockopt_buf_lock(void);
bool probe_ipv6_freebind(void);

#endif
