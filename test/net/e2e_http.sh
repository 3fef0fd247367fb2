#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A download over HTTP, of E2E_MIB MiB (64; the real thing is 1024), from nginx in a container: it goes on when either side is saved and restored, and when the
# container moves to another host with its address, and what has come is what was sent.
# timeout: 240
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_e2e.sh"
require_command openssl
[ -x /usr/sbin/nginx ] || skip "nginx is not installed"

mib=${E2E_MIB-64}
head -c "${mib}M" /dev/zero | openssl enc -aes-128-ctr -nosalt -K 0123 -iv 4567 2>/dev/null >"$TEST_DIR/outside/file"
sum=$(sha256sum <"$TEST_DIR/outside/file" | cut -d' ' -f1)

make_srv nginx -c /etc/nginx/nginx.conf
mkdir -p "$TEST_DIR"/srv/rootfs/etc/nginx "$TEST_DIR"/srv/rootfs/var/{lib,log}/nginx "$TEST_DIR"/srv/rootfs/run
cat >"$TEST_DIR/srv/rootfs/etc/nginx/nginx.conf" <<END
daemon off;
user root;
worker_processes 1;
pid /run/nginx.pid;
error_log /outside/error.log;
events { worker_connections 64; }
http {
	access_log off;
	sendfile on;
	server { listen 10.9.0.10:80; location / { root /outside; } }
}
END
start_srv
wait_until 20 eval '[ -n "$(on a ss -Htln "sport = :80")" ]'

# Reads as fast as $TEST_DIR/rate says (bytes per 10 ms), a quarter at most before it is told to go on to the next (and so a part is always on its way).
cat >"$TEST_DIR/get.py" <<'END'
import hashlib, os, sys, time, urllib.request
url, folder = sys.argv[1:]
def put(name, text):
    with open(folder + "/new", "w") as f:
        f.write(text)
    os.rename(folder + "/new", folder + "/" + name)
try:
    r = urllib.request.urlopen(url)
    total, got, sum, begin = int(r.headers["Content-Length"]), 0, hashlib.sha256(), time.time()
    quarter, piece = 1, max(1 << 16, total // 800)
    while data := r.read(piece):
        sum.update(data)
        got += len(data)
        put("got", str(got))
        time.sleep(0.005)
        while got >= total * quarter // 4 and quarter < 4:
            if os.path.exists(folder + "/go%d" % quarter):
                quarter += 1
            else:
                time.sleep(0.02)
    put("result", "%d %s" % (got, sum.hexdigest()))
except Exception as e:
    put("result", repr(e))
END
begin peer python3 "$TEST_DIR/get.py" http://10.9.0.10/file "$TEST_DIR"
client=$begun
more() { # NUMBER WHEN: so much has come, and it goes on when it is told to
	local now
	now=$(count "$TEST_DIR/got")
	touch "$TEST_DIR/go$1"
	wait_until 60 more_than "$now" "$TEST_DIR/got"
	no_reset "$2"
}
wait_until 20 [ -s "$TEST_DIR/got" ]
move_srv a a
more 1 "container saved and restored"
again peer "$client"
more 2 "its peer saved and restored"
move_srv a b
more 3 "container moved"
wait_until 120 [ -s "$TEST_DIR/result" ]
equal "$(cat "$TEST_DIR/result")" "$((mib << 20)) $sum" "what has come"
no_reset "the end"
