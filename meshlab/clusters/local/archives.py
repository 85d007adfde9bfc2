"""Image archives that a user names: what is in them, checked before anything is changed.

Formats: the OCI image layout as a tar file (image-layout.md of the OCI image specification v1), and what
`docker save` writes (image/spec/v1.2 of moby). containerd's importer reads both.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from meshlab.clusters.local.oci import NAME_ANNOTATION
from meshlab.core.errors import InputError, Problem

REF_ANNOTATION = "org.opencontainers.image.ref.name"  # a whole name in some layouts, a mere tag in others
COMPRESSED = {b"\x1f\x8b": "gzip -d", b"BZ": "bzip2 -d", b"\xfd7": "xz -d", b"\x28\xb5": "zstd -d"}
LARGEST_INDEX = 16 << 20  # bytes; a list of images is a few kilobytes
AGAIN = "write it again: docker save -o FILE IMAGE, or skopeo copy … oci-archive:FILE:IMAGE"

Format = Literal["docker save", "OCI layout"]


@dataclass(frozen=True)
class ImageArchive:
    """A file of images. images: their references; docker's may be short (a registry is implied)."""

    path: Path
    format: Format
    images: tuple[str, ...]


def read(path: Path) -> ImageArchive:
    """Return what an archive holds. Raises InputError for a file that is none, is not whole, or names no image."""
    where = f"local.image_archives {path}"
    try:
        with path.open("rb") as file:
            start = file.read(2)
            if start in COMPRESSED:
                raise _bad(where, "is compressed", f"unpack it first: {COMPRESSED[start]} {path}")
            file.seek(0)
            with tarfile.open(fileobj=file, mode="r:") as tar:
                members = {member.name.removeprefix("./"): member for member in tar if member.isfile()}
                found = _oci(tar, members) or _docker(tar, members)
    except OSError as problem:
        raise _bad(where, f"can't be read: {problem.strerror}", "name a readable file") from problem
    except (tarfile.TarError, EOFError) as problem:
        raise _bad(where, "is not a tar archive, or not a whole one", AGAIN) from problem
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise _bad(where, f"has an index that can't be understood ({problem!r})", AGAIN) from problem
    if found is None:
        raise _bad(where, "is neither an OCI layout nor what `docker save` writes", AGAIN)
    form, names, parts = found
    missing = sorted(parts - set(members))
    if missing:
        raise _bad(where, f"is not whole: it lacks {missing[0]} and {len(missing) - 1} more", AGAIN)
    if not names:
        remedy = "name the image as you save it: docker save -o FILE NAME:TAG, not its id"
        raise _bad(where, "names no image", remedy)
    if short := [name for name in names if form == "OCI layout" and not _has_registry(name)]:
        # containerd completes what docker saves, and takes a layout's names as they are.
        remedy = "write it again under the whole name, the one that the manifest has: …/grafana/grafana:TAG"
        raise _bad(where, f"names {short[0]} without its registry", remedy)
    return ImageArchive(path, form, tuple(names))


def problems(paths: Iterable[Path]) -> list[Problem]:
    """Return all that is wrong with these archives. Touches nothing."""
    found: list[Problem] = []
    for path in paths:
        try:
            read(path)
        except InputError as problem:
            found += problem.problems
    return found


Found = tuple[Format, list[str], set[str]]  # the format, the names, and the members that must be there


def _oci(tar: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo]) -> Found | None:
    """An OCI layout, where it says of each image how it is called; `docker save` writes both indexes today."""
    if not {"oci-layout", "index.json"} <= set(members):
        return None
    names, parts = [], set()
    for manifest in _json(tar, members["index.json"])["manifests"]:
        notes = manifest.get("annotations") or {}
        name = notes.get(NAME_ANNOTATION) or notes.get(REF_ANNOTATION, "")
        if any(mark in name for mark in "/:@"):  # else it is a tag, and nobody says of what
            names.append(name)
            parts.add(f"blobs/{manifest['digest'].replace(':', '/')}")
    return ("OCI layout", names, parts) if names or "manifest.json" not in members else None


def _docker(tar: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo]) -> Found | None:
    if "manifest.json" not in members:
        return None
    images = _json(tar, members["manifest.json"])
    names = [tag for image in images for tag in image.get("RepoTags") or []]
    return "docker save", names, {part for image in images for part in (image["Config"], *image["Layers"])}


def _has_registry(name: str) -> bool:
    first, slash, _ = name.partition("/")
    return bool(slash) and (any(mark in first for mark in ".:") or first == "localhost")


def _json(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Any:
    if member.size > LARGEST_INDEX:
        raise ValueError(f"{member.name} has {member.size} bytes")
    content: IO[bytes] | None = tar.extractfile(member)
    return json.load(content) if content is not None else {}


def _bad(where: str, what: str, remedy: str) -> InputError:
    return InputError([Problem(where, what, remedy)])
