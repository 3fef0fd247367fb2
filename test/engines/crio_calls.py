# SPDX-License-Identifier: Apache-2.0
"""CRI-O's calls (crio-calls.scenario): crio_calls.py DIR CONMON. DIR/torpor notes its words in DIR/calls."""
import json
import os
import shutil
import subprocess
import sys
import time

WORK, CONMON = sys.argv[1:]
RUNTIME, ROOT = WORK + "/torpor", WORK + "/root"
# Nothing else is in the environment of a runtime that CRI-O calls by itself.
ENV = {"CRI_O_EXTERNAL": "1", "PATH": os.environ["PATH"]}


def expect(value, what):
    if not value:
        sys.exit("failed: %s" % (what,))


def until(function, what):
    end = time.monotonic() + 60 * int(os.environ.get("TEST_PATIENCE", 1))
    while not function():
        expect(time.monotonic() < end, what)
        time.sleep(0.02)


def call(*words, inp=None, status=0):
    r = subprocess.run([RUNTIME, "--root", ROOT, *words], env=ENV, input=inp, capture_output=True, text=True)
    expect(r.returncode == status, "%s: %d: %s" % (words, r.returncode, r.stderr))
    return r


def calls():
    """What has been called since the last time."""
    with open(WORK + "/calls") as f:
        lines = [line.split("\x1f")[:-1] for line in f.read().split("\n")[:-1]]
    os.unlink(WORK + "/calls")
    return lines


def state(id):
    return json.loads(call("state", id).stdout)


def conmon(words):
    """Runs it; what it says on the sync pipe, an object a line. It goes on when the start pipe is closed."""
    said, say = os.pipe()
    begin, started = os.pipe()
    os.set_inheritable(say, True)
    os.set_inheritable(begin, True)
    null = subprocess.DEVNULL
    p = subprocess.Popen([CONMON, *words], env=dict(ENV, _OCI_SYNCPIPE=str(say), _OCI_STARTPIPE=str(begin)), pass_fds=(say, begin),
                         stdin=null, stdout=null, stderr=null)
    os.close(say)
    os.close(begin)
    os.write(started, b"\0")
    os.close(started)
    return p, os.fdopen(said)


def create(id, *more):
    bundle = "%s/%s" % (WORK, id)
    p, said = conmon(["-b", bundle, "-c", id, "--exit-dir", WORK + "/exits", "-l", bundle + "/log", "--log-level", "info", "-n", "k8s_" + id,
                      "-P", bundle + "/conmon-pidfile", "-p", bundle + "/pidfile", "--persist-dir", WORK + "/persist", "-r", RUNTIME,
                      "--runtime-arg", "--root=" + ROOT, "--socket-dir-path", WORK + "/sockets", "--syslog", "-u", id, *more])
    answer = json.loads(said.readline() or "{}")
    p.wait()
    expect(answer.get("pid", -1) > 0, "conmon: %s" % answer)
    with open(bundle + "/pidfile") as f:
        expect(int(f.read()) == answer["pid"], "the pid file")
    return answer["pid"]


def count(rootfs):
    with open(rootfs + "/count") as f:      # replaced as a whole
        return int(f.read())


def printed(log):
    """The number of the last whole line; conmon writes it down when it comes to it."""
    with open(log) as f:
        return int((f.read().rpartition("\n")[0].split() or ["0"])[-1])


def counts_on(rootfs, before=None):
    before = count(rootfs) if before is None else before
    until(lambda: os.path.exists(rootfs + "/count") and count(rootfs) > before, "it does not count on")


def joined(pid, pod):
    for kind in "net", "ipc", "uts":
        expect(os.stat("/proc/%d/ns/%s" % (pid, kind)).st_ino == os.stat("%s/namespaces/%s/%s" % (WORK, pod, kind)).st_ino, "its %s namespace" % kind)


def locked(rootfs):
    return subprocess.run(["flock", "--nonblock", rootfs + "/lock", "true"]).returncode != 0


def lives():
    """The pod's first container, and one beside it."""
    features = json.loads(subprocess.run([RUNTIME, "features"], env=ENV, capture_output=True, text=True).stdout)
    expect("ociVersionMin" in features, "features: %s" % features)
    expect(calls() == [["features"]], "calls")
    create("pause")
    call("start", "pause")
    bundle = WORK + "/c1"
    calls()
    pid = create("c1")
    expect(calls() == [["--root=" + ROOT, "create", "--bundle", bundle, "--pid-file", bundle + "/pidfile", "c1"]], "conmon's create")
    expect(state("c1")["status"] == "created" and state("c1")["pid"] == pid, state("c1"))
    call("start", "c1")
    counts_on(bundle + "/rootfs", 0)
    expect(state("c1")["status"] == "running" and state("c1")["bundle"] == bundle, state("c1"))
    joined(pid, "pod1")
    until(lambda: locked(bundle + "/rootfs"), "it does not lock")
    limit = {"pids": {"limit": 77}, "memory": {"limit": 64 << 20}}
    call("update", "--resources", "-", "c1", inp=json.dumps(limit))
    with open("/proc/%d/cgroup" % pid) as f:
        groups = dict(line.rstrip("\n").split(":", 2)[1:] for line in f)
    file = "/sys/fs/cgroup/pids%s/pids.max" % groups["pids"] if "pids" in groups else "/sys/fs/cgroup%s/pids.max" % groups[""]
    with open(file) as f:
        expect(f.read() == "77\n", "the updated limit")


def execs():
    process = {"args": ["sh", "-c", "echo inside; exit 5"], "cwd": "/", "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin"]}
    file = WORK + "/process"
    with open(file, "w") as f:
        json.dump(process, f)
    expect(call("exec", "--process", file, "c1", status=5).stdout == "inside\n", "exec")
    calls()
    p, said = conmon(["-c", "c1", "-n", "k8s_c1", "-r", RUNTIME, "-p", WORK + "/exec-pid", "-e", "-l", WORK + "/exec-log", "--socket-dir-path",
                      WORK + "/sockets", "--log-level", "info", "--exec-process-spec", file, "--runtime-arg", "--root=" + ROOT, "-u", "c1-exec"])
    answers = [json.loads(line) for line in said if line.strip()]
    p.wait()
    expect(answers and answers[-1].get("exit_code") == 5, "conmon's exec: %s" % answers)
    words, = calls()
    expect(words == ["--root=" + ROOT, "exec", "--pid-file", WORK + "/exec-pid", "--process", file, "--detach", "c1"], words)
    with open(WORK + "/exec-log") as f:
        expect(" stdout F inside\n" in f.read(), "conmon's log of it")


def checkpoint(bundle, *more):
    """Of a paused container, which stays paused."""
    call("pause", "c1")
    expect(state("c1")["status"] == "paused", state("c1"))
    call("checkpoint", "--file-locks", "--image-path", bundle + "/checkpoint", "--work-path", bundle, *more, "c1")
    for name in "checkpoint/inventory.img", "checkpoint/descriptors.json", "dump.log", "stats-dump":
        expect(os.path.exists(bundle + "/" + name), "no " + name)


def saves():
    bundle = WORK + "/c1"
    checkpoint(bundle, "--leave-running")
    expect(state("c1")["status"] == "paused", state("c1"))
    before = count(bundle + "/rootfs")
    call("resume", "c1")
    counts_on(bundle + "/rootfs", before)
    shutil.rmtree(bundle + "/checkpoint")
    os.unlink(bundle + "/dump.log")
    checkpoint(bundle)
    until(lambda: os.path.exists(WORK + "/exits/c1"), "conmon tells no exit")
    call("delete", "--force", "c1")
    expect("does not exist" in call("state", "c1", status=1).stderr, "what a deleted one says")


def restores():
    """In another pod, under another name."""
    bundle, old = WORK + "/c2", WORK + "/c1"
    os.rename(old + "/rootfs", bundle + "/rootfs")
    os.rename(old + "/checkpoint", bundle + "/checkpoint")
    for name in "dump.log", "restore.log":
        os.close(os.open("%s/%s" % (bundle, name), os.O_CREAT | os.O_WRONLY, 0o600))
    before = count(bundle + "/rootfs")
    calls()
    pid = create("c2", "--restore", bundle + "/checkpoint")
    words, = calls()
    expect(words == ["--root=" + ROOT, "restore", "--bundle", bundle, "--pid-file", bundle + "/pidfile", "--detach", "--image-path",
                     bundle + "/checkpoint", "--work-path", bundle, "c2"], words)
    expect(state("c2")["status"] == "running" and state("c2")["pid"] == pid, state("c2"))
    counts_on(bundle + "/rootfs", before)
    joined(pid, "pod2")
    expect(locked(bundle + "/rootfs"), "its lock is lost")
    expect(os.stat(bundle + "/restore.log").st_size > 0 and os.path.exists(bundle + "/stats-restore"), "its log and statistics")
    until(lambda: printed(bundle + "/log") > before, "what it prints after its restore")


def ends():
    call("kill", "c2", "15")
    until(lambda: os.path.exists(WORK + "/exits/c2"), "conmon tells no exit")
    with open(WORK + "/exits/c2") as f:
        expect(f.read() == "3", "its exit")
    error = call("kill", "c2", "KILL", status=1).stderr
    expect(any(text in error for text in ("no such process", "container not running", "invalid process")), "kill of one that ended: " + error)
    call("delete", "--force", "c2")
    call("kill", "pause", "9")
    until(lambda: os.path.exists(WORK + "/exits/pause"), "conmon tells no exit")
    call("delete", "--force", "pause")
    call("delete", "--force", "pause")


lives()
execs()
saves()
restores()
ends()
