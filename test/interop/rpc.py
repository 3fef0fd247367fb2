# SPDX-License-Identifier: Apache-2.0
"""A client of CRIU's RPC, by pycriu: rpc.py ENGINE SERVICE_SOCKET DIR. Prints "ok" at the end."""
import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import time

import pycriu
from pycriu import rpc_pb2 as rpc

engine, service, top = sys.argv[1:]


def expect(value, what):
    if not value:
        sys.exit("failed: " + what)


def directory(name):
    path = os.path.join(top, name)
    os.mkdir(path)
    return os.open(path, os.O_DIRECTORY), path


def counter(path):
    """A process that counts into a file, in a session of its own."""
    code = "i=0; while :; do i=$((i+1)); echo $i > %s; sleep 0.02; done" % path
    null = subprocess.DEVNULL
    return subprocess.Popen(["setsid", "sh", "-c", code], stdin=null, stdout=null, stderr=null, close_fds=True)


def value(path):
    try:
        return int(open(path).read() or 0)
    except (FileNotFoundError, ValueError):
        return 0


def goes_on(path):
    before, end = value(path), time.time() + 60
    while value(path) <= before:
        expect(time.time() < end, "the program does not go on")
        time.sleep(0.02)


def started(name, make=counter):
    path = os.path.join(top, name)
    program = make(path)
    goes_on(path)
    return path, program


def state(pid):
    return open("/proc/%d/stat" % pid).read().rsplit(")", 1)[1].split()[0]


def alive(pid):
    try:
        return state(pid) != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(program):
    """The dumped tree, its orphans included: they are ours (see the end)."""
    program.wait()
    reap()


def reap():
    """Our children that are a counter's processes, but not the workers and servers. They have been killed."""
    for name in os.listdir("/proc"):
        try:
            words = open("/proc/%s/stat" % name).read().replace("(", ")").split(")") if name.isdigit() else []
            if words and words[1] in ("sh", "sleep", "setsid") and int(words[2].split()[1]) == os.getpid():
                os.waitpid(int(name), 0)
        except (FileNotFoundError, ProcessLookupError, ChildProcessError):
            pass


def client(name=None):
    c = pycriu.criu()
    if name == "service":
        c.use_sk(service)
    else:
        c.use_binary(engine)
    return c


def descendants(pid):
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if int(open("/proc/%s/stat" % name).read().rsplit(")", 1)[1].split()[1]) == pid:
                    yield int(name)
            except (FileNotFoundError, ProcessLookupError):
                pass


def end(pid):
    os.kill(pid, signal.SIGSTOP)
    while state(pid) not in "TZ":       # it may still be busy with a child
        time.sleep(0.01)
    for child in list(descendants(pid)):
        os.kill(child, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    while alive(pid):
        time.sleep(0.01)


def questions():
    c = client()
    c.check()
    expect(c.get_criu_version() >= 40000 if hasattr(c, "get_criu_version") else True, "the version")
    req = rpc.criu_req(type=rpc.VERSION)
    resp = c._send_req_and_recv_resp(req)
    expect(resp.success and resp.version.major_number == 4, "VERSION")
    req = rpc.criu_req(type=rpc.FEATURE_CHECK)
    req.features.mem_track = True
    resp = client()._send_req_and_recv_resp(req)
    expect(resp.success and resp.features.mem_track and not resp.features.lazy_pages, "FEATURE_CHECK")
    resp = client()._send_req_and_recv_resp(rpc.criu_req(type=rpc.EMPTY))
    expect(not resp.success and resp.type == rpc.EMPTY, "EMPTY is refused")
    resp = client()._send_req_and_recv_resp(rpc.criu_req(type=rpc.DUMP))
    expect(not resp.success, "a dump without options is refused")


def dump_and_restore(how):
    path = os.path.join(top, how + ".count")
    program = counter(path)
    goes_on(path)
    fd, images = directory(how)
    c = client(how)
    c.opts.images_dir_fd = fd
    c.opts.pid = program.pid
    c.opts.log_level = 4
    c.opts.leave_running = True
    c.dump()
    goes_on(path)
    expect(os.path.exists(images + "/criu.log"), "criu.log")
    c.opts.leave_running = False
    c.opts.log_file = "second.log"
    c.dump()
    gone(program)
    expect(os.path.exists(images + "/second.log"), "the log file")
    c.opts.ClearField("pid")
    pid = c.restore().pid
    expect(pid == program.pid and alive(pid), "the restored program has its pid")
    goes_on(path)
    end(pid)


def errors():
    fd, images = directory("errors")
    c = client()
    c.opts.images_dir_fd = fd
    c.opts.pid = 0x3ffffe
    req = rpc.criu_req(type=rpc.DUMP)
    req.opts.MergeFrom(c.opts)
    resp = c._send_req_and_recv_resp(req)
    expect(not resp.success and resp.cr_errno == 3, "ESRCH: %s" % resp)
    expect("no task 4194302" in resp.cr_errmsg, "the reason: " + resp.cr_errmsg)
    expect("Error" in open(images + "/criu.log").read(), "the log has the error")
    req.opts.log_file = "a/b"
    resp = client()._send_req_and_recv_resp(req)
    expect(not resp.success, "a log file elsewhere is refused")


def raw(inherited=(), stderr=None):
    """A connection to a worker, for what pycriu has no method for."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.set_inheritable(True)
    worker = subprocess.Popen([engine, "swrk", str(theirs.fileno())], pass_fds=[theirs.fileno(), *inherited], stderr=stderr)
    theirs.close()
    return ours, worker


def answer(sock):
    resp = rpc.criu_resp()
    resp.ParseFromString(sock.recv(65536))
    return resp


def ask(sock, type, opts, external=()):
    req = rpc.criu_req(type=type)
    req.opts.MergeFrom(opts)
    sock.send(req.SerializeToString())
    seen = []
    while True:
        resp = answer(sock)
        if resp.type != rpc.NOTIFY:
            return resp, seen
        seen.append(resp.notify.script)
        agrees = resp.notify.script != refused
        req = rpc.criu_req(type=rpc.NOTIFY, notify_success=agrees)
        if resp.notify.script == "query-ext-files" and external:
            req.opts.images_dir_fd = -1
            req.opts.external.extend(external)
        sock.send(req.SerializeToString())


def notifications():
    global refused
    path, program = started("notify.count")
    fd, images = directory("notify")
    opts = rpc.criu_opts(images_dir_fd=fd, pid=program.pid, notify_scripts=True)
    for refused in "pre-dump", "post-dump":
        sock, worker = raw()
        resp, seen = ask(sock, rpc.DUMP, opts)
        expect(not resp.success and seen[-1] == refused, "a refused %s: %s" % (refused, seen))
        expect(worker.wait() != 0, "the worker's status")
        goes_on(path)
    refused = None
    sock, worker = raw()
    resp, seen = ask(sock, rpc.DUMP, opts)
    expect(resp.success and seen == ["pre-dump", "query-ext-files", "post-dump"], "a dump's points: %s" % seen)
    expect(worker.wait() == 0, "the worker's status")
    gone(program)
    opts.ClearField("pid")
    opts.rst_sibling = True
    refused = "post-restore"
    sock, worker = raw()
    resp, seen = ask(sock, rpc.RESTORE, opts)
    expect(not resp.success and not alive(program.pid), "a refused restore leaves nothing")
    worker.wait()
    reap()
    refused = None
    sock, worker = raw()
    resp, seen = ask(sock, rpc.RESTORE, opts)
    expect(resp.success and seen == ["pre-restore", "post-restore", "pre-resume", "post-resume"], "a restore's points: %s %s" % (seen, resp))
    worker.wait()
    goes_on(path)
    end(resp.restore.pid)
    expect(os.waitpid(resp.restore.pid, 0)[0] == resp.restore.pid, "a sibling is the client's child")


def named_meanwhile():
    """A connection to outside, which the client names when it is asked."""
    global refused
    refused = None
    path = os.path.join(top, "outside.count")
    ours, theirs = socket.socketpair()
    inode = os.fstat(theirs.fileno()).st_ino
    program = subprocess.Popen(["setsid", "sh", "-c", "i=0; while :; do i=$((i+1)); echo $i > %s; sleep 0.02; done" % path],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
    theirs.close()
    goes_on(path)
    fd, images = directory("outside")
    opts = rpc.criu_opts(images_dir_fd=fd, pid=program.pid, notify_scripts=True)
    resp, seen = ask(raw()[0], rpc.DUMP, opts)
    expect(not resp.success and str(inode) in resp.cr_errmsg, "a connection to outside: %s" % resp)
    goes_on(path)
    resp, seen = ask(raw()[0], rpc.DUMP, opts, ["unix[%d]" % inode])
    expect(resp.success, "a connection that was named: %s" % resp)
    gone(program)


def oneself():
    fd, images = directory("oneself")
    resp, seen = ask(raw()[0], rpc.DUMP, rpc.criu_opts(images_dir_fd=fd))
    expect(not resp.success and "itself" in resp.cr_errmsg, "a dump of the client: %s" % resp)


def stranger():
    """Another user is refused by root's service, and told why."""
    os.chmod(top, 0o711)
    child = os.fork()
    if child == 0:
        os.chdir(top)
        os.setresuid(65534, 65534, 65534)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.connect("socket")
        sock.send(rpc.criu_req(type=rpc.VERSION).SerializeToString())
        resp = answer(sock)
        os._exit(0 if not resp.success and resp.cr_errno == 1 and "user 65534" in resp.cr_errmsg else 1)
    expect(os.waitpid(child, 0)[1] == 0, "another user's request")


def processor():
    fd, images = directory("processor")
    sock, worker = raw()
    for type in rpc.CPUINFO_DUMP, rpc.CPUINFO_CHECK:
        req = rpc.criu_req(type=type, keep_open=True)
        req.opts.images_dir_fd = fd
        sock.send(req.SerializeToString())
        resp = answer(sock)
        expect(resp.success and resp.type == type, "cpuinfo: %s" % resp)
    sock.close()
    expect(worker.wait() == 0 and os.path.exists(images + "/cpuinfo.img"), "cpuinfo.img")


def rounds():
    global refused
    refused = None
    path, program = started("rounds.count")
    sock, worker = raw()
    for n, type in enumerate((rpc.PRE_DUMP, rpc.PRE_DUMP, rpc.DUMP)):
        fd, images = directory("round%d" % n)
        opts = rpc.criu_opts(images_dir_fd=fd, pid=program.pid, track_mem=True, pidfd_store_sk=sock.fileno())
        if n:
            opts.parent_img = "../round%d" % (n - 1)
        resp, _ = ask(sock, type, opts)
        expect(resp.success and resp.type == type, "round %d: %s" % (n, resp))
    expect(worker.wait() == 0, "the worker's status")
    gone(program)
    c = client()
    c.opts.images_dir_fd = fd
    pid = c.restore().pid
    goes_on(path)
    end(pid)


def pages_to(program, fd, parent=None):
    """A round of a program, its pages by a page server that frees in the round before what it gets again."""
    server, other = client(), client()
    for c in server, other:
        c.opts.images_dir_fd = fd
        c.opts.ps.address = "127.0.0.1"
        if parent:
            c.opts.parent_img = parent
    server.opts.auto_dedup = parent is not None
    info = server.page_server_chld()
    expect(info.pid > 0 and info.port > 0, "the page server: %s" % info)
    other.opts.pid = program.pid
    other.opts.ps.port = info.port
    if parent:
        other.dump()
        gone(program)
    else:
        other.opts.track_mem = True
        other.pre_dump()
    expect(server.wait_pid(info.pid) == 0, "the page server's status")


def blocks(images):
    return sum(os.stat(os.path.join(images, name)).st_blocks for name in os.listdir(images) if name.startswith("pages-"))


def page_server():
    path, program = started("pages.count")
    first, images = directory("pages0")
    second, _ = directory("pages1")
    pages_to(program, first)
    goes_on(path)
    before = blocks(images)
    pages_to(program, second, "../pages0")
    expect(blocks(images) < before, "auto_dedup of a page server")
    restored = client()
    restored.opts.images_dir_fd = second
    pid = restored.restore().pid
    goes_on(path)
    end(pid)


def holder(path):
    """A counter with 2 MB of random bytes, whose sum is in PATH.first; again in PATH.sum when PATH.ask is there."""
    code = """data=$(head -c 1500000 /dev/urandom | base64); echo "$data" | md5sum >%s.first
        i=0; while :; do i=$((i+1)); echo $i >%s; sleep 0.02
        [ ! -e %s.ask ] || { echo "$data" | md5sum >%s.new; mv %s.new %s.sum; rm %s.ask; }; done""" % ((path,) * 7)
    null = subprocess.DEVNULL
    return subprocess.Popen(["setsid", "sh", "-c", code], stdin=null, stdout=null, stderr=null, close_fds=True)


def wait_for(condition, what):
    end = time.time() + 60
    while not condition():
        expect(time.time() < end, what)
        time.sleep(0.02)


def appears(path):
    wait_for(lambda: os.path.exists(path), "there is never a " + path)


def listens(pid):
    """It takes connections at a unix socket, whose name is there before that."""
    folder = "/proc/%d/fd/" % pid
    try:
        own = [os.readlink(folder + name) for name in os.listdir(folder)]
    except FileNotFoundError:       # closed just now
        return False
    return any(words[3] == "00010000" and "socket:[%s]" % words[6] in own for words in map(str.split, open("/proc/net/unix")))


def given():
    """A page server that gives: a restore, lazy too, from images without pages has them from it."""
    path, program = started("given.count", holder)
    fd, images = directory("given")
    bare, there = directory("given.bare")
    c = client()
    c.opts.images_dir_fd = fd
    c.opts.pid = program.pid
    c.dump()
    gone(program)
    for name in os.listdir(images):
        if not name.startswith("pages-"):
            os.link("%s/%s" % (images, name), "%s/%s" % (there, name))
    server = client()
    server.opts.images_dir_fd = fd
    server.opts.lazy_pages = True
    server.opts.ps.address = "127.0.0.1"
    info = server.page_server_chld()
    expect(info.pid > 0 and info.port > 0, "the page server: %s" % info)
    pager = subprocess.Popen([engine, "lazy-pages", "-D", there, "-o", "lazy.log", "--page-server", "--address", "127.0.0.1", "--port", str(info.port)])
    wait_for(lambda: listens(pager.pid), "the pager never listens")
    restored = client()
    restored.opts.images_dir_fd = bare
    restored.opts.lazy_pages = True
    pid = restored.restore().pid
    expect(pager.wait() == 0, "the pager: " + open(there + "/lazy.log").read())
    expect(server.wait_pid(info.pid) == 0, "the page server's status")
    goes_on(path)
    open(path + ".ask", "w").close()
    appears(path + ".sum")
    expect(open(path + ".sum").read() == open(path + ".first").read(), "the data that came from the page server")
    end(pid)


def talker(out):
    """A process that writes into a descriptor of ours."""
    null = subprocess.DEVNULL
    return subprocess.Popen(["setsid", "sh", "-c", "while :; do echo word; sleep 0.02; done"], stdin=null, stdout=out, stderr=null)


def inherited():
    """A pipe whose other end is ours: after the restore it is another one."""
    global refused
    refused = None
    reader, writer = os.pipe()
    program = talker(writer)
    os.close(writer)
    expect(os.read(reader, 5) == b"word\n", "the first pipe")
    key = os.readlink("/proc/self/fd/%d" % reader)
    fd, images = directory("inherited")
    resp, _ = ask(raw()[0], rpc.DUMP, rpc.criu_opts(images_dir_fd=fd, pid=program.pid, external=[key]))
    expect(resp.success, "a dump with a pipe to outside: %s" % resp)
    gone(program)
    os.close(reader)
    reader, writer = os.pipe()
    opts = rpc.criu_opts(images_dir_fd=fd)
    opts.inherit_fd.add(key=key, fd=writer)
    served = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    served.connect(service)
    resp, _ = ask(served, rpc.RESTORE, opts)
    expect(not resp.success and "inherit_fd" in resp.cr_errmsg, "inherit_fd of a service: %s" % resp)
    resp, _ = ask(raw([writer])[0], rpc.RESTORE, opts)
    os.close(writer)
    expect(resp.success, "a restore with inherit_fd: %s" % resp)
    expect(os.read(reader, 5) == b"word\n", "the inherited pipe")
    end(resp.restore.pid)
    os.close(reader)


def command():
    """exec_cmd: the worker becomes the tree's parent, and says so into the log."""
    global refused
    refused = None
    path, program = started("command.count")
    fd, images = directory("command")
    opts = rpc.criu_opts(images_dir_fd=fd, pid=program.pid, cpu_cap=1 | 4)
    resp, _ = ask(raw()[0], rpc.DUMP, opts)
    expect(resp.success and os.path.exists(images + "/cpuinfo.img"), "a dump with cpu_cap: %s" % resp)
    gone(program)
    opts = rpc.criu_opts(images_dir_fd=fd, cpu_cap=1 | 4, log_file="restore.log")
    opts.exec_cmd.extend(["sh", "-c", "read -r pid rest </proc/$$/task/$$/children; echo parent $$ of $pid"])
    sock, worker = raw()
    resp, _ = ask(sock, rpc.RESTORE, opts)
    expect(resp.success, "a restore with exec_cmd: %s" % resp)
    expect(worker.wait() == 0, "the command's status")
    said = "parent %d of %d\n" % (worker.pid, resp.restore.pid)
    expect(said in open(images + "/restore.log").read(), "exec_cmd: " + open(images + "/restore.log").read())
    goes_on(path)
    end(resp.restore.pid)


def lazily():
    """A dump that serves pages: a byte comes through status_fd when it listens. Ended before anybody came, it has done nothing."""
    path, program = started("lazy.count")
    fd, images = directory("lazy")
    reader, writer = os.pipe()
    opts = rpc.criu_opts(images_dir_fd=fd, pid=program.pid, lazy_pages=True, status_fd=writer)
    opts.ps.address = os.path.join(top, "lazy.socket")
    sock, worker = raw()
    sock.send(rpc.criu_req(type=rpc.DUMP, opts=opts).SerializeToString())
    ready = select.select([reader, sock], [], [], 60)[0]
    expect(ready == [reader] and os.read(reader, 1) == b"\0", "status_fd")
    os.close(writer)
    expect(os.read(reader, 1) == b"", "the worker closes status_fd")
    worker.terminate()
    resp = answer(sock)
    expect(not resp.success, "a lazy dump that was ended")
    worker.wait()
    goes_on(path)
    end(program.pid)
    os.close(reader)


def to_stderr():
    fd, images = directory("stderr")
    reader, writer = os.pipe()
    opts = rpc.criu_opts(images_dir_fd=fd, pid=0x3ffffe, log_to_stderr=True, log_level=4)
    resp, _ = ask(raw(stderr=writer)[0], rpc.DUMP, opts)
    os.close(writer)
    expect(not resp.success and not os.path.exists(images + "/criu.log"), "log_to_stderr makes no file: %s" % resp)
    with os.fdopen(reader) as said:     # to the worker's end
        expect("no task 4194302" in said.read(), "log_to_stderr: the reason")


refused = None
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)   # PR_SET_CHILD_SUBREAPER
questions()
dump_and_restore("binary")
dump_and_restore("service")
errors()
notifications()
named_meanwhile()
oneself()
stranger()
processor()
rounds()
page_server()
given()
inherited()
command()
lazily()
to_stderr()
print("ok")
