# SPDX-License-Identifier: Apache-2.0
# ttrpc for tests: a client of the shim, a server that takes events as containerd does, and the shim started as containerd starts it.
# The messages are made by protoc from proto/shim/ when a test begins; needs Debian's python3-protobuf and protobuf-compiler.
import glob, importlib, os, queue, shutil, socket, struct, subprocess, sys, tempfile, threading, time

TOP = os.path.realpath(os.path.join(os.path.dirname(os.path.realpath(__file__)), "../.."))
HEADER = struct.Struct(">IIBB")


def make_messages(folder=TOP + "/proto/shim", needs=()):
    out = tempfile.mkdtemp(dir=os.environ.get("TEST_DIR"))
    subprocess.run(["protoc", "-I" + folder, "--python_out=" + out] + sorted(glob.glob(folder + "/*.proto")), check=True)
    sys.path.insert(0, out)


def skip(why):
    print(why)
    sys.exit(77)


try:
    import google.protobuf
except ImportError:
    skip("python3-protobuf is not installed")
if not shutil.which("protoc"):
    skip("protoc is not installed (protobuf-compiler)")
make_messages()
task, wk, runc, ttrpc, events, sandbox, bootstrap, intro, torpor, pod = (importlib.import_module(m + "_pb2") for m in (
    "task", "wellknown", "options", "ttrpc", "events", "sandbox", "bootstrap", "introspection", "torpor", "pod"))

REQUESTS = {"Create": task.CreateTaskRequest, "Exec": task.ExecProcessRequest, "Checkpoint": task.CheckpointTaskRequest,
            "Update": task.UpdateTaskRequest}
ANSWERS = {"Create": task.CreateTaskResponse, "Start": task.StartResponse, "State": task.StateResponse, "Delete": task.DeleteResponse,
           "Pids": task.PidsResponse, "Wait": task.WaitResponse, "Stats": task.StatsResponse, "Connect": task.ConnectResponse}


class Error(Exception):
    def __init__(self, code, text):
        super().__init__("%d: %s" % (code, text))
        self.code, self.text = code, text


def read_exactly(sock, n):
    data = b""
    while len(data) < n:
        piece = sock.recv(n - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def read_frame(sock):
    size, stream, kind, flags = HEADER.unpack(read_exactly(sock, HEADER.size))
    return stream, kind, flags, read_exactly(sock, size)


def frame(stream, kind, payload, flags=0):
    return HEADER.pack(len(payload), stream, kind, flags) + payload


class Client:
    """One connection. call() waits for the answer; send() returns a function that does."""

    def __init__(self, path, version=3):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)
        self.service = "containerd.task.v%d.Task" % version
        self.next, self.waiting, self.lock = 1, {}, threading.Lock()
        threading.Thread(target=self.receive, daemon=True).start()

    def receive(self):
        try:
            while True:
                stream, kind, flags, data = read_frame(self.sock)
                self.waiting.pop(stream).put(ttrpc.Response.FromString(data))
        except (EOFError, OSError):
            for q in list(self.waiting.values()):
                q.put(None)

    def send(self, service, method, payload, answer):
        q = queue.Queue()
        with self.lock:
            stream, self.next = self.next, self.next + 2
            self.waiting[stream] = q
            request = ttrpc.Request(service=service, method=method, payload=payload)
            self.sock.sendall(frame(stream, 1, request.SerializeToString()))

        def result(timeout=100):
            r = q.get(timeout=timeout)
            if r is None:
                raise EOFError("the connection was closed")
            if r.status.code:
                raise Error(r.status.code, r.status.message)
            return answer.FromString(r.payload) if answer else None
        return result

    def begin(self, method, **fields):
        kind = REQUESTS.get(method) or getattr(task, method + "Request")
        return self.send(self.service, method, kind(**fields).SerializeToString(), ANSWERS.get(method))

    def call(self, method, **fields):
        return self.begin(method, **fields)()

    def begin_sandbox(self, method, **fields):
        name = {"Platform": "Platform", "PingSandbox": "Ping"}.get(method, method)
        answer = getattr(sandbox, name + "Response")
        return self.send("containerd.runtime.sandbox.v1.Sandbox", method,
                         getattr(sandbox, name + "Request")(**fields).SerializeToString(), answer)

    def sandbox(self, method, **fields):
        return self.begin_sandbox(method, **fields)()

    def close(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


class EventServer:
    """Takes events and keeps (topic, message)."""

    def __init__(self, path):
        self.path, self.list, self.changed, self.open, self.hold = path, [], threading.Condition(), [], False
        self.begin()

    def begin(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(self.path)
        self.sock.listen(64)
        threading.Thread(target=self.accept, args=(self.sock,), daemon=True).start()

    def end(self):
        """As when containerd is away."""
        os.unlink(self.path)
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        for c in self.open:
            try:
                c.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.open = []

    def accept(self, sock):
        try:
            while True:
                c, _ = sock.accept()
                self.open.append(c)
                threading.Thread(target=self.serve, args=(c,), daemon=True).start()
        except OSError:
            pass

    def serve(self, c):
        try:
            while True:
                stream, kind, flags, data = read_frame(c)
                e = events.ForwardRequest.FromString(ttrpc.Request.FromString(data).payload).envelope
                name = e.event.type_url
                assert name.startswith("containerd.events."), name
                message = getattr(events, name.rsplit(".", 1)[1]).FromString(e.event.value)
                hold = self.hold    # before anybody knows of it: who has waited for this one may say so of the next
                with self.changed:
                    self.list.append((e.topic, message))
                    self.changed.notify_all()
                while hold and self.hold:
                    time.sleep(0.01)
                c.sendall(frame(stream, 2, ttrpc.Response().SerializeToString()))
        except (EOFError, OSError):
            pass

    def topics(self, container=None):
        with self.changed:
            return [t for t, m in self.list if container in (None, m.container_id)]

    def wait(self, topic, container, id=None, timeout=60):
        """The message; fails when it does not come."""
        def found():
            return [m for t, m in self.list if t == topic and m.container_id == container and (id is None or id in (
                getattr(m, "id", None), getattr(m, "exec_id", None)))]
        with self.changed:
            assert self.changed.wait_for(found, timeout), "no %s of %s: %s" % (topic, container, self.list)
            return found()[0]


class Shim:
    """The shim's command line, as containerd calls it."""

    def __init__(self, folder, name="containerd-shim-torpor-v1", ns="test"):
        self.program = os.path.join(os.path.dirname(os.environ["TORPOR"]), name)
        self.folder, self.ns = folder, ns
        self.events = EventServer(folder + "/events")
        self.logs, self.said = [], b""

    def run(self, id, bundle, *action, data=b"", check=True, env={}):
        command = [self.program, "-namespace", self.ns, "-address", self.folder + "/grpc", "-publish-binary", "/bin/false", "-id", id]
        environment = dict(os.environ, TTRPC_ADDRESS=self.folder + "/events", **{"MAX_SHIM_VERSION": "2", **env})
        environment = {k: v for k, v in environment.items() if v is not None}
        r = subprocess.run(command + list(action), input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=bundle, env=environment,
                           timeout=60)
        assert not check or r.returncode == 0, r.stdout
        return r.stdout

    def start(self, id, bundle, **more):
        if not os.path.exists(bundle + "/log"):
            os.mkfifo(bundle + "/log")
        log = os.open(bundle + "/log", os.O_RDWR)     # for writing as well: it has no end while the shim is not there yet
        self.logs.append(log)
        threading.Thread(target=self.drain, args=(log,), daemon=True).start()
        return self.run(id, bundle, "start", **more)

    def drain(self, fd):
        while True:
            data = os.read(fd, 4096)
            if not data:
                return
            self.said += data
            sys.stderr.write(data.decode(errors="replace"))
