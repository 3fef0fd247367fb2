#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# TCP programs for tests: talk.py serve ADDRESS[,ADDRESS…] PORT      answers each byte with the next one, for ever
#                         talk.py ask ADDRESS PORT FILE             sends a byte every 10 ms without waiting; FILE gets how many were answered,
#                                                                   or the error; FILE.port the port that it has
#                         talk.py flood ADDRESS PORT PEER PORT FILE segments without data to a connection of others', as fast as a thousand
#                                                                   in a second, with any numbers; FILE gets how many
#                         talk.py sniff DEVICE FILE                 every RST and ICMP packet that comes in becomes a line of FILE
#                         talk.py send ADDRESS PORT MARK            a datagram, with a mark; talk.py receive ADDRESS PORT FILE
import os, socket, struct, sys, threading, time


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def put(path, text):
    with open(path + ".new", "w") as f:
        f.write(text)
    os.rename(path + ".new", path)


def answer(s):
    while data := s.recv(65536):
        s.sendall(bytes((b + 1) % 256 for b in data))


def listen(address, port):
    s = socket.create_server((address, int(port)), family=family(address))
    while True:
        threading.Thread(target=answer, args=(s.accept()[0],), daemon=True).start()


def serve(addresses, port):
    first, *others = addresses.split(",")
    for address in others:
        threading.Thread(target=listen, args=(address, port), daemon=True).start()
    listen(first, port)


# Whoever is to listen may not do so yet, and a device that has just come up may lead nowhere.
def connect(address, port):
    end = time.monotonic() + 20
    while True:
        try:
            return socket.create_connection((address, port))
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def ask(address, port, path):
    s = connect(address, int(port))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.setblocking(False)
    put(path + ".port", str(s.getsockname()[1]))
    sent = got = 0
    put(path, "0")
    try:
        while True:
            try:
                sent += s.send(bytes([sent % 256]))
            except BlockingIOError:
                pass
            time.sleep(0.01)
            try:
                data = s.recv(65536)
                if not data:
                    return put(path, "end of file")
                for b in data:
                    if b != (got + 1) % 256:
                        return put(path, "wrong data")
                    got += 1
                put(path, str(got))
            except BlockingIOError:
                pass
    except OSError as e:
        put(path, str(e))


def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def flood(address, port, peer, peer_port, path):
    s = socket.socket(family(address), socket.SOCK_RAW, socket.IPPROTO_TCP)
    s.bind((address, 0))
    ends = b"".join(socket.inet_pton(family(address), a) for a in (address, peer))
    n = 0
    while True:
        numbers = struct.unpack("!II", os.urandom(8))
        segment = struct.pack("!HHIIBBHHH", int(port), int(peer_port), *numbers, 5 << 4, 0x10, 65535, 0, 0)
        check = checksum(ends + struct.pack("!II", len(segment), 6) + segment)
        s.sendto(segment[:16] + struct.pack("!H", check) + segment[18:], (peer, 0))
        n += 1
        if n % 10 == 0:
            put(path, str(n))
        time.sleep(0.001)


def what(frame):
    kind = struct.unpack_from("!H", frame, 12)[0]
    if kind == 0x0800:
        protocol, start = frame[23], 14 + (frame[14] & 15) * 4
    elif kind == 0x86DD:
        protocol, start = frame[20], 54
    else:
        return None
    if protocol == 6 and frame[start + 13] & 4:
        return "RST"
    if protocol == 1:
        return "ICMP %d" % frame[start]
    # Neighbour discovery and its like are the address resolution of IPv6, no answers.
    return "ICMPv6 %d" % frame[start] if protocol == 58 and not 130 <= frame[start] <= 143 else None


# With an address: only what concerns it.
def sniff(device, path, address=None):
    only = socket.inet_aton(address) if address else b""
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    s.bind((device, 0))
    seen = ""
    put(path, seen)
    while True:
        frame, origin = s.recvfrom(65536)
        if origin[2] != 4 and only in frame[26:34] and (line := what(frame)):   # not what goes out
            seen += line + "\n"
            put(path, seen)


def send(address, port, mark):
    s = socket.socket(family(address), socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, 36, int(mark, 0))
    try:
        s.sendto(b"x", (address, int(port)))
    except PermissionError:   # dropped on the way out
        sys.exit(1)


def receive(address, port, path):
    s = socket.socket(family(address), socket.SOCK_DGRAM)
    s.bind((address, int(port)))
    n = 0
    put(path, "0")
    while s.recv(100):
        n += 1
        put(path, str(n))


os.closerange(3, 1024)   # a test's
globals()[sys.argv[1]](*sys.argv[2:])
