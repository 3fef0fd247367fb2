/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOKS_NETLOCK_PRIVATE_H
#define HOOKS_NETLOCK_PRIVATE_H

#include <stdint.h>

#include "base/netlink_batch.h"
#include "checkpoint.h"

/* netlock_rules.c: requests of a transaction. The user data by which a table is known as a lock. */
extern const unsigned char nft_comment[22];
void nft_put_table(struct netlink_batch *b, const char *table, bool create);   /* else: delete */
void nft_put_lock(struct netlink_batch *b, const char *table, const struct ck_lock *l);

uint64_t netlock_hash(const char *text);
int netlock_clean_nft(int netns);        /* returns how many there were */
int netlock_clean_iptables(int netns);   /* 0 where its programs are not installed */

#endif
