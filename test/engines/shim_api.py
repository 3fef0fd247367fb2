# SPDX-License-Identifier: Apache-2.0
# What shim_api.sh runs: each function below is a case, with a shim of its own.

from shim_case import *


def life(s):
    c = Container(s, "c", "/bin/sh", "-c", "echo out; echo err >&2; read x; exit 7", inp=True)
    assert c.answer["version"] == 3 and c.answer["protocol"] == "ttrpc"
    refused(5, c.call, "State")
    c.create()
    assert c.call("State").status == task.CREATED and c.call("State").pid == c.pid
    assert c.call("Connect").task_pid == c.pid
    refused(6, c.create)
    os.close(c.inp.fd)
    refused(2, c.call, "Pause")
    refused(2, c.call, "Checkpoint", path=WORK + "/never")
    refused(5, c.call, "State", exec_id="no")
    wait = c.c.begin("Wait", id="c")
    c.start()
    refused(2, c.call, "Start")
    refused(9, c.call, "Delete")
    assert c.out.read_until(b"\n") == b"out\n" and c.err.read_until(b"\n") == b"err\n"
    assert c.call("State").status == task.RUNNING
    os.write(os.open(c.inp.path, os.O_WRONLY), b"line\n")
    r = wait()
    assert r.exit_status == 7 and abs(r.exited_at.seconds - time.time()) < 60
    assert c.wait() == r                    # as often as it is asked
    state = c.call("State")
    assert state.status == task.STOPPED and state.exit_status == 7 and state.exited_at == r.exited_at
    refused(5, c.call, "Kill", signal=9)
    refused(5, c.call, "Stats")
    c.call("Shutdown")                      # not while it has a container
    d = c.end()
    assert d.exit_status == 7 and d.exited_at == r.exited_at and d.pid == c.pid
    s.events.wait("/tasks/delete", "c")
    assert s.events.topics() == ["/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"], s.events.topics()
    e = s.events.wait("/tasks/exit", "c")
    assert e.id == "c" and e.pid == c.pid and e.exit_status == 7 and e.exited_at == r.exited_at


def version2(s):
    c = Container(s, "c", "/bin/true", version=2).create()
    c.c.service = "containerd.task.v9.Task"
    assert "service" in refused(12, c.call, "State")
    c.c.service = "containerd.task.v2.Task"
    assert "method" in refused(12, lambda: c.c.send(c.c.service, "Nothing", b"", None)())
    c.start()
    c.end()


def short(s):
    """Ends before Start has returned, many times: start's event first, exit's once."""
    c = Container(s, "c", "/bin/sleep", "1000", change=lambda k: None).create().start()
    for i in range(20):
        c.exec("e%d" % i, "/bin/sh", "-c", "exit %d" % i)
    for i in range(20):
        assert c.wait("e%d" % i).exit_status == i
    for i in range(20):
        assert c.call("Delete", exec_id="e%d" % i).exit_status == i
    refused(5, c.call, "State", exec_id="e0")
    c.end()
    s.events.wait("/tasks/delete", "c")
    topics = [(topic, m.exec_id if topic != "/tasks/exit" else m.id) for topic, m in s.events.list if "exec" in topic or topic == "/tasks/exit"]
    for i in range(20):
        e = "e%d" % i
        mine = [topic for topic, id in topics if id == e]
        assert mine == ["/tasks/exec-added", "/tasks/exec-started", "/tasks/exit"], mine


def execs(s):
    c = Container(s, "c", "/bin/sleep", "1000").create()
    out = Fifo(c.bundle + "/eout", True)
    pid = c.exec("before", "/bin/sleep", "1000")     # of a created container
    c.start()
    refused(6, c.call, "Exec", exec_id="before", spec=wk.Any(type_url=PROCESS, value=b"{}"))
    refused(3, c.call, "Exec", exec_id="none")
    processes = {p.pid: runc.ProcessDetails.FromString(p.info.value).exec_id for p in c.call("Pids").processes}
    assert processes[pid] == "before" and processes[c.pid] == "", processes
    assert c.exec("echo", "/bin/echo", "inside", stdout=out.path)
    assert out.read_until(b"\n") == b"inside\n"
    assert c.wait("echo").exit_status == 0
    text = refused(2, c.exec, "bad", "/nowhere")
    assert "/nowhere" in text, text
    assert c.wait("bad").exit_status == 255
    c.call("Delete", exec_id="bad")
    c.call("Kill", exec_id="before", signal=15)
    assert c.wait("before").exit_status in (143, 137), c.wait("before")
    c.call("Exec", exec_id="late", spec=wk.Any(type_url=PROCESS, value=json.dumps(
        dict(json.load(open(c.bundle + "/config.json"))["process"], args=["/bin/true"])).encode()))
    c.exec("with", "/bin/sleep", "1000")
    c.call("Kill", signal=9)
    assert c.wait("with").exit_status == 137
    assert c.wait().exit_status == 137
    refused(9, c.call, "Start", exec_id="late")
    refused(2, c.exec, "after", "/bin/true")
    c.end()
    ends = [m.id for topic, m in s.events.list if topic == "/tasks/exit"]
    assert ends[-1] == "c" and sorted(ends) == ["before", "c", "echo", "with"], ends


def shared_pids(s):
    """Without a pid namespace of its own: init's death ends the others, and its exit is told last."""
    def change(k):
        k["linux"]["namespaces"] = [n for n in k["linux"]["namespaces"] if n["type"] != "pid"]
    c = Container(s, "c", "/bin/sh", "-c", "sleep 1000 & sleep 1000", change=change).create().start()
    c.exec("e", "/bin/sh", "-c", "trap '' TERM; sleep 1000 & wait")
    until(lambda: len(c.call("Pids").processes) >= 4)
    pids = [p.pid for p in c.call("Pids").processes]
    c.call("Kill", signal=9)
    assert c.wait().exit_status == 137 and c.wait("e").exit_status == 137
    c.end()
    assert [m.id for topic, m in s.events.list if topic == "/tasks/exit"] == ["e", "c"]
    for p in pids:
        until(lambda: gone(p))


def terminal(s):
    c = Container(s, "c", "/bin/sh", terminal=True, inp=True).create().start()
    c.call("ResizePty", width=91, height=37)
    os.write(c.inp.fd, b"stty size; tty; echo here=$((1+1))\n")
    text = c.out.read_until(b"here=2")
    assert b"37 91" in text and b"/dev/pts/0" in text, text
    eout, ein = Fifo(c.bundle + "/eout", True), Fifo(c.bundle + "/ein", False)
    c.exec("e", "/bin/sh", terminal=True, stdin=ein.path, stdout=eout.path)
    c.call("ResizePty", exec_id="e", width=50, height=20)
    fd = os.open(ein.path, os.O_WRONLY)
    os.write(fd, b"stty size; exit 3\n")
    assert b"20 50" in eout.read_until(b"20 50")
    assert c.wait("e").exit_status == 3
    os.write(c.inp.fd, b"exit 4\n")
    assert c.wait().exit_status == 4
    assert c.end().exit_status == 4


def half_close(s):
    """cat ends when its input does, not before; all comes out, though nobody reads for a while."""
    c = Container(s, "c", "/bin/cat", inp=True).create().start()
    data = os.urandom(65536) * 16
    got, at = b"", 0
    os.set_blocking(c.inp.fd, False)
    time.sleep(0.1)
    while len(got) < len(data):
        if at < len(data):
            try:
                at += os.write(c.inp.fd, data[at:at + 65536])
            except BlockingIOError:
                pass
        try:
            got += os.read(c.out.fd, 65536)
        except BlockingIOError:
            pass
    assert got == data
    os.close(c.inp.fd)
    time.sleep(0.1)
    assert c.call("State").status == task.RUNNING     # the shim keeps it open
    c.call("CloseIO", stdin=True)
    assert c.wait().exit_status == 0
    c.end()


def last_words(s):
    """Output that was not read when the process ended is there afterwards."""
    c = Container(s, "c", "/bin/sh", "-c", "head -c 120000 /dev/zero; echo END").create().start()
    assert c.wait  # it waits in its pipe until we read
    got = b""
    while not got.endswith(b"END\n"):
        got += c.out.read()
    assert len(got) == 120004
    c.wait()
    c.end()


def back_pressure(s):
    """Whose output nobody reads waits, and nobody else does; the shim keeps none of it."""
    c = Container(s, "c", "/bin/sh", "-c", "head -c 40000000 /dev/zero; echo END; exec sleep 1000").create().start()
    shim_pid = c.call("Connect").shim_pid
    other = Fifo(c.bundle + "/other", True)
    for i in range(5):
        c.exec("e%d" % i, "/bin/echo", "%d" % i, stdout=other.path)
        other.read_until(b"%d\n" % i)
        assert c.wait("e%d" % i).exit_status == 0
    rss = int(re.search(r"VmRSS:\s*(\d+)", open("/proc/%d/status" % shim_pid).read()).group(1))
    assert rss < 32 << 10 or "build-san" in s.program, rss
    got, last = 0, b""
    while not last.endswith(b"END\n"):
        last = (last + c.out.read())
        got, last = got + len(last), last[-4:]
        got -= len(last)
    assert got + len(last) == 40000004, got
    # A reader that has gone does not end the writer, and another one goes on reading.
    d = Container(s, "d", "/bin/sh", "-c", "while :; do echo more; sleep 0.01; done").create().start()
    d.out.read_until(b"more")
    os.close(d.out.fd)
    time.sleep(0.1)
    d.out.fd = os.open(d.out.path, os.O_RDONLY | os.O_NONBLOCK)
    d.out.read_until(b"more")
    assert d.call("State").status == task.RUNNING
    d.end()
    c.end()


def log_uris(s):
    path = WORK + "/logs/deep/file"
    c = Container(s, "c", "/bin/sh", "-c", "echo one; echo two >&2", out=False, log="file://" + path).create().start()
    assert c.wait().exit_status == 0
    until(lambda: sorted(open(path).read().split()) == ["one", "two"])
    c.end()
    script = WORK + "/logger"
    with open(script, "w") as f:
        f.write("#!/bin/sh\necho \"$CONTAINER_ID $CONTAINER_NAMESPACE $*\" >%s/said\nexec 5>&-\ncat <&3 >%s/o\ncat <&4 >%s/e\n" % (WORK, WORK, WORK))
    os.chmod(script, 0o755)
    b = Container(s, "b", "/bin/sh", "-c", "echo one; echo two >&2", out=False, log="binary://%s?k=v&w=x" % script).create().start()
    assert b.wait().exit_status == 0
    until(lambda: os.path.exists(WORK + "/e") and open(WORK + "/e").read() == "two\n")
    assert open(WORK + "/o").read() == "one\n"
    assert open(WORK + "/said").read() == "b log_uris k v w x\n", open(WORK + "/said").read()
    b.end()
    for uri, what in (("binary://%s" % script, WORK + "/o"), ("file://%s/logs/tty" % WORK, WORK + "/logs/tty")):      # a terminal's
        x = Container(s, "t", "/bin/sh", "-c", "tty; echo three >&2", out=False, log=uri, terminal=True).create().start()
        assert x.wait().exit_status == 0
        until(lambda: os.path.exists(what) and open(what, "rb").read() == b"/dev/pts/0\r\nthree\r\n")
        x.end()
    n = Container(s, "n", "/bin/true", out=False, log="binary:///nowhere/logger")
    assert "/nowhere/logger" in refused(5, n.create)
    n.call("Shutdown")


def update(s):
    c = Container(s, "c", "/bin/sleep", "1000").create()
    c.call("Update", resources=wk.Any(type_url=RESOURCES, value=b'{"pids":{"limit":100}}'))
    c.start()
    group = [g for g in ("/sys/fs/cgroup/pids", "/sys/fs/cgroup") if os.path.exists("%s%s/%s-c" % (g, CGROUP, s.ns))][0]
    limit = "%s%s/%s-c/pids.max" % (group, CGROUP, s.ns)
    assert open(limit).read() == "100\n"
    c.call("Pause")
    c.call("Update", resources=wk.Any(type_url=RESOURCES, value=b'{"pids":{"limit":77},"memory":{"limit":104857600}}'))
    assert open(limit).read() == "77\n"
    assert c.call("State").status == task.PAUSED
    refused(2, c.call, "Pause")
    refused(2, c.exec, "e", "/bin/true")
    c.call("Resume")
    refused(2, c.call, "Resume")
    refused(3, c.call, "Update")
    refused(3, c.call, "Update", resources=wk.Any(type_url=RESOURCES, value=b'{"pids":'))
    c.call("Kill", signal=9)
    c.wait()
    refused(2, c.call, "Update", resources=wk.Any(type_url=RESOURCES, value=b'{"pids":{"limit":100}}'))
    c.end()
    s.events.wait("/tasks/delete", "c")
    assert s.events.topics() == ["/tasks/" + w for w in ("create", "start", "paused", "resumed", "exit", "delete")], s.events.topics()


def stats(s):
    def change(k):
        k["linux"].setdefault("resources", {})["pids"] = {"limit": 50}
        k["linux"]["resources"]["memory"] = {"limit": 64 << 20}
    c = Container(s, "c", "/bin/sh", "-c", "head -c 3000000 /dev/zero >/tmp/f; cat /tmp/f >/dev/null; echo ready; sleep 1000; true", change=change).create().start()
    c.out.read_until(b"ready")
    until(lambda: len(c.call("Pids").processes) == 2)
    any = c.call("Stats").stats
    import importlib
    if any.type_url == "io.containerd.cgroups.v1.Metrics":
        m = importlib.import_module("cgroup1_pb2").Metrics.FromString(any.value)
        assert m.pids.current == 2 and m.pids.limit == 50 and m.cpu.usage.total > 0 and m.memory.usage.limit == 64 << 20, m
        assert m.memory.usage.usage > 0 and m.memory.hierarchical_memory_limit == 64 << 20 and len(m.cpu.usage.per_cpu) >= 1
    else:
        assert any.type_url == "io.containerd.cgroups.v2.Metrics", any.type_url
        m = importlib.import_module("cgroup2_pb2").Metrics.FromString(any.value)
        assert m.pids.current == 2 and m.pids.limit == 50 and m.cpu.usage_usec > 0 and m.memory.usage_limit == 64 << 20, m
    c.end()


def oom(s):
    def change(k):
        k["linux"].setdefault("resources", {})["memory"] = {"limit": 8 << 20, "swap": 8 << 20}
    c = Container(s, "c", "/bin/sh", "-c", "dd if=/dev/zero of=/dev/null bs=100M count=1; sleep 1000", change=change).create().start()
    s.events.wait("/tasks/oom", "c")
    assert c.call("State").status == task.RUNNING
    c.end()


def kill_all(s):
    c = Container(s, "c", "/bin/sh", "-c", "trap 'echo got; exit 9' USR1; sleep 1000 & echo ready; while :; do wait; done").create().start()
    c.out.read_until(b"ready")
    c.call("Kill", signal=10)
    assert c.wait().exit_status == 9
    c.end()
    d = Container(s, "d", "/bin/sh", "-c", "sleep 1000 & sleep 1001 & wait; sleep 1000").create().start()
    until(lambda: len(d.call("Pids").processes) == 3)
    d.call("Kill", signal=15, all=True)
    until(lambda: len(d.call("Pids").processes) <= 2)
    refused(2, d.call, "Kill", signal=12345)
    d.end()
    e = Container(s, "e", "/bin/true").create()
    e.call("Kill", signal=9)                   # created, never started
    assert e.wait().exit_status == 137
    e.end()
    f = Container(s, "f", "/bin/true").create()
    r = f.call("Delete")                       # the same at once
    assert r.exit_status == 137
    f.call("Shutdown")
    s.events.wait("/tasks/delete", "f")
    assert s.events.topics("f") == ["/tasks/create", "/tasks/exit", "/tasks/delete"], s.events.topics("f")


def failures(s):
    c = Container(s, "c", "/nowhere")
    try:
        c.create()
        text = refused(2, c.start)
    except Error as e:
        text = e.text
    assert "/nowhere" in text, text
    try:
        c.call("Delete")
    except Error as e:
        assert e.code == 5, e
    c.call("Shutdown")
    d = Container(s, "d", "/bin/true")
    refused(12, d.create, options=wk.Any(type_url="containerd.runc.v1.Options", value=runc.Options(systemd_cgroup=True).SerializeToString()))
    refused(5, d.c.call, "Create", id="d", bundle=d.bundle, rootfs=[task.Mount(type="bind", source="/nowhere", options=["rbind"])])
    refused(3, d.c.call, "Create", id="d", bundle=d.bundle, rootfs=[task.Mount(type="bind", source="/tmp", target="../x", options=["rbind"])])
    assert "nosuchfs" in refused(2, d.c.call, "Create", id="d", bundle=d.bundle, rootfs=[task.Mount(type="nosuchfs", source="x")])
    assert not os.path.ismount(d.bundle + "/rootfs")
    d.create().start()
    d.wait()
    d.end()


def group(s):
    """Containers of one pod are in one shim."""
    a = Container(s, "a", "/bin/sleep", "1000", group="pod").create().start()
    b = Container(s, "b", "/bin/sleep", "1000", group="pod").create().start()
    other = Container(s, "o", "/bin/sleep", "1000").create().start()
    assert a.answer == b.answer != other.answer
    assert a.call("Connect").shim_pid == b.call("Connect").shim_pid != other.call("Connect").shim_pid
    a.call("Kill", signal=9)
    a.wait()
    a.call("Delete")
    a.call("Shutdown")                   # b is still there
    assert b.call("State").status == task.RUNNING
    b.end()
    other.end()


def command_line(s):
    info = intro.RuntimeInfo.FromString(s.run("x", WORK, "-info"))
    assert info.name == "io.containerd.torpor.v1" and info.version.version
    features = json.loads(info.features.value)
    assert features["ociVersionMax"] >= "1.2" and "linux" in features
    assert b"Version" in s.run("x", WORK, "-v")
    assert b"-namespace" in subprocess.run([s.program, "start"], stderr=subprocess.STDOUT, stdout=subprocess.PIPE).stdout
    assert b"no identifiers" in s.run("../x", WORK, "start", check=False)
    assert b"unknown action" in s.run("x", WORK, "dance", check=False)
    assert b"not defined" in s.run("x", WORK, "--nonsense", check=False)
    assert b"-bundle" in s.run("x", WORK, "delete", check=False)
    assert b"-debug-socket /d: it is for profiles" in s.run("x", WORK, "-debug-socket", "/d", "start", check=False)
    assert b"-socket /s: it is for the shim itself" in s.run("x", WORK, "-socket", "/s", "start", check=False)
    # containerd 1.6 reads a bare address.
    old = WORK + "/old"
    os.mkdir(old)
    shutil.copy(WORK + "/bundle/config.json", old)
    address = s.start("old", old, env={"MAX_SHIM_VERSION": None}).decode()
    assert address.startswith("unix:///run/containerd/s/torpor-"), address
    k = t.Client(address[len("unix://"):])
    pid = k.call("Connect", id="old").shim_pid
    k.call("Shutdown", id="old")
    until(lambda: gone(pid))
    # containerd 2.3 and newer say more, and where sockets are wanted.
    bundle, sockets = WORK + "/boot", WORK + "/sockets"
    os.mkdir(bundle)
    shutil.copy(WORK + "/bundle/config.json", bundle)
    group = "%s/shim" % CGROUP
    options = wk.Any(type_url="containerd.runc.v1.Options", value=runc.Options(shim_cgroup=group).SerializeToString())
    params = bootstrap.BootstrapParams(instance_id="boot", namespace=s.ns, socket_dir=sockets,
                                       extensions=[bootstrap.Extension(value=options)])
    answer = json.loads(s.start("boot", bundle, data=params.SerializeToString()))
    assert answer["address"].startswith("unix://" + sockets + "/"), answer
    c = t.Client(answer["address"][7:])
    pid = c.call("Connect", id="boot").shim_pid
    assert group in open("/proc/%d/cgroup" % pid).read()
    score = int(open("/proc/%d/oom_score_adj" % pid).read())
    mine = int(open("/proc/self/oom_score_adj").read())
    assert score == min(mine + 1, 1000), (score, mine)
    c.call("Shutdown", id="boot")
    until(lambda: gone(pid))
    for parent in os.listdir("/sys/fs/cgroup"):
        if os.path.isdir("/sys/fs/cgroup/%s%s" % (parent, group)):
            os.rmdir("/sys/fs/cgroup/%s%s" % (parent, group))


def roots(s):
    """Root directories: attributes of bind mounts, targets inside, overlays of many layers."""
    rootfs = WORK + "/bundle/rootfs"

    def made(id, mounts, *args):
        c = Container(s, id, *args)
        c.c.call("Create", id=id, bundle=c.bundle, rootfs=[task.Mount(**m) for m in mounts], stdout=c.out.path)
        return c
    c = made("ro", [dict(type="bind", source=rootfs, options=["rbind", "ro", "nosuid"])], "/bin/sh", "-c", "touch /x 2>/dev/null || echo no")
    flags = os.statvfs(c.bundle + "/rootfs").f_flag
    assert flags & os.ST_RDONLY and flags & os.ST_NOSUID, flags
    c.start()
    assert c.out.read_until(b"\n") == b"no\n" and not os.path.exists(rootfs + "/x")
    c.end()
    image, other = WORK + "/image", WORK + "/other"
    os.makedirs(image + "/mnt")
    os.mkdir(other)
    os.symlink("/mnt", image + "/link")
    open(other + "/marker", "w").close()
    c = made("in", [dict(type="bind", source=rootfs, options=["rbind", "rw"]), dict(type="bind", source=image, target="/mnt", options=["bind"]),
                    dict(type="bind", source=other, target="/mnt/link", options=["bind", "ro"])], "/bin/ls", "/mnt")
    assert not os.path.exists("/mnt/marker") and os.path.exists(c.bundle + "/rootfs/mnt/marker")
    assert os.statvfs(c.bundle + "/rootfs/mnt").f_flag & os.ST_RDONLY and not os.statvfs(c.bundle + "/rootfs").f_flag & os.ST_RDONLY
    c.start()
    assert c.out.read_until(b"\n") == b"marker\n"
    c.end()
    d = Container(s, "d", "/bin/true")
    for options, what in ((["userxattr"], "bind mount"), (["remount"], "remount")):
        assert what in refused(12 if what == "remount" else 3, d.c.call, "Create", id="d", bundle=d.bundle,
                               rootfs=[task.Mount(type="bind", source=rootfs, options=options)])
    d.call("Shutdown")
    layers = "%s/%s" % (WORK, "layers" * 20)
    lower = ["%s/%d/fs" % (layers, n) for n in range(60)]
    for n, path in enumerate(lower):
        os.makedirs(path)
        open("%s/layer%02d" % (path, n), "w").close()
    os.mkdir(layers + "/60")
    os.symlink(rootfs, layers + "/60/fs")
    for n in ("upper", "work"):
        os.mkdir(layers + "/" + n)
    overlay = dict(type="overlay", source="overlay", options=["workdir=%s/work" % layers, "upperdir=%s/upper" % layers, "lowerdir=" + ":".join(lower + [layers + "/60/fs"])])
    assert len(overlay["options"][2]) > 4096
    try:
        c = made("deep", [overlay], "/bin/sh", "-c", "ls -d /layer* | wc -l; touch /new")
    except Error as e:
        assert "No such device" in e.text or "Invalid argument" in e.text, e
        print("overlay: not here: " + e.text)
        return
    c.start()
    assert c.out.read_until(b"\n") == b"60\n"
    assert c.wait().exit_status == 0 and os.path.exists(layers + "/upper/new")
    c.end()


run([life, version2, short, execs, shared_pids, terminal, half_close, last_words, back_pressure, log_uris, update, stats, oom, kill_all, failures,
     group, command_line, roots])
