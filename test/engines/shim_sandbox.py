# SPDX-License-Identifier: Apache-2.0
# What shim_sandbox.sh runs: each function below is a case, with a shim of its own.
from shim_case import *


def sandbox(s):
    """A pod without a pause container: its namespaces, two containers in them, its ends."""
    bundle, netns = WORK + "/pod", WORK + "/netns"
    os.mkdir(bundle)
    open(netns, "w").close()
    subprocess.run(["unshare", "--net=" + netns, "true"], check=True)
    c = t.Client(json.loads(s.start("pod", bundle))["address"][len("unix://"):])
    shim_pid = c.call("Connect", id="pod").shim_pid
    PodConfig, linux, options = pod.PodSandboxConfig, pod.LinuxPodSandboxConfig, pod.NamespaceOption

    def config(**more):
        l = linux(cgroup_parent=CGROUP, security_context=pod.LinuxSandboxSecurityContext(namespace_options=options(**more)),
                  sysctls=[wk.Pair(key="kernel.shmmni", value="123"), wk.Pair(key="net.ipv4.ip_forward", value="1")])
        return wk.Any(type_url="runtime.v1.PodSandboxConfig", value=PodConfig(hostname="podhost", on_linux=l).SerializeToString())

    def create(o):
        return c.sandbox("CreateSandbox", sandbox_id="pod", bundle_path=bundle, netns_path=netns, options=o)
    refused(5, c.sandbox, "StartSandbox", sandbox_id="pod")
    assert "user namespaces" in refused(12, create, config(userns_options=pod.UserNamespace(mode=0)))
    assert "net.ipv4" in refused(3, create, config(network=2))           # the node's network is not the pod's to set up
    create(config())
    refused(6, create, config())
    assert c.sandbox("Platform", sandbox_id="pod").platform.os == "linux"
    assert c.sandbox("SandboxStatus", sandbox_id="pod").state == "SANDBOX_NOTREADY"
    waiting = c.begin_sandbox("WaitSandbox", sandbox_id="pod")
    pid = c.sandbox("StartSandbox", sandbox_id="pod").pid
    status = c.sandbox("SandboxStatus", sandbox_id="pod", verbose=True)
    assert status.state == "SANDBOX_READY" and status.pid == pid and status.info[0].value == str(shim_pid)
    c.sandbox("PingSandbox", sandbox_id="pod")
    refused(9, c.sandbox, "StartSandbox", sandbox_id="pod")
    metrics = c.sandbox("SandboxMetrics", sandbox_id="pod").metrics
    assert metrics.id == "pod" and "cgroups" in metrics.data.type_url

    def ns(p, kind):
        return os.stat("/proc/%s/ns/%s" % (p, kind)).st_ino
    assert ns(pid, "net") == os.stat(netns).st_ino and all(ns(pid, k) != ns("self", k) for k in ("uts", "ipc", "pid", "mnt"))
    state = open("/proc/%d/status" % pid).read()
    assert open("/proc/%d/cmdline" % pid).read().strip("\0") == "torpor-pause"
    assert "CapBnd:\t0000000000000000" in state and "NoNewPrivs:\t1" in state and os.listdir("/proc/%d/root" % pid) == []
    until(lambda: len(os.listdir("/proc/%d/fd" % pid)) == 1)     # it has said that it is ready over another one
    assert CGROUP + "/pod\n" in open("/proc/%d/cgroup" % pid).read()

    def inside(k):
        paths = {"network": netns, "ipc": "/proc/%d/ns/ipc" % pid, "uts": "/proc/%d/ns/uts" % pid, "pid": "/proc/%d/ns/pid" % pid}
        for n in k["linux"]["namespaces"]:
            if n["type"] in paths:
                n["path"] = paths.pop(n["type"])
        k["linux"]["namespaces"] += [{"type": n, "path": p} for n, p in paths.items()]
        k.pop("hostname", None)
    a = Container(s, "a", "/bin/sh", "-c", "hostname; cat /proc/sys/kernel/shmmni /proc/sys/net/ipv4/ip_forward; cat /proc/1/comm; sleep 1000 & exec sleep 1000",
                  group="pod", change=inside).create().start()
    assert a.call("Connect").shim_pid == shim_pid
    assert a.out.read_until(b"pause\n") == b"podhost\n123\n1\ntorpor-pause\n"
    c.call("Shutdown", id="a")                       # not while there is a pod
    assert c.call("Connect", id="a").shim_pid == shim_pid
    def sleepers():                                  # the programs before them may still be there
        return [p.pid for p in a.call("Pids").processes if name(p.pid) == "sleep"]
    until(lambda: len(sleepers()) == 2)
    orphan = max(pid for pid in sleepers() if pid != a.pid)
    a.call("Kill", signal=9)                         # the other is killed as well, and is the pod's first process's child by then
    a.wait()
    until(lambda: not os.path.exists("/proc/%d" % orphan))
    a.call("Delete")
    c.sandbox("StopSandbox", sandbox_id="pod", timeout_secs=5)
    assert waiting().exit_status == 137 and c.sandbox("WaitSandbox", sandbox_id="pod").exit_status == 137
    until(lambda: gone(pid))
    assert c.sandbox("SandboxStatus", sandbox_id="pod").state == "SANDBOX_NOTREADY"
    c.sandbox("StopSandbox", sandbox_id="pod")       # again is no harm
    c.sandbox("ShutdownSandbox", sandbox_id="pod")
    until(lambda: gone(shim_pid))
    # One whose shim is killed.
    c = t.Client(json.loads(s.start("pod", bundle))["address"][len("unix://"):])
    create(config())
    pid = c.sandbox("StartSandbox", sandbox_id="pod").pid
    os.kill(c.call("Connect", id="pod").shim_pid, 9)
    until(lambda: gone(pid))
    s.run("pod", bundle, "-bundle", bundle, "delete")
    # One that cannot be started, and one that never is.
    for path in ("/nowhere", ""):
        c = t.Client(json.loads(s.start("pod", bundle))["address"][len("unix://"):])
        c.sandbox("CreateSandbox", sandbox_id="pod", bundle_path=bundle, netns_path=path, options=config())
        if path:
            assert "/nowhere" in refused(5, c.sandbox, "StartSandbox", sandbox_id="pod")
        shim_pid = c.call("Connect", id="pod").shim_pid
        c.sandbox("ShutdownSandbox", sandbox_id="pod")
        until(lambda: gone(shim_pid))
    subprocess.run(["umount", netns], check=True)
    left = [d for d, _, _ in os.walk("/sys/fs/cgroup") if d.endswith(CGROUP + "/pod")]
    assert not left, left


run([sandbox])
