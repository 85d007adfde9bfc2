"""Image archives as other programs write them, packed from an image of ours: for unit and live tests."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

from meshlab.clusters.local.oci import ImageSpec, write_archive


def docker_save(spec: ImageSpec, path: Path, *names: str) -> Path:
    """What `docker save -o path names` writes (before version 25: no OCI index beside it)."""
    with tarfile.open(path, "w") as tar:
        config = spec.config_blob()
        layers = []
        for layer in spec.layers:
            content = io.BytesIO()
            layer.write_to(content)
            layers.append(f"{layer.digest.partition(':')[2]}/layer.tar")
            add(tar, layers[-1], content.getvalue())
        add(tar, "config.json", config)
        listed = [{"Config": "config.json", "RepoTags": list(names) or None, "Layers": layers}]
        add(tar, "manifest.json", json.dumps(listed).encode())
    return path


def oci_layout(spec: ImageSpec, path: Path, annotations: dict[str, str] | None = None) -> Path:
    """An OCI layout with one image. annotations: of its entry in the index, in place of its own name."""
    write_archive([spec], path)
    if annotations is None:
        return path
    with tarfile.open(path) as tar:
        contents = {member.name: _content(tar, member) for member in tar}
    index = json.loads(contents["index.json"])
    index["manifests"][0]["annotations"] = annotations
    contents["index.json"] = json.dumps(index).encode()
    with tarfile.open(path, "w") as tar:
        for name, content in contents.items():
            add(tar, name, content)
    return path


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """One file of an archive."""
    header = tarfile.TarInfo(name)
    header.size = len(content)
    tar.addfile(header, io.BytesIO(content))


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    source = tar.extractfile(member)
    assert source is not None
    return source.read()
