"""OCI images assembled in plain Python: layers out of files, and one reproducible archive with many images.

Formats: the OCI image specification v1 (image-layout.md, config.md, layer.md). Layers are plain tar:
compressing costs more here than it saves, as nothing travels over a network.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from meshlab.core.errors import BuildError

LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
NAME_ANNOTATION = "io.containerd.image.name"  # how containerd's importer learns an image's name
EPOCH = 0  # every time stamp inside an image: the same content gives the same digest
CHUNK = 1 << 20
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}  # uname's word → Go's, which OCI uses


@dataclass(frozen=True)
class Entry:
    """One file or folder of a layer.

    path: inside the image, without a leading slash. source: the file to copy; without it, `data` counts.
    """

    path: str
    source: Path | None = None
    data: bytes = b""
    mode: int = 0o644
    kind: bytes = tarfile.REGTYPE

    @classmethod
    def program(cls, path: str, source: Path) -> Entry:
        """Describe an executable.

        Args:
            path: Inside the image, without a leading slash.
            source: The file to copy.

        Returns:
            The entry, with mode 0755.
        """
        return cls(path, source=source, mode=0o755)

    @classmethod
    def folder(cls, path: str, mode: int = 0o755) -> Entry:
        """Describe an empty folder."""
        return cls(path, mode=mode, kind=tarfile.DIRTYPE)

    def info(self) -> tarfile.TarInfo:
        """Return the tar header: owned by root, dated `EPOCH`."""
        header = tarfile.TarInfo(self.path)
        header.type, header.mode, header.mtime = self.kind, self.mode, EPOCH
        if self.kind == tarfile.REGTYPE:
            header.size = self.source.stat().st_size if self.source else len(self.data)
        return header


@dataclass(frozen=True)
class Layer:
    """A layer: digest (sha256:…; its diff id too, as it is not compressed) and size of its tar in bytes.

    Its bytes are a tar file that exists (`archive`), or are made out of `entries` when they are written.
    """

    digest: str
    size: int
    entries: tuple[Entry, ...] = ()
    archive: Path | None = None

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Layer:
        """Return a layer with these entries; folders above them are added. Reads each source once, for the digest.

        Raises BuildError when a source can't be read.
        """
        parts = _with_folders(entries)
        sink = _Sink()
        _write_tar(parts, sink)
        return cls(sink.digest, sink.size, parts)

    @classmethod
    def known(cls, entries: Iterable[Entry], digest: str, size: int) -> Layer:
        """Return a layer whose digest an earlier `of` found for the same entries; no source is read.

        Args:
            entries: Of the layer.
            digest: sha256:…
            size: Of its tar, in bytes.

        Returns:
            The layer.
        """
        return cls(digest, size, _with_folders(entries))

    @classmethod
    def of_archive(cls, archive: Path) -> Layer:
        """Return a layer that is a tar file already."""
        sink = _Sink()
        with archive.open("rb") as source:
            shutil.copyfileobj(source, sink, CHUNK)
        return cls(sink.digest, sink.size, archive=archive)

    def write_to(self, target: IO[bytes]) -> None:
        """Write the layer's bytes. Raises BuildError when a source changed since its digest was taken."""
        sink = _Sink(target)
        if self.archive is not None:
            with self.archive.open("rb") as source:
                shutil.copyfileobj(source, sink, CHUNK)
        else:
            _write_tar(self.entries, sink)
        if sink.digest != self.digest:
            names = ", ".join(str(e.source) for e in self.entries if e.source) or str(self.archive)
            raise BuildError(
                f"{names} changed while its image was made", remedy="start again", retryable=True
            )


@dataclass(frozen=True)
class RunConfig:
    """How a container of an image starts, in the terms of the OCI image configuration."""

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    user: str = ""
    workdir: str = "/"

    def document(self) -> dict[str, Any]:
        """Return the `config` object of the OCI image configuration."""
        wanted = {
            "Entrypoint": list(self.entrypoint),
            "Cmd": list(self.cmd),
            "Env": list(self.env),
            "User": self.user,
            "WorkingDir": self.workdir,
        }
        return {key: value for key, value in wanted.items() if value}


@dataclass(frozen=True)
class ImageSpec:
    """An image: name and tag (together its reference), layers from the lowest up, and how it starts."""

    name: str
    tag: str
    layers: tuple[Layer, ...]
    config: RunConfig = field(default_factory=RunConfig)

    @property
    def reference(self) -> str:
        """What a pod names: name:tag."""
        return f"{self.name}:{self.tag}"

    def config_blob(self) -> bytes:
        """Return the OCI image configuration."""
        machine = os.uname().machine
        document = {
            "architecture": ARCHITECTURES.get(machine, machine),
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": self.config.document(),
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in self.layers]},
        }
        return _json(document)

    def manifest_blob(self) -> bytes:
        """Return the OCI image manifest."""
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": _descriptor(CONFIG_TYPE, self.config_blob()),
            "layers": [
                {"mediaType": LAYER_TYPE, "digest": layer.digest, "size": layer.size} for layer in self.layers
            ],
        }
        return _json(document)


def content_tag(layers: Sequence[Layer], *configs: RunConfig) -> str:
    """Return a tag that changes with the content: 12 hexadecimal digits over layers and configurations."""
    seed = _json([[layer.digest for layer in layers], [config.document() for config in configs]])
    return hashlib.sha256(seed).hexdigest()[:12]


def write_archive(specs: Sequence[ImageSpec], path: Path) -> int:
    """Write one OCI layout, as a tar file, with every image and each blob once. The same specs give the same bytes.

    Args:
        specs: The images.
        path: The file.

    Returns:
        Its size in bytes.

    Raises:
        BuildError: A source changed, or can't be read.
    """
    index = {
        "schemaVersion": 2,
        "mediaType": INDEX_TYPE,
        "manifests": [
            {
                **_descriptor(MANIFEST_TYPE, spec.manifest_blob()),
                "annotations": {NAME_ANNOTATION: spec.reference},
            }
            for spec in specs
        ],
    }
    written: set[str] = set()
    with path.open("wb") as file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        _add(archive, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add(archive, "index.json", _json(index))
        for spec in specs:
            for blob in (spec.manifest_blob(), spec.config_blob()):
                digest = _digest(blob)
                if digest not in written:
                    written.add(digest)
                    _add(archive, _blob_path(digest), blob)
            for layer in spec.layers:
                if layer.digest not in written:
                    written.add(layer.digest)
                    _add_layer(archive, file, layer)
    return path.stat().st_size


def write_tree(root: Path, target: Path) -> None:
    """Pack a folder as a layer: sorted, dated `EPOCH`, owners (numbers) and modes kept.

    Args:
        root: The folder.
        target: The tar file.
    """

    def plain(header: tarfile.TarInfo) -> tarfile.TarInfo:
        header.mtime, header.uname, header.gname = EPOCH, "", ""
        return header

    with tarfile.open(target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for found in sorted(root.rglob("*")):
            archive.add(found, arcname=str(found.relative_to(root)), recursive=False, filter=plain)


class _Sink(io.RawIOBase):
    """Counts and hashes what is written, and hands it on; its position starts at 0."""

    def __init__(self, target: IO[bytes] | None = None) -> None:
        super().__init__()
        self._target, self._hash, self.size = target, hashlib.sha256(), 0

    def write(self, data: Any) -> int:
        self._hash.update(data)
        self.size += len(data)
        if self._target is not None:
            self._target.write(data)
        return len(data)

    def tell(self) -> int:
        return self.size

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


def _with_folders(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    by_path = {entry.path: entry for entry in entries}
    for path in tuple(by_path):
        for parent in PurePosixPath(path).parents:
            if str(parent) != ".":
                by_path.setdefault(str(parent), Entry.folder(str(parent)))
    return tuple(by_path[path] for path in sorted(by_path))


def _write_tar(entries: Sequence[Entry], sink: _Sink) -> None:
    try:
        with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for entry in entries:
                if entry.source is None:
                    archive.addfile(entry.info(), io.BytesIO(entry.data))
                else:
                    with entry.source.open("rb") as content:
                        archive.addfile(entry.info(), content)
    except OSError as problem:
        raise BuildError(
            f"an image can't be made: {problem}",
            remedy="build again: `make clean`, then `make lab`",
        ) from problem


def _add(archive: tarfile.TarFile, path: str, data: bytes) -> None:
    archive.addfile(Entry(path, data=data).info(), io.BytesIO(data))


def _add_layer(archive: tarfile.TarFile, file: IO[bytes], layer: Layer) -> None:
    """Stream a layer into the archive as a member, without a copy of it on disk."""
    header = Entry(_blob_path(layer.digest)).info()
    header.size = layer.size
    head = header.tobuf(tarfile.PAX_FORMAT)  # since Python 3.13 `addfile` wants the content with its header
    file.write(head)
    layer.write_to(file)
    padding = -layer.size % tarfile.BLOCKSIZE
    file.write(b"\0" * padding)
    archive.offset += len(head) + layer.size + padding


def _blob_path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _descriptor(media_type: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(blob), "size": len(blob)}


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _json(document: Any) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
