# SPDX-License-Identifier: Apache-2.0
# What shim_limits.sh runs: each function below is a case, with a shim of its own.
import resource

from shim_case import *


def hostile(s):
    """Clients that send what no client sends: the shim answers or hangs up, serves the others, and does not grow."""
    c = Container(s, "c", "/bin/sleep", "1000").create().start()
    shim_pid = c.call("Connect").shim_pid

    def memory():
        return int(re.search(r"VmRSS:\s*(\d+)", open("/proc/%d/status" % shim_pid).read()).group(1))

    def connect():
        k = socket.socket(socket.AF_UNIX)
        k.connect(c.socket)
        k.settimeout(60)
        return k

    def answer(k):
        stream, kind, flags, data = t.read_frame(k)
        return stream, t.ttrpc.Response.FromString(data).status.code

    def request(method, message=b"", service="containerd.task.v3.Task"):
        return t.ttrpc.Request(service=service, method=method, payload=message).SerializeToString()

    state = request("State", task.StateRequest(id="c").SerializeToString())
    connect().close()
    k = connect()                                       # half a header, then gone; half a payload, then gone
    k.sendall(b"\0\0\0")
    k.close()
    k = connect()
    k.sendall(t.HEADER.pack(1000, 1, 1, 0) + b"x" * 500)
    k.close()
    k = connect()                                       # byte by byte
    for b in t.frame(1, 1, state):
        k.sendall(bytes([b]))
    assert answer(k) == (1, 0)
    k.sendall(t.frame(1, 1, state) + t.frame(4, 1, state) + t.frame(7, 1, b"\xff" * 40) + t.frame(9, 1, request("State", b"\xff\xff")) +
              t.frame(11, 1, request("State", service="x" * 3000)) + t.frame(13, 1, state, 2) + t.frame(15, 9, b"what") +
              t.frame(17, 3, b"data") + t.frame(19, 1, b"") + t.frame(21, 1, state))
    codes = [answer(k) for _ in range(8)]
    assert codes == [(1, 3), (4, 3), (7, 3), (9, 3), (11, 12), (13, 12), (19, 12), (21, 0)], codes
    k.sendall(t.HEADER.pack(5 << 20, 23, 1, 0))         # too large: refused at once, skipped, and the next one is served
    assert answer(k) == (23, 8)
    k.sendall(b"z" * (5 << 20) + t.frame(25, 1, state))
    assert answer(k) == (25, 0)
    k.sendall(t.HEADER.pack(0xffffffff, 27, 1, 0))
    assert answer(k) == (27, 8)
    k.close()
    # Promised, never sent: costs nothing.
    promises = [connect() for _ in range(40)]
    for k in promises:
        k.sendall(t.HEADER.pack(4 << 20, 1, 1, 0))
    assert c.call("State").status == task.RUNNING
    before = memory()
    assert before < 64 << 10 or "build-san" in s.program, before
    for k in promises:
        k.close()
    # More connections than there may be.
    many = [connect() for _ in range(100)]
    assert c.call("State").status == task.RUNNING
    for k in many:
        k.close()
    # Questions whose answers are not read: it hangs up.
    k = connect()
    try:
        for n in range(400):
            k.sendall(b"".join(t.frame(1 + 2 * (n * 1000 + i), 1, state) for i in range(1000)))
        raise AssertionError("never hung up")
    except (BrokenPipeError, ConnectionResetError):
        pass
    k.close()
    # Waits without number, and clients that go away.
    wait = request("Wait", task.WaitRequest(id="c").SerializeToString())
    before = memory()
    for n in range(12):
        k = connect()
        k.sendall(b"".join(t.frame(1 + 2 * i, 1, wait) for i in range(5000)))
        assert answer(k)[1] == 8                        # those beyond what one may have
        k.close()
    assert c.call("State").status == task.RUNNING
    # Statistics for everybody at once: no worker for each.
    k = connect()
    k.sendall(b"".join(t.frame(1 + 2 * i, 1, request("Stats", task.StatsRequest(id="c").SerializeToString())) for i in range(300)))
    codes = [answer(k)[1] for _ in range(300)]
    assert set(codes) <= {0, 14} and codes.count(0) >= 10, codes
    k.close()
    random.seed(7)
    for n in range(300):                                # and noise
        k = connect()
        data = bytearray(t.frame(1, 1, state) + t.frame(3, 1, wait))
        for _ in range(random.randrange(1, 8)):
            data[random.randrange(len(data))] = random.randrange(256)
        k.sendall(data)
        k.close()
    assert c.call("State").status == task.RUNNING and c.call("Connect").shim_pid == shim_pid
    assert memory() - before < 8 << 10 or "build-san" in s.program, (before, memory())
    until(lambda: len(os.listdir("/proc/%d/fd" % shim_pid)) < 20)
    os.setegid(1)
    k = connect()                                       # another group's
    try:
        k.sendall(t.frame(1, 1, state))
        assert k.recv(1) == b""
    except (BrokenPipeError, ConnectionResetError):
        pass
    os.setegid(0)
    c.end()


def in_between(s):
    """Requests that come at the wrong moment."""
    c = Container(s, "c", "/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done").create().start()
    c.out.read_until(b"ready\n")
    spec = wk.Any(type_url=PROCESS, value=json.dumps(dict(json.load(open(c.bundle + "/config.json"))["process"], args=["/bin/true"])).encode())
    c.call("Exec", exec_id="e", spec=spec)
    k = socket.socket(socket.AF_UNIX)                     # Delete and Start of it in one piece
    k.connect(c.socket)
    k.settimeout(20)
    ask = [t.ttrpc.Request(service="containerd.task.v3.Task", method=m, payload=q(id="c", exec_id="e").SerializeToString()).SerializeToString()
           for m, q in (("Delete", task.DeleteRequest), ("Start", task.StartRequest))]
    k.sendall(t.frame(1, 1, ask[0]) + t.frame(3, 1, ask[1]))
    codes = {}
    for _ in range(2):
        stream, kind, flags, data = t.read_frame(k)
        codes[stream] = t.ttrpc.Response.FromString(data).status.code
    k.close()
    assert codes == {1: 0, 3: 9}, codes
    refused(5, c.call, "State", exec_id="e")
    c.call("Pause")                                       # a killed container ends, also one that is frozen
    assert c.call("State").status == task.PAUSED
    c.call("Kill", signal=9)
    assert c.wait().exit_status == 137
    c.end()

    def slow(k):                                          # the first time
        script = "cd %s; test ! -e hook || exit 0; echo $$ >hook.new; mv hook.new hook; exec sleep 100" % WORK
        k["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=" + os.environ["PATH"]]}]}
    w = Container(s, "w", "/bin/true", change=slow)       # a worker that is killed leaves nothing of what it has begun
    shim_pid = w.call("Connect").shim_pid
    made = w.c.begin("Create", id="w", bundle=w.bundle, rootfs=[task.Mount(type="bind", source=WORK + "/bundle/rootfs", options=["rbind"])])
    until(lambda: os.path.exists(WORK + "/hook"))
    os.kill(children(shim_pid, name(shim_pid))[0], 9)
    assert "worker" in refused(2, made)
    assert not os.path.exists("/run/containerd/torpor/%s/w" % s.ns) and not os.path.ismount(w.bundle + "/rootfs")
    assert not [d for d, _, _ in os.walk("/sys/fs/cgroup") if d.endswith("%s/%s-w" % (CGROUP, s.ns))]
    refused(5, w.call, "State")
    try:
        os.kill(int(open(WORK + "/hook").read()), 9)
    except ProcessLookupError:
        pass
    w.create().end()

    def unknown(k):
        k["process"]["capabilities"]["bounding"].append("CAP_NO_SUCH")
    d = Container(s, "d", "/bin/sh", "-c", "echo mine >&2", change=unknown).create().start()
    assert d.wait().exit_status == 0                      # what the runtime says is not the container's output
    assert d.err.read_until(b"mine\n") == b"mine\n"
    d.end()

    def small(k):
        k["linux"].setdefault("resources", {})["memory"] = {"limit": 8 << 20, "swap": 8 << 20}
    o = Container(s, "o", "/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1", change=small).create().start()
    assert o.wait().exit_status == 137                    # killed for want of memory: that is told before its end
    s.events.wait("/tasks/exit", "o")
    assert s.events.topics("o") == ["/tasks/create", "/tasks/start", "/tasks/oom", "/tasks/exit"], s.events.topics("o")
    o.end()


def away(s):
    """Events while containerd is away come when it is back, in order."""
    c = Container(s, "c", "/bin/sleep", "1000").create()
    s.events.wait("/tasks/create", "c")
    s.events.end()
    c.start()
    c.exec("e", "/bin/true")
    c.wait("e")
    c.call("Pause")
    c.call("Resume")
    c.call("Kill", signal=9)
    c.wait()
    assert s.events.topics() == ["/tasks/create"]
    s.events.begin()
    s.events.wait("/tasks/exit", "c", "c")
    c.end()
    s.events.wait("/tasks/delete", "c")
    seen = [topic for i, topic in enumerate(s.events.topics()) if i == 0 or s.events.topics()[i - 1] != topic or topic == "/tasks/exit"]
    assert seen == ["/tasks/" + w for w in ("create", "start", "exec-added", "exec-started", "exit", "paused", "resumed", "exit", "delete")], seen


def killed_shim(s):
    """A shim that is killed: `delete` cleans up, and the next start gets a new one in its place."""
    c = Container(s, "c", "/bin/sh", "-c", "sleep 1000 & sleep 1000").create().start()
    c.exec("e", "/bin/sleep", "1000")
    until(lambda: len(c.call("Pids").processes) == 3)       # the shell has begun the other one
    pids = [p.pid for p in c.call("Pids").processes]
    os.kill(c.call("Connect").shim_pid, 9)
    until(lambda: not answers(c.socket))
    d = task.DeleteResponse.FromString(s.run("c", c.bundle, "-bundle", c.bundle, "delete"))
    assert d.exit_status == 137 and d.pid == c.pid and abs(d.exited_at.seconds - time.time()) < 60
    assert not os.path.ismount(c.bundle + "/rootfs") and not os.path.exists(c.socket)
    for p in pids:
        until(lambda: gone(p))
    s.run("c", c.bundle, "-bundle", c.bundle, "delete")     # once more does no harm
    shutil.rmtree(c.bundle)
    c = Container(s, "c", "/bin/sleep", "1000").create().start()
    os.kill(c.call("Connect").shim_pid, 9)                  # `delete` itself is killed, as containerd does when it takes too long
    until(lambda: not answers(c.socket))
    state = os.open("/run/containerd/torpor/%s/c" % s.ns, os.O_RDONLY)
    fcntl.flock(state, fcntl.LOCK_EX)
    d = subprocess.Popen([s.program, "-namespace", s.ns, "-address", s.folder + "/grpc", "-id", "c", "-bundle", c.bundle, "delete"], cwd=c.bundle)
    until(lambda: not os.path.exists(c.socket) and children(d.pid, "containerd-shim"))
    d.kill()
    d.wait()
    assert not gone(c.pid)
    os.close(state)
    until(lambda: gone(c.pid) and not os.path.exists("/run/containerd/torpor/%s/c" % s.ns))
    subprocess.run(["umount", c.bundle + "/rootfs"], check=True)
    shutil.rmtree(c.bundle)
    c = Container(s, "c", "/bin/true").create().start()
    os.kill(c.call("Connect").shim_pid, 9)
    until(lambda: not answers(c.socket))
    s.start("c", c.bundle)                                  # the socket of the dead one is in the way
    c.c = t.Client(c.socket)
    refused(5, c.call, "State")
    c.call("Shutdown")
    s.run("c", c.bundle, "-bundle", c.bundle, "delete")


def descriptors(s):
    """A shim that has no descriptor left for a connection rests until it has one, says so, and serves who has waited."""
    c = Container(s, "c", "/bin/sleep", "1000").create()
    pid = c.call("Connect").shim_pid
    until(lambda: children(pid, name(pid)) in ([], [c.pid]))    # nothing else is under way,
    for _ in range(2):                                      # and what it had is closed
        c.call("Connect")
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, limits[1]))   # 0 to 2 are open
    late = t.Client(c.socket)
    asked = late.begin("State", id="c")
    until(lambda: b"cannot be accepted: Too many open files" in s.said)

    def ticks():
        return sum(int(n) for n in open("/proc/%d/stat" % pid).read().rsplit(")", 1)[1].split()[11:13])
    before = ticks()
    time.sleep(1.5)
    assert ticks() - before < 30, ticks() - before
    assert c.call("State").status == task.CREATED           # who is connected is served
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    assert asked().status == task.CREATED
    until(lambda: b"connections are accepted again" in s.said)
    assert s.said.count(b"cannot be accepted") == 1
    late.close()
    c.call("Delete")
    c.call("Shutdown")


def waiters(s):
    """What clients that have gone have waited for is forgotten with them, or there would be no place for others."""
    bundle = WORK + "/waiters-pod"
    os.mkdir(bundle)
    path = json.loads(s.start("pod", bundle))["address"][len("unix://"):]
    c = t.Client(path)
    c.sandbox("CreateSandbox", sandbox_id="pod", bundle_path=bundle)
    wait = t.ttrpc.Request(service="containerd.runtime.sandbox.v1.Sandbox", method="WaitSandbox",
                           payload=t.sandbox.WaitSandboxRequest(sandbox_id="pod").SerializeToString()).SerializeToString()
    for _ in range(5):                                      # 16384 may be under way in all, of a connection 4096
        k = socket.socket(socket.AF_UNIX)
        k.connect(path)
        k.sendall(b"".join(t.frame(1 + 2 * i, 1, wait) for i in range(4097)))
        stream, kind, flags, data = t.read_frame(k)
        assert t.ttrpc.Response.FromString(data).status.code == 8
        k.close()

    def served():
        try:
            c.sandbox("PingSandbox", sandbox_id="pod")
            return True
        except Error as e:
            assert e.code == 8, e
    until(served)
    waiting = c.begin_sandbox("WaitSandbox", sandbox_id="pod")
    other = t.Client(path)
    other.begin_sandbox("WaitSandbox", sandbox_id="pod")
    other.close()
    c.sandbox("StopSandbox", sandbox_id="pod")
    assert waiting().exit_status == 0
    c.sandbox("ShutdownSandbox", sandbox_id="pod")


def told_to_end(s):
    """SIGTERM: what is queued for containerd is handed on first, in order; containers live on."""
    c = Container(s, "c", "/bin/sleep", "1000").create()
    s.events.wait("/tasks/create", "c")
    pid = c.call("Connect").shim_pid
    s.events.hold = True                                    # the next is taken, and not acknowledged
    c.start()
    c.exec("e", "/bin/true")
    c.wait("e")
    s.events.wait("/tasks/start", "c")
    os.kill(pid, signal.SIGTERM)
    until(lambda: not os.path.exists(c.socket))
    s.events.hold = False
    s.events.wait("/tasks/exit", "c", "e")
    until(lambda: gone(pid))
    assert s.events.topics() == ["/tasks/" + w for w in ("create", "start", "exec-added", "exec-started", "exit")], s.events.topics()
    assert not gone(c.pid)
    s.run("c", c.bundle, "-bundle", c.bundle, "delete")
    until(lambda: gone(c.pid))


def again(s):
    """Who is told that a shim ends may start the next of its name at once, and finds a new one."""
    bundle = WORK + "/again-c"
    os.mkdir(bundle)
    shutil.copy(WORK + "/bundle/config.json", bundle)
    before = 0
    for _ in range(50):
        path = json.loads(s.start("c", bundle))["address"][len("unix://"):]
        c = t.Client(path)
        pid = c.call("Connect", id="c").shim_pid
        assert pid != before
        before = pid
        c.call("Shutdown", id="c")
        assert not os.path.exists(path)


run([hostile, in_between, away, killed_shim, descriptors, waiters, told_to_end, again])
