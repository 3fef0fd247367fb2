#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# --tcp-close, at the dump or at the restore alone: the program finds its connections closed, and serves new ones at its port at once, though the
# old ones linger there and neither end had SO_REUSEADDR. What a dump left out has to be asked for at the restore too, as with criu.
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_net.sh"
ip link set lo up
cd "$TEST_DIR"
cat >program <<-'END'
	import os, socket, time
	os.closerange(3, 1024)
	s = socket.socket()
	s.bind(("127.0.0.1", 0))
	s.listen(5)
	c = socket.create_connection(s.getsockname())
	ends = c, s.accept()[0]
	open("ready", "w").close()
	while not os.path.exists("go"):
	    time.sleep(0.02)
	said = ""
	for end in ends:
	    try:
	        end.recv(10)
	    except OSError as e:
	        said += e.strerror + ", "
	c = socket.create_connection(s.getsockname())
	c.send(b"new")
	said += s.accept()[0].recv(10).decode()
	open("said.new", "w").write(said)
	os.rename("said.new", "said")
END
gone() { ! grep -qs '^State:.[^ZX]' "/proc/$pid/status"; }
round() { # DUMP-OPTION
	rm -rf ready go said images
	mkdir images
	setsid python3 program </dev/null >/dev/null 2>errors &
	pid=$!
	at_exit kill -9 $pid
	wait_until 20 test -e ready
	torpor_cr dump -t $pid -D images -o dump.log "$1" || fail "dump $1: $(tail -3 images/dump.log)"
	wait_until 10 gone
	refuses "--tcp-close" torpor_cr restore -d -D images
	torpor_cr restore -d -D images -o restore.log --tcp-close || fail "after dump $1: $(tail -3 images/restore.log)"
	touch go
	wait_until 20 test -e said
	equal "$(<said)" "Transport endpoint is not connected, Transport endpoint is not connected, new" "$1: what it found"
}
round --tcp-established
round --tcp-close
