#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The kernel's netlink answers from libFuzzer: FUZZ_SECONDS of it (10), from seed FUZZ_SEED (1). What crashes it is printed, in base64.
# timeout: 280
. "${0%/*}/../lib.sh"
require_command clang python3
cd "$TEST_TOP"
echo 'int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n); int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n) { return !d && n; }' >"$TEST_DIR/t.c"
clang -fsanitize=fuzzer,address,undefined "$TEST_DIR/t.c" -o "$TEST_DIR/t" 2>/dev/null || skip "clang has no libFuzzer (package libclang-rt-14-dev)"
make -s "O=$TEST_BUILD" "$TEST_BUILD/fuzz/netlink"

# What it begins with: this kernel's own answers about devices, addresses, routes and TCP sockets, and an error.
mkdir "$TEST_DIR/corpus"
python3 - "$TEST_DIR/corpus" <<'END'
import socket, struct, sys
requests = {"links": (0, 18, bytes(16)), "addresses": (0, 22, bytes(8)), "routes": (0, 26, bytes(12)), "rules": (0, 34, bytes(12)),
            "sockets": (4, 20, struct.pack("BBBxI", 2, 6, 0xff, 0xffffffff) + bytes(48)), "error": (0, 19, bytes(16))}
for name, (family, kind, body) in requests.items():
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family)
    s.settimeout(2)
    s.setsockopt(270, 11, 1)
    s.send(struct.pack("IHHII", 16 + len(body), kind, 5 if name == "error" else 0x301, 1, 0) + body)
    with open(sys.argv[1] + "/" + name, "wb") as f:
        f.write(s.recv(16384))
END
"$TEST_BUILD/fuzz/netlink" -seed="${FUZZ_SEED-1}" -max_total_time="${FUZZ_SECONDS-10}" -max_len=16384 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
	-artifact_prefix="$TEST_DIR/" "$TEST_DIR/corpus" >"$TEST_DIR/log" 2>&1 || { tail -n 40 "$TEST_DIR/log"; fail "it crashes"; }
grep 'Done\|number_of_executed_units' "$TEST_DIR/log"
