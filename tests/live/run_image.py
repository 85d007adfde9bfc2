"""The image of workers and runs without Docker: what deployments/kubernetes/Dockerfile says, packed by our own means.

The base and what `pip install` brings come from this machine (Debian's Python, the locked environment); files, variables,
folder and user are read from the Dockerfile, so that what it says is what is proven.
"""

from __future__ import annotations

import sysconfig
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from meshlab.clusters.local import build, pins, rootfs
from meshlab.clusters.local.images import PATH, LayerCache
from meshlab.clusters.local.oci import Entry, ImageSpec, Layer, RunConfig
from meshlab.config.settings import Machine
from meshlab.core.process import SystemRunner

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deployments" / "kubernetes" / "Dockerfile"
SITE = "opt/python"
# Of the environment, what only building and testing needs, by the first part of the path; it is 200 MB.
LEFT_OUT = ("envoy", "mypy", "mypyc", "pip", "setuptools", "_pytest", "hypothesis")
PREFECT = b"#!/usr/bin/python3\nfrom prefect.cli import app\n\napp()\n"


@dataclass
class Definition:
    """What a Dockerfile says of the image beyond its base: copies as (source, target), target absolute."""

    workdir: str = "/"
    user: str = ""
    env: list[str] = field(default_factory=list)
    copies: list[tuple[str, str]] = field(default_factory=list)


def definition(text: str) -> Definition:
    """Read the few instructions that ours uses; another one is a mistake here, not something to pass over."""
    found = Definition()
    for line in filter(None, (line.partition("#")[0].strip() for line in text.splitlines())):
        word, _, rest = line.partition(" ")
        words = rest.split()
        if word == "WORKDIR":
            found.workdir = rest
        elif word == "USER":
            found.user = rest
        elif word == "ENV":
            found.env += [each.replace("$PATH", PATH.partition("=")[2]) for each in words]
        elif word == "COPY":
            folder = words[-1] in (".", "./")
            for source in words[:-1]:
                target = source if folder else words[-1]
                found.copies.append((source, str(Path(found.workdir) / target)))
        elif word not in ("FROM", "ARG", "RUN"):
            raise AssertionError(f"an instruction that this does not know: {line}")
    return found


def run_image(machine: Machine, folder: Path, name: str, tag: str) -> ImageSpec:
    """The image, with the embedded distribution's istioctl and samples as its release of Istio.

    folder: gets a tar file of 400 MB.
    """
    said = definition(DOCKERFILE.read_text(encoding="utf-8"))
    base = rootfs.ensure(cache_dir=machine.cache, runner=SystemRunner())
    code = [entry for source, target in said.copies for entry in _copied(source, target, machine)]
    programs = [
        Entry("usr/local/bin/prefect", data=PREFECT, mode=0o755),
        Entry("etc/passwd", data=rootfs.PASSWD.replace("bookinfo:x:1000", "lab:x:1000").encode()),
    ]
    config = RunConfig(
        env=(
            *(said.env if any(e.startswith("PATH=") for e in said.env) else (PATH, *said.env)),
            f"PYTHONPATH=/{SITE}",
        ),
        user=said.user,
        workdir=said.workdir,
    )
    layers = (base, packages(folder / "packages.tar"), LayerCache(folder / "notes").layer([*code, *programs]))
    return ImageSpec(name, tag, layers, config)


def packages(archive: Path) -> Layer:
    """The locked packages as a layer. Times are kept: Python takes compiled modules only for sources of their time."""
    site = Path(sysconfig.get_path("purelib"))

    def of_root(header: tarfile.TarInfo) -> tarfile.TarInfo:
        header.uid = header.gid = 0
        header.uname = header.gname = ""
        return header

    with tarfile.open(archive, "w") as tar:
        for found in sorted(site.iterdir()):
            if found.name not in LEFT_OUT and "__mypyc" not in found.name:
                tar.add(found, arcname=f"{SITE}/{found.name}", filter=of_root)
    return Layer.of_archive(archive)


def _copied(source: str, target: str, machine: Machine) -> Iterator[Entry]:
    if source == "${ISTIO}":
        yield from _istio(target, machine)
        return
    path = ROOT / source
    if path.is_file():
        yield Entry(target.lstrip("/"), source=path)
    for found in sorted(path.rglob("*")):
        if found.is_file() and "__pycache__" not in found.parts:
            yield Entry(f"{target.lstrip('/')}/{found.relative_to(path)}", source=found)


def _istio(target: str, machine: Machine) -> Iterator[Entry]:
    """A folder as a release has it: bin/istioctl and samples/."""
    place = target.lstrip("/")
    binaries = build.built("cluster", machine)
    assert binaries is not None, "the embedded distribution is not compiled"
    yield Entry.program(f"{place}/bin/istioctl", binaries["istioctl"])
    samples = build.module_dir(pins.ISTIO, machine=machine, runner=SystemRunner()) / "samples"
    for found in sorted(samples.rglob("*.yaml")):
        yield Entry(f"{place}/samples/{found.relative_to(samples)}", source=found)
