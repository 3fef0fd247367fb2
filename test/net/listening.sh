#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Connections that nobody has accepted: refused by name; with --skip-in-flight given up, while the listening socket and what was accepted go on. A
# group of listening sockets at one port (SO_REUSEPORT), one in each of two processes, with the connections that each has accepted.
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_net.sh"
ip link set lo up
cd "$TEST_DIR"
gone() { ! [ -e "/proc/$1" ]; }   # and reaped: its pid is free
dump() { torpor_cr dump -t $pid -D images -o dump.log --tcp-established "$@" || fail "dump $*: $(tail -3 images/dump.log)"; }
restore() { torpor_cr restore -d -D images -o restore.log --tcp-established || fail "restore: $(tail -3 images/restore.log)"; }

# --- not accepted ---
# At "next" it accepts one and says what it got; what it has accepted answers, too.
cat >server <<-'END'
	import os, socket, sys, time
	os.closerange(3, 1024)
	s = socket.create_server(("127.0.0.1", 0), backlog=7)
	def put(path, text):
	    open(path + ".new", "w").write(text)
	    os.rename(path + ".new", path)
	put("port", str(s.getsockname()[1]))
	held = []
	while True:
	    while not os.path.exists("next"):
	        time.sleep(0.02)
	    os.unlink("next")
	    held.append(s.accept()[0])
	    put("got", " ".join(c.recv(10).decode() for c in held))
END
# client NAME: sends its name whenever the file send.NAME appears, then says in said.NAME that it did, or how that failed.
cat >client <<-'END'
	import os, socket, sys, time
	name = sys.argv[1]
	os.closerange(3, 1024)
	c = socket.create_connection(("127.0.0.1", int(open("port").read())))
	c.setblocking(False)
	def put(path, text):
	    open(path + ".new", "w").write(text)
	    os.rename(path + ".new", path)
	said = "connected"
	while True:
	    put("said." + name, said)
	    while not os.path.exists("send." + name):
	        time.sleep(0.02)
	    os.unlink("send." + name)
	    try:
	        c.send(name.encode())
	        said = "sent"
	        time.sleep(0.1)
	        c.recv(10)
	    except BlockingIOError:
	        pass
	    except OSError as e:
	        said = e.strerror
END
says() { [ "$(cat "said.$1")" = "$2" ]; }
client() {
	python3 client "$1" &
	at_exit kill -9 $!
	wait_until 20 says "$1" connected
}
sends() { # NAME WHAT-IT-SAYS
	rm "said.$1"
	touch "send.$1"
	wait_until 20 test -e "said.$1"
	equal "$(<"said.$1")" "$2" "$1"
}
accepts() { # WHAT
	rm -f got
	touch next
	wait_until 20 test -e got
	equal "$(<got)" "$1" "what the server got"
}
setsid python3 server </dev/null >/dev/null 2>&1 &
pid=$!
at_exit kill -9 $pid
wait_until 20 test -e port
client one
sends one sent
accepts one
client two
client three
mkdir images
refuses "2 connections to 127.0.0.1:$(<port) wait to be accepted" torpor_cr dump -t $pid -D images --tcp-established
refuses "--skip-in-flight" torpor_cr dump -t $pid -D images --tcp-established
dump --skip-in-flight --leave-running
sends one sent
sends two sent
accepts "one two"          # those that were given up in the images are there in a process that runs on
rm -r images
mkdir images
dump --skip-in-flight
grep -q '1 connections to 127.0.0.1:.* are not saved' images/dump.log || fail "the log does not speak of it: $(grep -i warn images/dump.log)"
wait_until 10 gone $pid
restore
rm said.three
touch send.three
wait_until 20 test -e said.three
[[ $(<said.three) == "Connection reset by peer" || $(<said.three) == "Broken pipe" ]] || fail "three, which was given up: $(<said.three)"
client four
for name in one two four; do sends $name sent; done
accepts "one two four"
kill -9 $pid
wait_until 10 gone $pid
rm -r images
mkdir images

# --- a group ---
# Each worker answers a line with its number and whether the connection and the listening socket have the option.
cat >group <<-'END'
	import os, select, socket
	os.closerange(3, 1024)
	def listen(port):
	    s = socket.socket()
	    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
	    s.bind(("127.0.0.1", port))
	    s.listen(64)
	    return s
	first = listen(0)
	second = listen(first.getsockname()[1])
	number, own, other = (1, first, second) if os.fork() else (2, second, first)
	other.close()
	if number == 1:
	    open("group.port.new", "w").write(str(own.getsockname()[1]))
	    os.rename("group.port.new", "group.port")
	ends = [own]
	while True:
	    for s in select.select(ends, [], [])[0]:
	        if s is own:
	            ends.append(s.accept()[0])
	        elif s.recv(100):
	            s.sendall(b"%d%d%d" % (number, *(x.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) for x in (own, s))))
	        else:
	            ends.remove(s)
END
# 24 connections, and as many once more after the restore: who answers?
cat >many <<-'END'
	import os, socket, sys, time
	os.closerange(3, 1024)
	address = "127.0.0.1", int(open("group.port").read())
	def ask(c):
	    c.settimeout(20)
	    c.sendall(b"?")
	    return c.recv(10).decode()
	def both(answers):
	    assert set(answers) == {"111", "211"}, answers
	old = [socket.create_connection(address) for i in range(24)]
	before = [ask(c) for c in old]
	both(before)
	open("asked", "w").close()
	while not os.path.exists("again"):
	    time.sleep(0.02)
	now = [ask(c) for c in old]
	assert now == before, (before, now)
	both([ask(socket.create_connection(address)) for i in range(24)])
	print("all well")
END
setsid python3 group </dev/null >/dev/null 2>&1 &
pid=$!
wait_until 20 test -e group.port
second=$(<"/proc/$pid/task/$pid/children")
at_exit kill -9 $pid $second
python3 many >asker 2>&1 &
asker=$!
at_exit kill -9 $asker
wait_until 20 test -e asked
dump
wait_until 10 gone $pid
wait_until 10 gone $second
restore
touch again
wait $asker || fail "the group: $(<asker)"
