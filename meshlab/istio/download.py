"""A release of Istio, fetched once: the archive for this machine's OS and CPU, verified, unpacked into the cache.

The archive grows under a name of its own and goes on where it was cut off; only what matches the checksum beside it is
unpacked; only what is unpacked whole gets its final name. So a folder that is there is good, whoever was killed.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import requests
import urllib3

from meshlab.clusters.local.files import locked, sha256
from meshlab.config.settings import IstioSettings, Machine
from meshlab.core.errors import IstioError, Problem
from meshlab.core.progress import Progress, Update, silent
from meshlab.core.waiting import Clock, SystemClock

CONNECT, READ = 10.0, 30.0  # seconds: to connect, and that a server may stay silent
TRIES = 4  # of a transfer that breaks off, each going on where the last one ended
CHUNK = 1 << 18
ARCHES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64", "armv7l": "armv7"}
WHAT = "download Istio"


def fetch(
    version: str,
    settings: IstioSettings,
    machine: Machine,
    *,
    progress: Progress = silent,
    clock: Clock | None = None,
) -> Path:
    """Find the folder of a release, downloaded where it is not in the cache.

    Args:
        version: The release's.
        settings: Where releases come from.
        machine: This machine: its folders and what it has.
        progress: Gets what is being done.
        clock: Of the wait; the machine's where not given.

    Returns:
        The folder: bin/istioctl, samples/, manifests/.

    Raises:
        IstioError: There is no such release, the server does not answer, a checksum differs, or the archive
            can't be unpacked.
    """
    version, flavour = version.removeprefix("v"), flavour_of(platform.system(), platform.machine())
    folder = machine.cache / "istio" / f"istio-{version}-{flavour}"
    if folder.is_dir():
        return folder
    address = f"{settings.download_url.rstrip('/')}/{version}/istio-{version}-{flavour}.tar.gz"
    archive = folder.with_name(f"{folder.name}.tar.gz.part")
    with locked(folder.parent / f".{folder.name}.lock"):  # two runs would write into the same archive
        if not folder.is_dir():
            _bring(address, archive, folder, version, settings, progress, clock or SystemClock())
    return folder


def _bring(
    address: str,
    archive: Path,
    folder: Path,
    version: str,
    settings: IstioSettings,
    progress: Progress,
    clock: Clock,
) -> None:
    deadline = clock.now() + settings.download_timeout
    wanted = _checksum(address, version)
    for again in (True, False):
        _transfer(address, archive, progress, clock, deadline)
        found = sha256(archive)
        if found == wanted:
            break
        archive.unlink()
        if not again:
            raise IstioError(
                f"{address} has the SHA-256 {found}, the checksum beside it says {wanted}",
                remedy="the mirror is broken or was tampered with: use another (--set istio.download_url=URL)",
            )
        # What was there before may have been another's begin: once more, from the first byte.
    _unpack(archive, folder, version)
    archive.unlink(missing_ok=True)
    progress(Update(WHAT, 1, 1, f"{version}, verified"))


def flavour_of(system: str, cpu: str) -> str:
    """Return what Istio calls the archive for a machine: linux-amd64, osx-arm64, … Raises IstioError for one that has none."""
    arch = ARCHES.get(cpu.lower())
    known = {"Linux": f"linux-{arch}", "Darwin": "osx" if arch == "amd64" else f"osx-{arch}"}
    if arch is None or system not in known:
        raise IstioError(
            f"Istio has no release for {system} on {cpu}",
            remedy="name an istioctl that runs here: --istioctl PATH, its samples/ folder beside it",
        )
    return known[system]


def problems(settings: IstioSettings) -> list[Problem]:
    """Find out whether the base URL can be used.

    Without TLS only the loopback may be: checksum and archive come from the same place.
    """
    split = urlsplit(settings.download_url)
    if split.scheme == "https" and split.hostname:
        return []
    if split.scheme == "http" and split.hostname in ("127.0.0.1", "::1", "localhost"):
        return []
    what = f"{settings.download_url} is not an https address"
    return [
        Problem("--set istio.download_url", what, "give https://HOST/PATH, below which VERSION/istio-… lies")
    ]


def _checksum(address: str, version: str) -> str:
    """The SHA-256 that lies beside the archive, in hex."""
    try:
        answer = requests.get(f"{address}.sha256", timeout=(CONNECT, READ))
    except requests.RequestException as problem:
        raise _away(address, problem) from problem
    if answer.status_code == 404:
        raise IstioError(
            f"there is no release {version} at {address}",
            remedy="name a version that exists (--istio-version VERSION), or a mirror that has it (--set istio.download_url=URL)",
        )
    if not answer.ok:
        raise _away(address, f"HTTP {answer.status_code}")
    found = re.match(r"\s*([0-9a-fA-F]{64})\b", answer.text)
    if found is None:
        raise IstioError(
            f"{address}.sha256 holds no checksum", remedy="use another mirror: --set istio.download_url=URL"
        )
    return found[1].lower()


def _transfer(address: str, archive: Path, progress: Progress, clock: Clock, deadline: float) -> None:
    """Bring the archive here, going on where an earlier transfer ended."""
    problem: object = "no answer"
    for _ in range(TRIES):
        have = archive.stat().st_size if archive.exists() else 0
        try:
            with requests.get(
                address,
                # As it lies there: a server that says of a .tar.gz that it is encoded would have it unpacked on the way.
                headers={"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})},
                stream=True,
                timeout=(CONNECT, READ),
            ) as answer:
                if answer.status_code == 416:  # nothing is left to come
                    return
                if not answer.ok:
                    raise _away(address, f"HTTP {answer.status_code}")
                have = have if answer.status_code == 206 else 0
                total = have + int(answer.headers.get("Content-Length") or 0)
                with archive.open("ab" if have else "wb") as sink:
                    for chunk in answer.raw.stream(CHUNK, decode_content=False):
                        sink.write(chunk)
                        have += len(chunk)
                        progress(Update(WHAT, have, total, f"{have / 1e6:.0f} of {total / 1e6:.0f} MB"))
                        if clock.now() > deadline:
                            raise _away(address, f"too slow, {have / 1e6:.1f} of {total / 1e6:.1f} MB came")
                return
        except (requests.RequestException, urllib3.exceptions.HTTPError) as broken:
            problem = broken
        if clock.now() > deadline:
            break
    raise _away(address, problem)


def _away(address: str, problem: object) -> IstioError:
    return IstioError(
        f"can't download {address}: {problem}",
        remedy="check the network, give it more time (--set istio.download_timeout=SECONDS), use a mirror "
        "(--set istio.download_url=URL), or name a release that is here: --istioctl PATH",
        retryable=True,
    )


def _plain(content: tarfile.TarFile, place: Path) -> Iterator[tarfile.TarInfo]:
    """The archive's files, folders and links, as its reader's own. Raises TarError for what would be, or lead, outside.

    By hand, since `extractall(filter="data")` is newer than the Python of Debian 12 (3.11.2). As there, each is judged
    when those before it lie in place, so that their links count.
    """
    for member in content:
        lies = place / member.name
        leads = (place if member.islnk() else lies.parent) / member.linkname
        if not all(path.resolve().is_relative_to(place.resolve()) for path in (lies, leads)):
            raise tarfile.TarError(f"{member.name} would lie or lead outside the folder")
        if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
            raise tarfile.TarError(f"{member.name} is neither a file nor a folder nor a link")
        member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
        member.mode &= 0o755
        yield member


def _unpack(archive: Path, folder: Path, version: str) -> None:
    """Unpack beside the final place, then take it in one step. Another run may have been quicker: its folder is as good."""
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as place:
        try:
            with tarfile.open(archive) as content:
                content.extractall(place, members=_plain(content, Path(place)))
        except (tarfile.TarError, OSError, EOFError, zlib.error) as problem:
            archive.unlink()
            raise IstioError(
                f"the archive of Istio {version} can't be unpacked: {problem}",
                remedy="see whether the disk is full; else use another mirror: --set istio.download_url=URL",
            ) from problem
        root = Path(place) / f"istio-{version}"
        if not (root / "bin" / "istioctl").is_file() or not (root / "samples").is_dir():
            raise IstioError(
                f"the archive of Istio {version} lacks istio-{version}/bin/istioctl or samples/",
                remedy="use another mirror: --set istio.download_url=URL",
            )
        (root / "bin" / "istioctl").chmod(0o755)
        try:
            root.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
            shutil.rmtree(root)
