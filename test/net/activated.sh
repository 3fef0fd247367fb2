#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A service that a manager has started with its listening sockets (LISTEN_FDS): a unix socket at descriptor 3 and a TCP socket at 4, and a
# connection. Restored after the manager has ended they are made anew; while it holds them they are its own (--external), and it gives them back
# (--inherit-fd): who came meanwhile is served.
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_net.sh"
ip link set lo up
cd "$TEST_DIR"
gone() { ! [ -e "/proc/$1" ]; }   # and reaped: its pid is free
# manager STAY: makes the sockets and starts the service; with STAY=1 it holds them and runs the commands of the file "command".
cat >manager <<-'END'
	import os, socket, subprocess, sys, time
	os.closerange(3, 1024)
	def put(path, text):
	    open(path + ".new", "w").write(text)
	    os.rename(path + ".new", path)
	unix = socket.socket(socket.AF_UNIX)
	unix.bind("socket")
	unix.listen(5)
	tcp = socket.create_server(("127.0.0.1", 0), backlog=5)
	pid = os.fork()
	if pid == 0:
	    os.setsid()
	    u, t = os.dup(unix.fileno()), os.dup(tcp.fileno())
	    os.dup2(u, 3)
	    os.dup2(t, 4)
	    os.closerange(5, 100)
	    os.execvpe("python3", ["python3", "service"], dict(os.environ, LISTEN_FDS="2", LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES="local:net"))
	ino = [os.fstat(s.fileno()).st_ino for s in (unix, tcp)]
	put("started", "%d %d %d %d\n" % (pid, tcp.getsockname()[1], *ino))
	if sys.argv[1] == "0":
	    sys.exit()
	os.waitpid(pid, 0)
	while True:
	    while not os.path.exists("command"):
	        time.sleep(0.02)
	    command = open("command").read().replace("UNIX", str(unix.fileno())).replace("TCP", str(tcp.fileno()))
	    os.unlink("command")
	    done = subprocess.run(command.split(), pass_fds=(unix.fileno(), tcp.fileno()), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
	                          stderr=subprocess.STDOUT, text=True)
	    put("status", "%d %s" % (done.returncode, done.stdout))
END
# The service answers in capitals; to "fds" with what it knows about its descriptors.
cat >service <<-'END'
	import os, select, socket, stat
	assert os.environ["LISTEN_PID"] == str(os.getpid()) and os.environ["LISTEN_FDS"] == "2"
	local, net = socket.socket(fileno=3), socket.socket(fileno=4)
	def about(s):
	    return "%d:%d:%d" % (s.fileno(), s.family, s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
	ends = [local, net]
	while True:
	    for s in select.select(ends, [], [])[0]:
	        if s in (local, net):
	            ends.append(s.accept()[0])
	            continue
	        data = s.recv(100)
	        if not data:
	            ends.remove(s)
	            s.close()
	        else:
	            s.sendall((" ".join(map(about, (local, net))) if data == b"fds" else data.decode().upper()).encode())
END
# client NAME unix|tcp: asks whatever is in ask.NAME; the answer gets into said.NAME.
cat >client <<-'END'
	import os, socket, sys, time
	name, kind = sys.argv[1:]
	os.closerange(3, 1024)
	def put(path, text):
	    open(path + ".new", "w").write(text)
	    os.rename(path + ".new", path)
	c = socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET)
	c.connect("socket" if kind == "unix" else ("127.0.0.1", int(open("started").read().split()[1])))
	put("connected." + name, "")
	while True:
	    while not os.path.exists("ask." + name):
	        time.sleep(0.02)
	    question = open("ask." + name).read()
	    os.unlink("ask." + name)
	    try:
	        c.sendall(question.encode())
	        put("said." + name, c.recv(100).decode())
	    except OSError as e:
	        put("said." + name, e.strerror)
END
client() {
	python3 client "$@" &
	at_exit kill -9 $!
	clients+=($!)
	wait_until 20 test -e "connected.$1"
}
ask() { # NAME QUESTION
	printf %s "$2" >"question.$1"
	mv "question.$1" "ask.$1"
}
says() { # NAME ANSWER
	wait_until 20 test -e "said.$1"
	equal "$(<"said.$1")" "$2" "the answer to $1"
	rm "said.$1"
}
start() { # STAY
	rm -rf images ./*.before ./said.* ./connected.* socket started
	clients=()
	mkdir images
	python3 manager "$1" &
	manager=$!
	at_exit kill -9 $manager
	wait_until 20 test -e started
	read -r pid port unix tcp <started
	at_exit kill -9 "$pid"
	client before tcp
	ask before one
	says before ONE
}
all_well() {
	ask before two
	says before TWO
	ask before fds
	says before "3:1:1 4:2:1"
	client local unix
	client net tcp
	for name in local net; do
		ask $name hello
		says $name HELLO
	done
}
end() {
	kill -9 "$pid" "${clients[@]}"
	wait_until 10 gone "$pid"
}
dump() { torpor_cr dump -t "$pid" -D images -o dump.log --tcp-established "$@" || fail "dump $*: $(tail -3 images/dump.log)"; }

start 0
wait $manager
dump
wait_until 10 gone "$pid"
torpor_cr restore -d -D images -o restore.log --tcp-established || fail "restore: $(tail -3 images/restore.log)"
all_well
end

start 1
dump --external "socket:[$tcp]" --external "socket:[$unix]"
wait_until 10 gone "$pid"
client meanwhile tcp
client meanwhile-local unix
ask meanwhile three
ask meanwhile-local four
refuses "must come from it" torpor_cr restore -d -D images --tcp-established
refuses "--inherit-fd 'fd[N]:socket:[" torpor_cr restore -d -D images --tcp-established
echo "$TORPOR_CR restore -d -D images -o restore.log --tcp-established --inherit-fd fd[UNIX]:socket:[$unix] --inherit-fd fd[TCP]:socket:[$tcp]" >command.new
mv command.new command
wait_until 20 test -e status
equal "$(cut -d' ' -f1 status)" 0 "$(cat status; tail -3 images/restore.log): the status"
says meanwhile THREE
says meanwhile-local FOUR
all_well
end
