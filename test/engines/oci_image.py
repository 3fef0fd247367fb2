# SPDX-License-Identifier: Apache-2.0
# oci_image.py ROOTFS NAME FILE [COMMAND…]: an image archive (OCI layout, one layer) of a directory, for `ctr image import`.
import hashlib, io, json, platform, sys, tarfile

rootfs, name, target = sys.argv[1:4]
blobs = {}


def blob(data, media):
    digest = hashlib.sha256(data).hexdigest()
    blobs[digest] = data
    return {"mediaType": "application/vnd.oci.image." + media, "digest": "sha256:" + digest, "size": len(data)}


def add(tar, path, data):
    info = tarfile.TarInfo(path)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


layer = io.BytesIO()
with tarfile.open(fileobj=layer, mode="w") as tar:
    tar.add(rootfs, arcname=".")
layer = blob(layer.getvalue(), "layer.v1.tar")
arch = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
config = blob(json.dumps({
    "architecture": arch, "os": "linux", "config": {"Env": ["PATH=/bin:/sbin:/usr/bin"], "Cmd": sys.argv[4:] or ["/bin/sh"]},
    "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}}).encode(), "config.v1+json")
manifest = blob(json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config,
                            "layers": [layer]}).encode(), "manifest.v1+json")
manifest["annotations"] = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rsplit(":", 1)[1]}
manifest["platform"] = {"architecture": arch, "os": "linux"}
with tarfile.open(target, "w") as tar:
    add(tar, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
    add(tar, "index.json", json.dumps({"schemaVersion": 2, "manifests": [manifest]}).encode())
    for digest, data in blobs.items():
        add(tar, "blobs/sha256/" + digest, data)
