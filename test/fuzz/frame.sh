#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ttrpc's frames from libFuzzer: FUZZ_SECONDS of it (5), from seed FUZZ_SEED (1).
# timeout: 280
. "${0%/*}/../lib.sh"
require_command clang
cd "$TEST_TOP"
echo 'int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n); int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n) { return !d && n; }' >"$TEST_DIR/t.c"
clang -fsanitize=fuzzer,address,undefined "$TEST_DIR/t.c" -o "$TEST_DIR/t" 2>/dev/null || skip "clang has no libFuzzer (package libclang-rt-14-dev)"
make -s "O=$TEST_BUILD" "$TEST_BUILD/fuzz/frame"
mkdir "$TEST_DIR/corpus"
printf '\3\0\0\0\4\0\0\0\1\1\0abcd\0\0\0\0\0\0\0\3\1\0\0\0\0\1\0\0\0\5\3\4x' >"$TEST_DIR/corpus/three"
printf '\1\377\377\377\377\0\0\0\1\1\0abcd' >"$TEST_DIR/corpus/huge"
"$TEST_BUILD/fuzz/frame" -seed="${FUZZ_SEED-1}" -max_total_time="${FUZZ_SECONDS-5}" -max_len=4096 -timeout=10 -rss_limit_mb=512 -print_final_stats=1 \
	-artifact_prefix="$TEST_DIR/" "$TEST_DIR/corpus" >"$TEST_DIR/log" 2>&1 || { tail -n 40 "$TEST_DIR/log"; fail "it crashes"; }
grep 'Done\|number_of_executed_units' "$TEST_DIR/log"
