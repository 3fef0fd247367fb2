#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Rounds of a program whose memory changes in every way there is (track_random.c): ten pre-dumps, a dump, a restore; and ten increments.
# TRACK_SEEDS is how many seeds (12), TRACK_FROM the first.
# timeout: 600
. "${0%/*}/../lib.sh"
require_root
"$TORPOR_CR" check --feature mem_dirty_track >/dev/null 2>&1 || skip "this kernel cannot track changes"

from=${TRACK_FROM:-$RANDOM} n=${TRACK_SEEDS:-12}
echo "seeds $from to $((from + n - 1))"
export CR_ROUNDS=10
for ((seed = from; seed < from + n; seed++)); do
	variant=rounds
	[ $((seed % 4)) = 0 ] && variant=increments
	"$TEST_TOP/test/cr/run-kind" -w $variant track_random $seed || fail "seed $seed, $variant"
done
