/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOKS_NETLOCK_H
#define HOOKS_NETLOCK_H

#include <stdbool.h>
#include <stddef.h>

#include "checkpoint.h"

/* The lock of the network: what the engine does at network-lock and network-unlock unless it is told otherwise, and torpor-netlock. A lock
 * is in force until it is taken away, whatever becomes of who made it. */
#define NETLOCK_MARK 0xC114   /* packets with this mark pass: those of sockets that CRIU or torpor work with */

extern const struct ck_lock_method netlock_nftables, netlock_iptables;

/* "nftables", "iptables", "skip" and "none" (the last two: NULL is found); NULL: nftables. */
int netlock_find(const char *name, const struct ck_lock_method **method);

/* The locks of nftables in a network namespace (-1: this one), by their names. */
int netlock_list(int netns, int (*each)(void *arg, const char *name, bool whole), void *arg);
/* Removes all of them; those of iptables as well, where its programs are. Returns how many there were, or -errno. */
int netlock_clean(int netns);

/* "10.0.0.1:80,10.0.0.2:1234" (this side, the other), "[fd00::1]:80,[fd00::2]:1234". */
int netlock_parse_flow(const char *text, struct ck_flow *flow);

#endif
