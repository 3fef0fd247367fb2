# SPDX-License-Identifier: Apache-2.0
# Pods with a network of their own, from each handler of torpor's: its address answers, containers share what they should, a port is forwarded
# as the kubelet does it, nothing is left.
import base64, socket as sockets, struct, urllib.parse
from kubelet import *


def exec_in(c, script):
    r = call("ExecSync", container_id=c, cmd=["sh", "-c", script], timeout=20)
    assert r.exit_code == 0, r
    return r.stdout.decode().strip()


def get(address):
    try:
        k = sockets.create_connection((address, 8080), timeout=20)
    except ConnectionRefusedError:      # not yet
        return b""
    k.sendall(b"GET / HTTP/1.0\r\n\r\n")
    data = b""
    while piece := k.recv(4096):
        data += piece
    return data


class WebSocket:
    """As much of it as port-forward needs: messages whose first byte says which stream they are of."""

    def __init__(self, url):
        u = urllib.parse.urlsplit(url)
        self.sock = sockets.create_connection((u.hostname, u.port), timeout=20)
        key = base64.b64encode(b"0123456789abcdef").decode()
        self.sock.sendall(("GET %s?port=8080 HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                           "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n" % (u.path, u.netloc, key)).encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self.sock.recv(1)
        assert b" 101 " in answer.split(b"\r\n")[0], answer

    def exactly(self, n):
        data = b""
        while len(data) < n:
            piece = self.sock.recv(n - len(data))
            assert piece
            data += piece
        return data

    def send(self, data):
        self.sock.sendall(bytes([0x82, 0x80 | len(data)]) + bytes(4) + data)

    def receive(self):
        kind, size = self.exactly(2)
        if size == 126:
            size = struct.unpack(">H", self.exactly(2))[0]
        data = self.exactly(size)
        return None if kind & 15 == 8 else data


def forwarded(sandbox):
    w = WebSocket(call("PortForward", pod_sandbox_id=sandbox, port=[8080]).url)
    for _ in range(2):      # each stream begins with the port
        assert w.receive()[1:] == struct.pack("<H", 8080)
    w.send(b"\0GET / HTTP/1.0\r\n\r\n")
    data = b""
    while b"</html>" not in data:
        piece = w.receive()
        assert piece is not None and (piece[0] == 0 or len(piece) == 1), piece
        data += piece[1:]
    return data


def one(handler, number):
    pod = pod_config("pod%d" % number, POD, hostname="named")
    sandbox = call("RunPodSandbox", config=pod, runtime_handler=handler).pod_sandbox_id
    status = call("PodSandboxStatus", pod_sandbox_id=sandbox).status
    assert status.state == 0 and status.network.ip.startswith("10.88."), status
    a = container("a%d" % number, sandbox, pod, "mkdir /www; echo '<html>it is me</html>' >/www/index.html; exec httpd -f -p 8080 -h /www")
    b = container("b%d" % number, sandbox, pod, "sleep 1000")
    for c in (a, b):
        call("StartContainer", container_id=c)
    until(lambda: len(shims()) == 1)     # its workers, which look like it, end
    until(lambda: b"it is me" in get(status.network.ip))
    assert "it is me" in exec_in(b, "wget -qO- http://127.0.0.1:8080/")       # they share the network, loopback is up
    assert exec_in(b, "hostname") == "named" and "httpd" in exec_in(b, "ps")  # and names, and processes
    first = exec_in(b, "cat /proc/1/comm")
    assert first == ("torpor-pause" if handler == "torpor-pod" else "sleep"), first
    if release != "debian":   # containerd 1.6 forwards over SPDY only
        assert b"it is me" in forwarded(sandbox)
    for c in (a, b):
        call("StopContainer", container_id=c, timeout=0)
        call("RemoveContainer", container_id=c)
    call("StopPodSandbox", pod_sandbox_id=sandbox)
    assert call("PodSandboxStatus", pod_sandbox_id=sandbox).status.state == 1
    call("RemovePodSandbox", pod_sandbox_id=sandbox)
    until(lambda: not shims())
    print("a pod of %s: ok" % handler, flush=True)


one("torpor", 1)
if release != "debian":
    one("torpor-pod", 2)
