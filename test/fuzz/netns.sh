#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a network namespace and its images say, from libFuzzer: FUZZ_SECONDS of it (5), from seed FUZZ_SEED (1). It begins with what this kernel says of a namespace that has
# something of everything.
# timeout: 280
. "${0%/*}/../lib.sh"
require_root
require_command clang ip python3
cd "$TEST_TOP"
echo 'int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n); int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n) { return !d && n; }' >"$TEST_DIR/t.c"
clang -fsanitize=fuzzer,address,undefined "$TEST_DIR/t.c" -o "$TEST_DIR/t" 2>/dev/null || skip "clang has no libFuzzer (package libclang-rt-14-dev)"
make -s "O=$TEST_BUILD" "$TEST_BUILD/fuzz/netns"
mkdir "$TEST_DIR/corpus"
unshare -n sh -c '
	ip link set lo up
	ip link add v0 type veth peer name v1; ip link add br0 type bridge; ip link set v1 master br0; ip link set v0 alias x group 5
	ip link property add dev v0 altname another
	ip tuntap add t0 mode tap
	ip addr add 10.1.0.1/24 dev v0; ip addr add fd01::1/64 dev v0 nodad; ip link set v0 up; ip link set v1 up
	ip route add 10.10.0.0/16 nexthop via 10.1.0.3 weight 2 nexthop via 10.1.0.4; ip -6 route add fd02::/64 via fd01::7
	ip rule add from 10.1.0.1 lookup 100; ip neigh add 10.1.0.7 lladdr 02:00:00:00:00:07 dev v0; bridge fdb add 02:00:00:00:00:99 dev v1 master static
	exec python3 -c "
import socket, struct, sys
ends = socket.socketpair()
served = socket.create_server((\"127.0.0.1\", 0))
waiting = socket.create_connection(served.getsockname())
dumps = [(0, kind, bytes([family]) + bytes(size - 1)) for kind, family, size in
         [(18, 0, 16), (22, 0, 8), (26, 0, 12), (34, 0, 12), (30, 0, 12), (30, 7, 12)]]
dumps += [(4, 20, struct.pack(\"=BBHIIIII\", 1, 0, 0, 0xffffffff, 0, 0x3f, 0, 0)), (4, 20, struct.pack(\"=BBBBI48x\", 2, 6, 255, 0, 0xffffffff))]
for number, (family, kind, header) in enumerate(dumps):
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family)
    s.settimeout(5)
    s.send(struct.pack(\"=IHHII\", 16 + len(header), kind, 0x301, 1, 0) + header)
    out, last = b\"\", False
    while not last:
        data = s.recv(65536)
        at = 0
        while at < len(data):
            length, type = struct.unpack_from(\"=IH\", data, at)
            last |= type in (2, 3)
            if type > 3:
                out += data[at:at + (length + 3 & ~3)]
            at += length + 3 & ~3
    open(sys.argv[1] + \"/%d\" % number, \"wb\").write(out)
" "$0"' "$TEST_DIR/corpus"
[ -s "$TEST_DIR/corpus/7" ] || fail "no corpus"
"$TEST_BUILD/fuzz/netns" -seed="${FUZZ_SEED-1}" -max_total_time="${FUZZ_SECONDS-5}" -max_len=16384 -timeout=10 -rss_limit_mb=512 -print_final_stats=1 \
	-artifact_prefix="$TEST_DIR/" "$TEST_DIR/corpus" >"$TEST_DIR/log" 2>&1 || { tail -n 40 "$TEST_DIR/log"; fail "it crashes"; }
grep 'Done\|number_of_executed_units' "$TEST_DIR/log"
