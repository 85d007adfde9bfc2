"""The golden containerd root: images are imported once, and each node gets a hard-linked copy in no time.

It outlives clusters, in the cache folder. A temporary containerd imports into it, in a mount namespace of its
own and ended by the kernel when we die, so that not even a kill -9 leaves a mount or a process behind.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from meshlab.clusters.local import containerd
from meshlab.clusters.local.containerd import ContainerdConfig
from meshlab.clusters.local.files import locked
from meshlab.clusters.local.oci import ImageSpec, write_archive
from meshlab.core.errors import BuildError, ClusterError
from meshlab.core.files import write_atomically
from meshlab.core.process import Runner, end_group
from meshlab.core.progress import Progress, Update, silent

log = logging.getLogger(__name__)
FORMAT = 1  # raise it when the layout under <cache>/golden/<key>/ changes
# containerd writes to these while a node runs: hard links would let nodes write into each other's.
DATABASES = (
    "io.containerd.metadata.v1.bolt/meta.db",
    "io.containerd.snapshotter.v1.overlayfs/metadata.db",
)
# Its own mount namespace, and SIGKILL when the thread that started it ends: see the module's docstring.
CONFINED = ("unshare", "--mount", "--propagation", "private", "setpriv", "--pdeathsig", "KILL")
RUN = Path("/run")  # where the temporary containerd's socket and state go: paths there are short enough
STEPS = 4  # of the progress: archive, start, import, done


@dataclass(frozen=True)
class Golden:
    """A containerd root (`path`) that no containerd uses, and the references of the images in it, sorted."""

    path: Path
    images: tuple[str, ...]


def ensure(
    specs: Sequence[ImageSpec],
    *,
    cache_dir: Path,
    runner: Runner,
    progress: Progress = silent,
    stop: threading.Event | None = None,
) -> Golden:
    """Return a golden root that holds every image of `specs`; what is missing is imported first.

    It lives in `<cache_dir>/golden/<key>/`, keyed by containerd's version, this module's format and the base
    layers, so images that come later are only added. An interrupted import is made again from nothing.
    Of two calls at once, one works and the other waits. Raises BuildError, ProcessError, WaitTimeout.
    """
    home = cache_dir / "golden" / _key(specs, containerd.version(runner=runner))
    with locked(_lock(home)):
        held = _held(home)
        missing = [spec for spec in specs if held.get(spec.reference) != _identity(spec)]
        if missing:
            _import(home, missing, runner=runner, progress=progress, stop=stop)
            held |= {spec.reference: _identity(spec) for spec in missing}
            write_atomically(home / "images.json", json.dumps(held, indent=1, sort_keys=True))
            (home / "importing").unlink()
        progress(Update("images", STEPS, STEPS, f"{len(held)} images"))
        return Golden(home / "root", tuple(sorted(held)))


def clone(golden: Golden, dest: Path, *, runner: Runner) -> None:
    """Make `dest` a containerd root with the golden images: hard links, and real copies of the databases.

    Falls back to copies where `dest` is on another file system. `dest` must not exist.
    Raises ClusterError when it does, ProcessError when copying fails.
    """
    if dest.exists():
        raise ClusterError(f"{dest} exists already", remedy="remove the cluster first: `make down`")
    dest.parent.mkdir(parents=True, exist_ok=True)
    part = dest.with_name(f"{dest.name}.part")
    with locked(_lock(golden.path.parent), shared=True):
        if part.exists():
            shutil.rmtree(part)
        how = ("-al",) if _links(golden.path / DATABASES[0], dest.parent) else ("-a", "--reflink=auto")
        runner.run(("cp", *how, golden.path, part), timeout=300)
        for name in DATABASES:
            copy = part / f"{name}.copy"
            shutil.copy2(golden.path / name, copy)
            copy.replace(part / name)
        part.rename(dest)


def _links(file: Path, folder: Path) -> bool:
    """Whether a hard link to a file can be made in a folder: tried, for two mounts of one file system look alike."""
    trial = folder / f".link-{os.getpid()}"
    try:
        os.link(file, trial)
    except OSError:
        return False
    trial.unlink()
    return True


def import_into(
    socket: Path, specs: Sequence[ImageSpec], *, runner: Runner, stop: threading.Event | None = None
) -> None:
    """Import images into a containerd that runs already, a node's say. Raises ProcessError, BuildError."""
    with tempfile.TemporaryDirectory(prefix="meshlab-images-") as work:
        archive = Path(work, "images.tar")
        write_archive(specs, archive)
        containerd.import_archive(socket, archive, runner=runner, stop=stop)


def _key(specs: Sequence[ImageSpec], version: str) -> str:
    bases = sorted({spec.layers[0].digest for spec in specs})
    return hashlib.sha256(json.dumps([FORMAT, version, bases]).encode()).hexdigest()[:16]


def _identity(spec: ImageSpec) -> str:
    return hashlib.sha256(spec.manifest_blob()).hexdigest()


def _lock(home: Path) -> Path:
    return home.with_name(f"{home.name}.lock")


def _held(home: Path) -> dict[str, str]:
    """Reference → identity of what the root holds; a root whose import was interrupted is removed."""
    if (home / "importing").exists() or not (home / "images.json").exists():
        if home.exists():
            log.info("%s: removing what an interrupted import left", home)
            shutil.rmtree(home)
        return {}
    held: dict[str, str] = json.loads((home / "images.json").read_text())
    return held


def _import(
    home: Path,
    missing: Sequence[ImageSpec],
    *,
    runner: Runner,
    progress: Progress,
    stop: threading.Event | None,
) -> None:
    """Import `missing` with a temporary containerd; the marker stays until the caller has noted success."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "importing").touch()
    archive = home / "images.tar"
    try:
        with _temporary(home, runner=runner, stop=stop) as socket:
            progress(Update("images", 1, STEPS, f"packing {len(missing)}"))
            size = write_archive(missing, archive)
            progress(Update("images", 2, STEPS, f"importing {len(missing)}, {size / 1e6:.0f} MB"))
            containerd.import_archive(socket, archive, runner=runner, stop=stop)
            progress(Update("images", 3, STEPS, "verifying"))
            absent = {spec.reference for spec in missing} - set(containerd.image_names(socket, runner=runner))
        if absent:
            raise BuildError(
                f"containerd did not import {', '.join(sorted(absent))}",
                remedy=f"read {home / 'containerd.log'}; `make clean` starts over",
            )
    finally:
        archive.unlink(missing_ok=True)


@contextmanager
def _temporary(home: Path, *, runner: Runner, stop: threading.Event | None) -> Iterator[Path]:
    """A containerd on the golden root for as long as the context lasts; yields its socket."""
    # One name per golden root, so that what a killed run left there is found and removed; this process holds the lock.
    work = RUN / f"meshlab-golden-{hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:12]}"
    shutil.rmtree(work, ignore_errors=True)
    config = ContainerdConfig(
        root=home / "root", state=work / "state", socket=work / "containerd.sock", cri=False
    )
    log_file = home / "containerd.log"
    child = containerd.start(config, work / "config.toml", runner=runner, log_file=log_file, prefix=CONFINED)
    try:
        containerd.await_ready(config.socket, runner=runner, child=child, log_file=log_file, stop=stop)
        yield config.socket
    finally:
        end_group(child, grace=10)
        shutil.rmtree(work, ignore_errors=True)
