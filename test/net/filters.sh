#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Rules of the older iptables, tracked connections and expected ones of a network namespace are there again after a restore, and a connection goes on that
# the rules let through because it is tracked. What has no images (address sets, rules that nft cannot say) stops the dump.
. "${0%/*}/../lib.sh"
require_root
require_command ip nft python3
below_reaper

cd "$TEST_DIR"
mkdir images
cat >ftp.py <<'END'
import os, socket, time
s = socket.create_server(("127.0.0.1", 21))
c = socket.create_connection(("127.0.0.1", 21))
a = s.accept()[0]
for end, other, line in (a, c, b"220 hello\r\n"), (c, a, b"PASV\r\n"), (a, c, b"227 Entering Passive Mode (127,0,0,1,200,10)\r\n"):
    end.send(line)
    other.recv(1000)
n = 0
while True:
    c.send(b"NOOP\r\n")
    assert a.recv(1000) == b"NOOP\r\n"
    n += 1
    with open("count.new", "w") as f:
        f.write(str(n))
    os.rename("count.new", "count")
    time.sleep(0.05)
END
begin() { # the program that follows, in a network namespace with what standard input makes in it
	cat >prepare
	setsid python3 -c 'import os, sys; os.closerange(3, 1000); os.execvp("unshare", ["unshare", "-n", "sh", "-ec", ". ./prepare; touch prepared; exec " + sys.argv[1]])' \
		"$1" </dev/null >out 2>&1 &
	pid=$!
	at_exit eval "kill -9 $pid 2>/dev/null"
	wait_until 20 eval "[ -e prepared ] || ! kill -0 $pid"
	[ -e prepared ] || return 1
	rm prepared
}
inside() { nsenter -t "$pid" -n "$@"; }
gone() { ! [ -e "/proc/$pid" ]; }   # and reaped: its pid is free
end() { kill -9 "$pid"; wait_until 10 gone; rm -rf images; mkdir images; }
more() { local n; n=$(cat count); wait_until 10 eval "[ \"\$(cat count)\" -gt $n ]"; }
state() {
	inside sh -c 'cat /proc/net/nf_conntrack /proc/net/nf_conntrack_expect; nft list ruleset | grep -v counter
		for i in "" 6; do ! command -v ip${i}tables-legacy-save >/dev/null || ip${i}tables-legacy-save; done' 2>/dev/null |
		sed -E 's/(tcp +6 )[0-9]+ /\1/; s/^[0-9]+ l3proto/l3proto/; s/\[[0-9]+:[0-9]+\]//; /^#/d; s/ use=[0-9]+//' | sort
}

command -v iptables-legacy >/dev/null && older='iptables-legacy -A INPUT -p tcp --dport 9 -j DROP; ip6tables-legacy -t mangle -A INPUT -p tcp --dport 9 -j MARK --set-mark 7' ||
	{ older=; echo "not tried with iptables-legacy: it is not installed"; }
begin "python3 ftp.py" <<END || skip "this kernel does not track connections, or not FTP: $(cat out)"
ip link set lo up
$older
nft -f - <<'RULES'
table ip x {
	ct helper f {
		type "ftp" protocol tcp
	}
	chain out {
		type filter hook output priority 0
		tcp dport 21 ct helper set "f"
	}
	chain in {
		type filter hook input priority 0
		ct state new tcp flags != syn counter drop
		ct state invalid counter drop
	}
}
RULES
END
wait_until 20 [ -s count ]
before=$(state)
[[ $before == *"l3proto"*"dport=51210 ftp"* ]] || fail "nothing is expected: $before"
for _ in 1 2; do
	rm -rf images
	mkdir images
	torpor_cr dump -t "$pid" -D images -o dump.log --tcp-established || fail "dump: $(cat images/dump.log)"
	wait_until 10 gone
	torpor_cr restore -D images -o restore.log -d --tcp-established || fail "restore: $(cat images/restore.log)"
	diff <(echo "$before") <(state) || fail "it is another one"
	more
done
end

refused() {
	begin "sleep 1000" <<<"$2" 2>/dev/null || { echo "not tried, this machine cannot: $2"; return; }
	refuses "$1" torpor_cr dump -t "$pid" -D images
	[ -e "/proc/$pid" ] || fail "a refused dump has ended the program"
	end
}
refused "address sets (ipset)" 'ipset create s hash:ip'
refused "rules of iptables that nft cannot list" 'iptables-nft -A INPUT -m recent --set --name x'
