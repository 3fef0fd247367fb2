#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The page server as a process: in the background, with a pid file and a byte when it listens, on a socket that it is given; of several dumps one
# is nonsense.
. "${0%/*}/../lib.sh"
require_root
require_command python3
for fd in /proc/self/fd/*; do ((${fd##*/} < 3 || ${fd##*/} == 255)) || eval "exec ${fd##*/}>&-"; done 2>/dev/null
new_tmpdir work
cd "$work"
mkdir pages images work

setsid sleep 1000 </dev/null >/dev/null 2>&1 &
program=$!
disown $program
at_exit kill -9 $program
wait_until 20 grep -q sleep /proc/$program/comm
dump() { # OPTION…
	rm -rf images
	mkdir images
	"$TORPOR_CR" dump --leave-running --tree $program -D images --page-server "$@" 2>dump.log || fail "dump: $(cat dump.log)"
	[ -e images/inventory.img ] || fail "no inventory"
}
ended() { [ ! -e "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status"; }
listens() { grep -q ":$(printf %04X "$1") 00000000:0000 0A" /proc/net/tcp; }

# In the background: when the command returns it listens, its pid is in the file, the byte has been written.
exec 7<>ready.$$
port=$("$TORPOR_CR" page-server --daemon -D pages -W work -o server.log --pidfile pid --status-fd 7 --address 127.0.0.1)
listens "$port" || fail "nobody listens on $port"
server=$(cat work/pid)
grep -q torpor-cr "/proc/$server/comm" || fail "the pid file says $server"
wait_until 20 eval '[ "$(stat -c %s ready.$$)" = 1 ]'
[ "$(ps -o sid= -p "$server" | tr -d ' ')" = "$server" ] || fail "it is in our session"
dump --address 127.0.0.1 --port "$port"
wait_until 20 ended "$server"
[ -e pages/pagemap-$program.img ] || fail "no pages: $(cat work/server.log)"
exec 7>&-
# The pid file is there: nobody is started.
rm -rf pages
mkdir pages
refuses "File exists" "$TORPOR_CR" page-server --daemon -D pages -W work --pidfile pid --address 127.0.0.1
rm work/pid

# On sockets that it is given: one that listens, one that is connected.
cat >give.py <<'END'
import os, socket, subprocess, sys
program, kind = sys.argv[1], sys.argv[2]
if kind == 'listening':
    s = socket.create_server(('127.0.0.1', 0))
    port = s.getsockname()[1]
    to = ['--address', '127.0.0.1', '--port', str(port)]
    other = s
else:
    s, other = socket.socketpair()
    to = ['--ps-socket', str(other.fileno())]
server = subprocess.Popen([program, 'page-server', '-D', 'pages', '--ps-socket', str(s.fileno())], pass_fds=[s.fileno()])
dump = subprocess.run([program, 'dump', '--leave-running', '-t', sys.argv[3], '-D', 'images', '--page-server'] + to, pass_fds=[other.fileno()])
s.close()
other.close()
sys.exit(dump.returncode * 10 + server.wait())
END
for kind in listening connected; do
	rm -rf pages images
	mkdir pages images
	python3 give.py "$TORPOR_CR" $kind $program || fail "a $kind socket: status $?"
	[ -e pages/pagemap-$program.img ] || fail "no pages through a $kind socket"
done

# Four sessions at once: two dumps, one that says nonsense, one that says nothing. The dumps are there, and the server says that two were none.
rm -rf pages
mkdir pages
setsid sleep 1000 </dev/null >/dev/null 2>&1 &
second=$!
disown $second
at_exit kill -9 $second
wait_until 20 grep -q sleep /proc/$second/comm
"$TORPOR_CR" page-server -D pages --sessions 4 --address 127.0.0.1 >port 2>server.log &
server=$!
wait_until 20 [ -s port ]
exec 8<>"/dev/tcp/127.0.0.1/$(cat port)"
exec 9<>"/dev/tcp/127.0.0.1/$(cat port)"
head -c 4096 /dev/urandom >&9 2>/dev/null || :
dump --address 127.0.0.1 --port "$(cat port)"
program=$second
dump --address 127.0.0.1 --port "$(cat port)"
exec 8>&- 9>&-
if wait $server; then fail "all four sessions were whole"; fi
grep -q "2 of the dumps did not arrive whole" server.log || fail "the server says: $(cat server.log)"
equal "$(ls pages | grep -c pagemap-)" 2 "the number of pagemaps"
if listens "$(cat port)"; then fail "somebody listens on"; fi
