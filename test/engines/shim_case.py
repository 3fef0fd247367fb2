# SPDX-License-Identifier: Apache-2.0
# For tests of the shim (shim_*.py): a container of it, and how cases are run, each a function with a shim of its own.
import faulthandler, fcntl, json, os, random, re, select, shutil, signal, socket, subprocess, sys, time, traceback
import ttrpc as t
from ttrpc import task, wk, runc, bootstrap, intro, torpor, pod, Error

WORK = sys.argv[1]
faulthandler.dump_traceback_later(200)
CGROUP = os.environ["TEST_CGROUP"]
RESOURCES = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources"
PROCESS = "types.containerd.io/opencontainers/runtime-spec/1/Process"


def until(what, seconds=60):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "never came true"
        time.sleep(0.02)


def name(pid):
    try:
        return open("/proc/%d/comm" % pid).read().strip()
    except OSError:
        return None


def gone(pid):
    try:
        return open("/proc/%d/stat" % pid).read().split()[2] == "Z"
    except OSError:
        return True


class Fifo:
    def __init__(self, path, reading):
        os.mkfifo(path)
        self.path = path
        self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK) if reading else -1

    def read(self, n=65536, timeout=60):
        """Something, or b'' at the end."""
        while True:
            assert select.select([self.fd], [], [], timeout)[0], "nothing came"
            try:
                return os.read(self.fd, n)
            except BlockingIOError:
                pass

    def read_until(self, text, timeout=60):
        data, end = b"", time.monotonic() + timeout
        while text not in data:
            assert time.monotonic() < end, data
            piece = self.read()
            if not piece:
                time.sleep(0.01)
            data += piece
        return data


class Container:
    """A bundle, its streams, its shim."""

    def __init__(self, shim, id, *args, change=None, out=True, inp=False, terminal=False, group=None, version=3, log=None):
        self.shim, self.id = shim, id
        self.bundle = "%s/%s-%s" % (WORK, shim.ns, id)
        os.mkdir(self.bundle)
        os.symlink(WORK + "/bundle/rootfs", self.bundle + "/rootfs-source")
        os.mkdir(self.bundle + "/rootfs")
        config = json.load(open(WORK + "/bundle/config.json"))
        config["process"]["args"] = list(args)
        config["process"]["terminal"] = terminal
        config["linux"]["cgroupsPath"] = "%s/%s-%s" % (CGROUP, shim.ns, id)
        if group:
            config["annotations"] = {"io.kubernetes.cri.sandbox-id": group}
        if change:
            change(config)
        json.dump(config, open(self.bundle + "/config.json", "w"))
        self.terminal = terminal
        self.out = Fifo(self.bundle + "/out", True) if out else None
        self.err = Fifo(self.bundle + "/err", True) if out and not terminal else None
        self.inp = Fifo(self.bundle + "/in", False) if inp else None
        self.log = log
        answer = shim.start(id, self.bundle)
        self.answer = json.loads(answer)
        self.socket = self.answer["address"][len("unix://"):]
        assert open(self.bundle + "/address").read() == self.answer["address"]
        self.c = t.Client(self.socket, version)

    def create(self, **more):
        mounts = [task.Mount(type="bind", source=WORK + "/bundle/rootfs", options=["rbind", "rw"])]
        r = self.c.call("Create", id=self.id, bundle=self.bundle, rootfs=mounts, terminal=self.terminal,
                        stdin=self.inp.path if self.inp else "", stdout=self.log or (self.out.path if self.out else ""),
                        stderr=self.log or (self.err.path if self.err else ""), **more)
        self.pid = r.pid
        if self.inp:
            self.inp.fd = os.open(self.inp.path, os.O_WRONLY | os.O_NONBLOCK)
        return self

    def start(self):
        r = self.c.call("Start", id=self.id)
        self.pid = r.pid
        return self

    def call(self, method, **more):
        return self.c.call(method, id=self.id, **more)

    def exec(self, exec_id, *args, **more):
        p = json.load(open(self.bundle + "/config.json"))["process"]
        p.update(args=list(args), terminal=more.get("terminal", False))
        self.call("Exec", exec_id=exec_id, spec=wk.Any(type_url=PROCESS, value=json.dumps(p).encode()), **more)
        return self.call("Start", exec_id=exec_id).pid

    def wait(self, exec_id="", timeout=100):
        return self.c.begin("Wait", id=self.id, exec_id=exec_id)(timeout)

    def end(self):
        """Deleted, and nothing is left."""
        if self.call("State").status != task.STOPPED:
            try:
                self.call("Kill", signal=9, all=True)
            except Error:   # it has ended by itself meanwhile
                pass
        self.wait()
        r = self.call("Delete")
        assert not os.path.ismount(self.bundle + "/rootfs")
        shim_pid = self.call("Connect").shim_pid
        self.call("Shutdown")
        assert not os.path.exists(self.socket)      # at once: the next of this name is not to find one that ends
        until(lambda: gone(shim_pid))
        shutil.rmtree(self.bundle)
        return r


def refused(code, what, *a, **k):
    try:
        what(*a, **k)
    except Error as e:
        assert e.code == code, e
        return e.text
    raise AssertionError("not refused")


def answers(path):
    try:
        with socket.socket(socket.AF_UNIX) as k:
            k.connect(path)
        return True
    except OSError:
        return False


def children(pid, name):
    """Processes of this name that the shim has."""
    found = []
    for p in open("/proc/%d/task/%d/children" % (pid, pid)).read().split():
        try:
            if open("/proc/%s/comm" % p).read().strip() == name:
                found.append(int(p))
        except OSError:
            pass
    return found


def shims_of(s):
    found = []
    for n in os.listdir("/proc"):
        try:
            if n.isdigit() and ("-namespace\0%s\0" % s.ns).encode() in open("/proc/%s/cmdline" % n, "rb").read():
                found.append(int(n))
        except OSError:
            pass
    return found


def tidy(s):
    """After a failed case."""
    for pid in shims_of(s):
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            pass
    for n in os.listdir(WORK):
        if n.startswith(s.ns + "-"):
            s.run(n[len(s.ns) + 1:], WORK + "/" + n, "-bundle", WORK + "/" + n, "delete", check=False)


def run(cases):
    wanted = [f for f in cases if re.search(os.environ.get("CASE", ""), f.__name__)]
    failed = []
    for f in wanted:
        folder = "%s/%s" % (WORK, f.__name__)
        os.mkdir(folder)
        s = t.Shim(folder, ns=f.__name__)
        began = time.monotonic()
        try:
            f(s)
            print("%s: ok (%.1f s)" % (f.__name__, time.monotonic() - began), flush=True)
        except Exception:
            traceback.print_exc(file=sys.stdout)
            print("%s: FAILED" % f.__name__, flush=True)
            failed.append(f.__name__)
            tidy(s)
        until(lambda: not shims_of(s))      # they wait for their last events to be taken
        s.events.end()
    if not failed:
        sockets = os.path.isdir("/run/containerd/s") and os.listdir("/run/containerd/s")
        assert not sockets, sockets
        for n in os.listdir("/run/containerd/torpor"):
            left = set(os.listdir("/run/containerd/torpor/" + n)) - {"seccomp~"}
            assert not left, (n, left)
    sys.exit(1 if failed else 0)
