#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# --map-address for sockets without a connection: TCP that listens, TCP that is only bound, UDP; IPv4, IPv6 and IPv4 in IPv6's clothes. Their ports
# stay, new clients get through. An address that is not in the map has to be there; a map that is none is refused.
# And for connections between sockets of the tree, which go on; what the restore locks meanwhile is where they are now.
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_net.sh"
require_command nft
ip link set lo up
ip link add net0 type veth peer name net1
ip link set net0 up
ip link set net1 up
addresses() { # add|delete NUMBER
	ip address "$1" "10.9.1.$2/24" dev net0
	ip address "$1" "fd09:1::$2/64" dev net0 $([ "$1" = delete ] || echo nodad)
}
addresses add 1
cd "$TEST_DIR"
cat >program <<-'END'
	import os, socket, time
	os.closerange(3, 1024)
	def put(path, text):
	    open(path + ".new", "w").write(text)
	    os.rename(path + ".new", path)
	kinds = []
	for address in "10.9.1.1", "fd09:1::1", "::ffff:10.9.1.1", "127.0.0.1":
	    for kind in "listens", "bound", "udp":
	        s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
	        s.bind((address, 0))
	        if kind == "listens":
	            s.listen(5)
	        kinds.append((kind, s, s.getsockname()[1]))
	put("ready", "")
	while not os.path.exists("go"):
	    time.sleep(0.02)
	said = []
	for kind, s, port in kinds:
	    address, now = s.getsockname()[:2]
	    if kind == "bound":
	        s.listen(5)
	    c = socket.socket(s.family, s.type)
	    c.settimeout(10)
	    s.settimeout(10)
	    c.connect(s.getsockname())
	    c.send(b"here")
	    end = s if kind == "udp" else s.accept()[0]
	    said.append("%s %s%s%s" % (kind, address, "" if now == port else " another port", "" if end.recv(10) == b"here" else " nothing"))
	put("said", "\n".join(said))
END
gone() { ! grep -qs '^State:.[^ZX]' "/proc/$pid/status"; }
setsid python3 program </dev/null >/dev/null 2>errors &
pid=$!
at_exit kill -9 $pid
wait_until 20 test -e ready
mkdir images
torpor_cr dump -t $pid -D images -o dump.log || fail "dump: $(tail -3 images/dump.log)"
wait_until 10 gone
addresses delete 1
addresses add 5
four=(--map-address 10.9.1.1=10.9.1.5) six=(--map-address fd09:1::1=fd09:1::5)
restore=(torpor_cr restore -d -D images)
refuses "does not have the address 10.9.1.1" "${restore[@]}" "${six[@]}"
refuses "does not have the address fd09:1::1" "${restore[@]}" "${four[@]}"
refuses "does not have the address 10.9.1.7" "${restore[@]}" --map-address 10.9.1.1=10.9.1.7 "${six[@]}"
for map in 10.9.1.1 10.9.1.1=fd09:1::5 10.9.1.1=host =10.9.1.5; do
	refuses "--map-address $map: give two addresses of one family" "${restore[@]}" --map-address "$map"
done
"${restore[@]}" -o restore.log "${four[@]}" "${six[@]}" || fail "restore: $(tail -3 images/restore.log)"
touch go
wait_until 20 eval "test -e said || ! test -e /proc/$pid/exe"
equal "$(cat said errors)" "$(for a in 10.9.1.5 fd09:1::5 ::ffff:10.9.1.5 127.0.0.1; do printf '%s\n' "listens $a" "bound $a" "udp $a"; done)" "what it found"

# Connections: one with each family.
cat >pairs <<-'END'
	import os, socket, time
	os.closerange(3, 1024)
	pairs = []
	for address in "10.9.1.5", "fd09:1::5", "::ffff:10.9.1.5":
	    s, c = [socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) for _ in range(2)]
	    s.bind((address, 0))
	    s.listen(1)
	    c.connect(s.getsockname())
	    pairs.append((c, s.accept()[0]))
	    s.close()
	def put(path, text):
	    open(path + ".new", "w").write(text)
	    os.rename(path + ".new", path)
	put("joined", "")
	while not os.path.exists("talk"):
	    time.sleep(0.02)
	said = []
	for a, b in pairs:
	    for x, y in (a, b), (b, a):
	        x.settimeout(10)
	        y.settimeout(10)
	        x.send(b"here")
	        said.append("%s to %s: %s" % (x.getsockname()[0], x.getpeername()[0], y.recv(10).decode()))
	put("heard", "\n".join(said))
END
setsid python3 pairs </dev/null >/dev/null 2>errors &
pid=$!
at_exit kill -9 $pid
wait_until 20 test -e joined
mkdir pairs.images
torpor_cr dump -t $pid -D pairs.images -o dump.log --tcp-established || fail "dump: $(tail -3 pairs.images/dump.log)"
wait_until 10 gone
nft delete table "$(nft list tables | sed -n 's/^table //p')"   # as on another host, which has not the lock of the dump
addresses delete 5
addresses add 6
cat >script <<-END
	#!/bin/sh
	[ "\$CRTOOLS_SCRIPT_ACTION" != network-unlock ] || nft list ruleset >"$PWD/locked"
END
chmod +x script
torpor_cr restore -d -D pairs.images -o restore.log --tcp-established --action-script "$PWD/script" --map-address 10.9.1.5=10.9.1.6 \
	--map-address fd09:1::5=fd09:1::6 || fail "restore: $(tail -3 pairs.images/restore.log)"
equal "$(grep -Eo '10\.9\.1\.[0-9]+ |fd09:1::[0-9]+ ' locked | sort | uniq -c | tr -s ' ')" $' 8 10.9.1.6 \n 4 fd09:1::6 ' "what was locked"
equal "$(nft list tables)" "" "what is locked in the end"
touch talk
wait_until 20 eval "test -e heard || ! test -e /proc/$pid/exe"
equal "$(cat heard errors)" "$(for a in 10.9.1.6 fd09:1::6 ::ffff:10.9.1.6; do printf '%s\n' "$a to $a: here" "$a to $a: here"; done)" "what they heard"
