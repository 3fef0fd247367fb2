#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a client may send to the shim, from libFuzzer: FUZZ_SECONDS of it (5), from seed FUZZ_SEED (1).
# timeout: 280
. "${0%/*}/../lib.sh"
require_command clang
cd "$TEST_TOP"
echo 'int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n); int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n) { return !d && n; }' >"$TEST_DIR/t.c"
clang -fsanitize=fuzzer,address,undefined "$TEST_DIR/t.c" -o "$TEST_DIR/t" 2>/dev/null || skip "clang has no libFuzzer (package libclang-rt-14-dev)"
make -s "O=$TEST_BUILD" "$TEST_BUILD/fuzz/ttrpc"
mkdir "$TEST_DIR/corpus"
# Requests of each method, an unknown one, one that is too large.
printf '\11\0\0\0\10\0\0\0\1\1\0\12\1s\22\1a\32\0\0\0\0\10\0\0\0\3\1\0\12\1s\22\1b\32\0\0\0\0\10\0\0\0\5\1\0\12\1s\22\1c\32\0\0\0\0\3\0\0\0\7\1\0\12\1s' >"$TEST_DIR/corpus/calls"
printf '\377\0\0\0\54\0\0\0\1\1\0\12\1s\22\1a\32\44\72\42\12\36containerd.runc.v1.Options!!!!!\22\0' >"$TEST_DIR/corpus/options"
printf '\1\377\377\377\377\0\0\0\1\1\0abcd' >"$TEST_DIR/corpus/huge"
"$TEST_BUILD/fuzz/ttrpc" -seed="${FUZZ_SEED-1}" -max_total_time="${FUZZ_SECONDS-5}" -max_len=4096 -timeout=10 -rss_limit_mb=512 -print_final_stats=1 \
	-artifact_prefix="$TEST_DIR/" "$TEST_DIR/corpus" >"$TEST_DIR/log" 2>&1 || { tail -n 40 "$TEST_DIR/log"; fail "it crashes"; }
grep 'Done\|number_of_executed_units' "$TEST_DIR/log"
