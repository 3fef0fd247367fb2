# SPDX-License-Identifier: Apache-2.0
# client.py SOCKET WORK CGROUP: a kubelet's part, in little: a pod of two containers with torpor as its runtime, and all that is done to them.
import glob, os, subprocess, sys, tempfile, time
import grpc

socket, work, cgroup, release = sys.argv[1:]
here = os.path.dirname(os.path.realpath(__file__))
out = tempfile.mkdtemp(dir=work)
subprocess.run(["protoc", "-I" + here, "--python_out=" + out, here + "/cri.proto"], check=True)
sys.path.insert(0, out)
import cri_pb2 as cri

channel = grpc.insecure_channel("unix://" + socket)


def call(method, **fields):
    request, response = getattr(cri, method + "Request"), getattr(cri, method + "Response")
    return channel.unary_unary("/runtime.v1.RuntimeService/" + method, request_serializer=request.SerializeToString,
                               response_deserializer=response.FromString)(request(**fields), timeout=60)


def until(what, seconds=20):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "never came true"
        time.sleep(0.05)


def shims():
    def is_shim(f):
        try:
            return b"shim-torpor-v1\0-namespace\0k8s.io" in open(f, "rb").read()
        except OSError:
            return False
    return [f.split("/")[2] for f in glob.glob("/proc/[0-9]*/cmdline") if is_shim(f)]


def status(id):
    return call("ContainerStatus", container_id=id).status


NODE = cri.NamespaceOption(network=2, pid=1, ipc=0)
pod = cri.PodSandboxConfig(metadata=cri.PodSandboxMetadata(name="pod", uid="1234", namespace="default"), log_directory=work + "/logs",
                           linux=cri.LinuxPodSandboxConfig(cgroup_parent=cgroup, security_context=cri.LinuxSandboxSecurityContext(namespace_options=NODE)))
os.makedirs(work + "/logs", exist_ok=True)


def container(name, sandbox, script, image="docker.io/library/busybox:test"):
    config = cri.ContainerConfig(metadata=cri.ContainerMetadata(name=name), image=cri.ImageSpec(image=image), command=["/bin/sh", "-c", script],
                                 log_path=name + ".log", linux=cri.LinuxContainerConfig(
                                     resources=cri.LinuxContainerResources(memory_limit_in_bytes=64 << 20),
                                     security_context=cri.LinuxContainerSecurityContext(namespace_options=NODE)))
    return call("CreateContainer", pod_sandbox_id=sandbox, config=config, sandbox_config=pod).container_id


sandbox = call("RunPodSandbox", config=pod, runtime_handler="torpor").pod_sandbox_id
a = container("a", sandbox, "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done")
b = container("b", sandbox, "echo said; sleep 1; exit 5")
for c in (a, b):
    call("StartContainer", container_id=c)
until(lambda: len(shims()) == 1)     # one for the pod; its workers, which look like it, end
assert status(a).state == 1
until(lambda: status(b).state == 2)
assert status(b).exit_code == 5, status(b)
assert " stdout F said\n" in open(work + "/logs/b.log").read()
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
