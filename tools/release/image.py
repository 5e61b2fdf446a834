"""Writes an image as a tar of the OCI layout, without a container engine. The same files make the same bytes.

    image.py VERSION REVISION BASE STAGE OUT

BASE is a folder with Debian's files (base.sh), the first layer; STAGE has the binary, the second. `docker load` reads the
same file by its manifest.json.
"""

import gzip
import hashlib
import io
import json
import os
import sys
import tarfile
from datetime import datetime, timezone
from pathlib import Path

# Numeric, so that Kubernetes can verify runAsNonRoot; deploy/Dockerfile has the same.
USER = 10001
TIME = int(os.environ["SOURCE_DATE_EPOCH"])
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
ACCOUNTS = {
    "etc/passwd": f"root:x:0:0:root:/root:/usr/sbin/nologin\nsandbar:x:{USER}:{USER}::/var/lib/sandbar:/usr/sbin/nologin\n",
    "etc/group": f"root:x:0:\nsandbar:x:{USER}:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


class Layer:
    def __init__(self) -> None:
        self.bytes = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.bytes, mode="w", format=tarfile.GNU_FORMAT)

    def add(self, name: str, kind: bytes, mode: int, content: bytes = b"", link: str = "", owner: int = 0) -> None:
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode, entry.mtime, entry.linkname = kind, mode, TIME, link
        entry.uid = entry.gid = owner
        entry.size = len(content)
        self.tar.addfile(entry, io.BytesIO(content))

    def add_folder(self, folder: Path) -> None:
        for path in sorted(folder.rglob("*")):
            name, mode = str(path.relative_to(folder)), path.lstat().st_mode & 0o7777
            if path.is_symlink():
                self.add(name, tarfile.SYMTYPE, 0o777, link=os.readlink(path))
            elif path.is_dir():
                self.add(name, tarfile.DIRTYPE, mode)
            else:
                self.add(name, tarfile.REGTYPE, mode, path.read_bytes())

    def close(self) -> bytes:
        self.tar.close()
        return self.bytes.getvalue()


class Layout:
    """The blobs of an image, by their digests."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}

    def blob(self, kind: str, content: bytes) -> dict:
        digest = hashlib.sha256(content).hexdigest()
        self.files[f"blobs/sha256/{digest}"] = content
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content)}

    def json_blob(self, kind: str, value: dict) -> dict:
        return self.blob(kind, json.dumps(value, separators=(",", ":"), sort_keys=True).encode())

    def write(self, out: Path) -> None:
        layer = Layer()
        for folder in ("blobs", "blobs/sha256"):
            layer.add(folder, tarfile.DIRTYPE, 0o755)
        for name, content in sorted(self.files.items()):
            layer.add(name, tarfile.REGTYPE, 0o644, content)
        out.write_bytes(layer.close())


def base_layer(base: Path) -> bytes:
    layer = Layer()
    layer.add_folder(base)
    return layer.close()


def application_layer(stage: Path) -> bytes:
    layer = Layer()
    for name, content in ACCOUNTS.items():
        layer.add(name, tarfile.REGTYPE, 0o644, content.encode())
    layer.add("usr/bin/sandbar", tarfile.REGTYPE, 0o755, (stage / "sandbar").read_bytes())
    layer.add("usr/share/doc/sandbar", tarfile.DIRTYPE, 0o755)
    for name in ("LICENSE", "third-party-licences.txt", "sandbar.cdx.json"):
        layer.add(f"usr/share/doc/sandbar/{name}", tarfile.REGTYPE, 0o644, (stage / name).read_bytes())
    layer.add("var/lib/sandbar", tarfile.DIRTYPE, 0o700, owner=USER)
    return layer.close()


def main() -> None:
    version, revision, base, stage, out = sys.argv[1:]
    layout = Layout()
    layers, diffs = [], []
    for content in (base_layer(Path(base)), application_layer(Path(stage))):
        diffs.append("sha256:" + hashlib.sha256(content).hexdigest())
        compressed = gzip.compress(content, compresslevel=9, mtime=0)
        layers.append(layout.blob("application/vnd.oci.image.layer.v1.tar+gzip", compressed))
    created = datetime.fromtimestamp(TIME, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    labels = {
        "org.opencontainers.image.title": "sandbar",
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.revision": revision,
        "org.opencontainers.image.created": created,
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.opencontainers.image.source": "https://github.com/sandbar-rs/sandbar",
    }
    config = layout.json_blob("application/vnd.oci.image.config.v1+json", {
        "created": created,
        "architecture": ARCHITECTURES[os.uname().machine],
        "os": "linux",
        # As in deploy/Dockerfile, which explains each. There is no shell in this image, and so no health check of its own:
        # ask /healthz from outside.
        "config": {
            "User": f"{USER}:{USER}",
            "Env": [
                "PATH=/usr/bin",
                "SANDBAR_LISTEN=0.0.0.0:8080",
                "SANDBAR_DATA_DIR=/var/lib/sandbar",
                "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
            ],
            "Entrypoint": ["/usr/bin/sandbar", "serve"],
            "Volumes": {"/var/lib/sandbar": {}},
            "ExposedPorts": {"8080/tcp": {}},
            "StopSignal": "SIGTERM",
            "Labels": labels,
        },
        "rootfs": {"type": "layers", "diff_ids": diffs},
        "history": [
            {"created": created, "created_by": f"tools/release/{made_by}"} for made_by in ("base.sh", "image.py")
        ],
    })
    manifest = layout.json_blob("application/vnd.oci.image.manifest.v1+json", {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": layers,
        "annotations": labels,
    })
    manifest["annotations"] = {"org.opencontainers.image.ref.name": version}
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [manifest]}
    layout.files["index.json"] = json.dumps(index, sort_keys=True).encode()
    path = lambda blob: "blobs/" + blob["digest"].replace(":", "/")
    docker = [{"Config": path(config), "RepoTags": [f"sandbar:{version}"], "Layers": [path(layer) for layer in layers]}]
    layout.files["manifest.json"] = json.dumps(docker, sort_keys=True).encode()
    layout.write(Path(out))
    print(f"release: {Path(out).name}: {manifest['digest']}")


main()
