# SPDX-License-Identifier: Apache-2.0
# A pod of two containers with torpor as its runtime, and all that is done to them.
from kubelet import *

pod = pod_config("pod", NODE)
sandbox = call("RunPodSandbox", config=pod, runtime_handler="torpor").pod_sandbox_id
a = container("a", sandbox, pod, "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done")
b = container("b", sandbox, pod, "echo said; sleep 1; exit 5")
for c in (a, b):
    call("StartContainer", container_id=c)
until(lambda: len(shims()) == 1)     # one for the pod; its workers, which look like it, end
assert status(a).state == 1
until(lambda: status(b).state == 2)
assert status(b).exit_code == 5, status(b)
until(lambda: " stdout F said\n" in open(work + "/logs/b.log").read())
until(lambda: " stdout F 3\n" in open(work + "/logs/a.log").read())
print("pod, logs, exit: ok", flush=True)
r = call("ExecSync", container_id=a, cmd=["sh", "-c", "echo out; echo err >&2; exit 3"], timeout=20)
assert (r.stdout, r.stderr, r.exit_code) == (b"out\n", b"err\n", 3), r
s = call("ContainerStats", container_id=a).stats
assert s.cpu.usage_core_nano_seconds.value > 0 and s.memory.working_set_bytes.value > 0, s
call("UpdateContainerResources", container_id=a, linux=cri.LinuxContainerResources(memory_limit_in_bytes=80 << 20))
print("exec, stats, update: ok", flush=True)
if release != "debian":     # containerd 1.6 has no such call
    archive = work + "/a.tar"
    call("CheckpointContainer", container_id=a, location=archive)
    assert status(a).state == 1
    names = subprocess.run(["tar", "tf", archive], stdout=subprocess.PIPE, check=True).stdout.decode().split()
    assert "checkpoint/inventory.img" in names and "config.dump" in names and "spec.dump" in names, names
    print("checkpoint: ok", flush=True)
call("StopContainer", container_id=a, timeout=0)
assert status(a).exit_code == 137
for c in (a, b):
    call("RemoveContainer", container_id=c)
call("StopPodSandbox", pod_sandbox_id=sandbox)
call("RemovePodSandbox", pod_sandbox_id=sandbox)
until(lambda: not shims())
print("removed: ok", flush=True)
