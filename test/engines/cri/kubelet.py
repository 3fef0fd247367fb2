# SPDX-License-Identifier: Apache-2.0
# What the programs beside this have of a kubelet: PROGRAM SOCKET WORK CGROUP RELEASE.
import glob, os, subprocess, sys, tempfile, time
import grpc

socket, work, cgroup, release = sys.argv[1:5]
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


def until(what, seconds=60):
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


os.makedirs(work + "/logs", exist_ok=True)
NODE = cri.NamespaceOption(network=2, pid=1, ipc=0)     # the node's network
POD = cri.NamespaceOption(network=0, pid=0, ipc=0)      # its own, and processes that see each other


def pod_config(name, options, hostname=""):
    context = cri.LinuxSandboxSecurityContext(namespace_options=options)
    return cri.PodSandboxConfig(metadata=cri.PodSandboxMetadata(name=name, uid=name, namespace="default"), hostname=hostname, log_directory=work + "/logs",
                                linux=cri.LinuxPodSandboxConfig(cgroup_parent=cgroup, security_context=context))


def container(name, sandbox, pod, script, image="docker.io/library/busybox:test"):
    options = pod.linux.security_context.namespace_options
    config = cri.ContainerConfig(metadata=cri.ContainerMetadata(name=name), image=cri.ImageSpec(image=image), command=["/bin/sh", "-c", script],
                                 log_path=name + ".log", linux=cri.LinuxContainerConfig(
                                     resources=cri.LinuxContainerResources(memory_limit_in_bytes=64 << 20),
                                     security_context=cri.LinuxContainerSecurityContext(namespace_options=options)))
    return call("CreateContainer", pod_sandbox_id=sandbox, config=config, sandbox_config=pod).container_id
