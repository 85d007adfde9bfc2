"""Official images from registries, for nodes that have no way out: fetched by skopeo, kept by digest, imported as archives.

Credentials are the user's own: skopeo finds them where `skopeo login` puts them, and nothing here reads them.
"""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from meshlab.clusters.local import archives
from meshlab.clusters.local.archives import ImageArchive
from meshlab.clusters.local.files import locked
from meshlab.config.settings import Machine
from meshlab.core.errors import ClusterError, InputError, Problem, ProcessError
from meshlab.core.process import Runner
from meshlab.core.progress import Progress, Update
from meshlab.core.text import pluralize

PROGRAM, PACKAGE = "skopeo", "skopeo"
ANSWER_WITHIN = 3.0  # seconds for all registries together, which are asked side by side
COPY_TIMEOUT = 1800.0  # seconds for one image
LEAST_FREE = 1.5e9  # bytes: the largest of the addons' images, packed and while it is written
WHAT = "pull images"
PLATFORMS = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x"}
LOG_IN = "log in with `skopeo login REGISTRY`, or correct its auth.json"
MIRROR = "see that it can be reached from here, or name a mirror: local.registry_mirrors"
ROOM = "make room in the cache folder"
BRING = "bring one: local.image_archives"
ELSEWHERE = "name a mirror that has it: local.registry_mirrors"
ASK = "do not use that registry until its owner has explained it"
# What skopeo says → what it means, and the remedy. The first that is found counts.
MEANINGS = (
    (r"no space left", "the disk is full", ROOM),
    (r"unauthorized|authentication required|access denied|denied:|\b40[13]\b", "the registry wants other credentials", LOG_IN),
    (r"(did|does) not match|not match.*digest|digest mismatch", "what came has another digest than was asked for", ASK),
    (r"no image found .*architecture|for architecture", "there is no image for this machine's CPU", BRING),
    (r"manifest unknown|name unknown|not found|\b404\b", "the registry does not have it", ELSEWHERE),
    (r"no such host|connection refused|timeout|deadline|unreachable|network|\bEOF\b|reset by peer|certificate|TLS|HTTP response",
     "the registry can't be reached", MIRROR),
)  # fmt: skip


@dataclass(frozen=True)
class Refusal:
    """An image that was not pulled: why, and the remedy."""

    reference: str
    why: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.reference}: {self.why}"


@dataclass(frozen=True)
class Pulled:
    """What was pulled. archives: one a reference, ready to be imported. fresh: bytes that came from registries now."""

    archives: tuple[ImageArchive, ...] = ()
    refused: tuple[Refusal, ...] = ()
    fresh: int = 0

    def in_one_line(self) -> str:
        """Say it in one line."""
        parts = []
        if self.archives:
            names = ", ".join(name for each in self.archives for name in each.images)
            came = f"{self.fresh / 1e6:.0f} MB" if self.fresh else "from the cache"
            parts.append(f"{pluralize(len(self.archives), 'official images')} ({came}): {names}")
        if self.refused:
            parts.append(f"not pulled: {'; '.join(map(str, self.refused))}")
        return "; ".join(parts) or "no image was asked for"


@dataclass(frozen=True)
class _Source:
    """Where one reference is fetched.

    place: as skopeo names it, without transport. tls: whether by HTTPS. short: the reference names no registry.
    """

    reference: str
    place: str
    tls: bool
    short: bool

    @property
    def repository(self) -> str:
        """The place without tag and digest."""
        head, slash, last = self.place.partition("@")[0].rpartition("/")
        return f"{head}{slash}{last.partition(':')[0]}"


@dataclass(frozen=True)
class Puller:
    """Pulls images into the cache.

    mirrors: as `local.registry_mirrors`. within: seconds for all registries to answer. stop: ends it when it is set.
    """

    machine: Machine
    runner: Runner
    mirrors: Mapping[str, str]
    within: float = ANSWER_WITHIN
    stop: threading.Event | None = None

    def pull(self, references: Sequence[str], *, progress: Progress) -> Pulled:
        """Ask all registries side by side, then fetch what they have, one after the other.

        Args:
            references: As manifests name them, with their registry.
            progress: Gets how many MB came.

        Returns:
            What can be imported, and why the rest can't. What failed leaves nothing in the cache.
        """
        if not references:
            return Pulled()
        if shutil.which(PROGRAM, path=self.machine.path) is None:
            why, remedy = f"{PROGRAM} is not on this machine", f"apt-get install {PACKAGE}"
            return Pulled(refused=tuple(Refusal(each, f"{why} ({remedy})", remedy) for each in references))
        progress(Update(WHAT, 0, len(references), "asking registries"))
        with ThreadPoolExecutor(len(references)) as pool:
            asked = list(pool.map(self._ask, references))
        found: list[ImageArchive] = []
        refused = [each for each in asked if isinstance(each, Refusal)]
        wanted = [each for each in asked if not isinstance(each, Refusal)]
        fresh = 0
        for source, digest in wanted:
            tell = _teller(progress, source.reference, len(found), len(wanted))
            try:
                archive, size = self._fetch(source, digest, tell)
            except ClusterError as problem:
                refused.append(Refusal(source.reference, problem.message, problem.remedy))
                continue
            found.append(archive)
            fresh += size
        done = Pulled(tuple(found), tuple(refused), fresh)
        progress(Update(WHAT, len(references), len(references), done.in_one_line()))
        return done

    def _ask(self, reference: str) -> tuple[_Source, str] | Refusal:
        """Ask a registry for an image's digest and CPU."""
        source = _source(reference, self.mirrors)
        if source is None:
            return Refusal(reference, "it names no registry", "name one: REGISTRY/REPOSITORY@DIGEST")
        form = "{{.Digest}} {{.Architecture}}"
        words = (
            "inspect",
            "--no-tags",
            *_tls(source, "--tls-verify"),
            "--format",
            form,
            f"docker://{source.place}",
        )
        try:
            said = self._skopeo(words, self.within)
        except ClusterError as problem:
            return Refusal(reference, problem.message, problem.remedy)
        digest, _, cpu = said.strip().partition(" ")
        ours = PLATFORMS.get(platform.machine(), platform.machine())
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
            return Refusal(reference, f"the registry told {digest[:80]!r} as its digest", MIRROR)
        if cpu and cpu != ours:
            return Refusal(
                reference, f"it is for {cpu}, this machine is {ours}", "bring one: local.image_archives"
            )
        return source, digest

    def _fetch(self, source: _Source, digest: str, tell: Callable[[int], None]) -> tuple[ImageArchive, int]:
        """Return the archive of an image, and how many bytes came from the registry now."""
        folder = self.machine.cache / "images"
        # The name is in the archive: one content under two names is kept twice.
        name = (
            f"{digest.removeprefix('sha256:')}-{hashlib.sha256(source.reference.encode()).hexdigest()[:12]}"
        )
        final, partial = folder / f"{name}.tar", folder / f"{name}.part"
        with locked(folder / f"{name}.lock"):
            if final.exists():
                try:
                    return archives.read(final), 0
                except InputError:
                    final.unlink()  # cut off by a full disk, or by a reader of ours; it is fetched again
            shutil.rmtree(partial, ignore_errors=True)  # left by a run that was killed
            try:
                partial.mkdir(parents=True)
                if (free := shutil.disk_usage(folder).free) < LEAST_FREE:
                    why = (
                        f"the disk of {folder} has {free / 1e9:.1f} GB free, {LEAST_FREE / 1e9:g} are needed"
                    )
                    raise ClusterError(why, remedy=ROOM)
                words = ("copy", *_tls(source, "--src-tls-verify"), f"docker://{source.repository}@{digest}")
                # A path of its own may hold no colon. What Docker saves has the whole name, a layout just what it is given.
                form = "docker-archive" if source.short else "oci-archive"
                into = f"{form}:image.tar:{source.reference}"
                with _watched(partial, tell):
                    self._skopeo(("--tmpdir", ".", *words, into), COPY_TIMEOUT, cwd=partial)
                archive = archives.read(partial / "image.tar")
                (partial / "image.tar").rename(final)
            except InputError as problem:
                told = problem.problems[0]
                raise ClusterError(f"what came {told.what}", remedy=told.remedy) from problem
            except OSError as problem:
                why = f"the cache can't be written: {problem.strerror or problem}"
                raise ClusterError(why, remedy=ROOM) from problem
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        return ImageArchive(final, archive.format, archive.images), final.stat().st_size

    def _skopeo(self, words: Sequence[str], timeout: float, cwd: Path | None = None) -> str:
        # It must not outlive a run that was killed: setpriv lets the kernel end it with its parent.
        command = ("setpriv", "--pdeathsig", "TERM", PROGRAM, "--override-os", "linux", *words)
        try:
            done = self.runner.run(command, timeout=timeout, check=False, cwd=cwd, stop=self.stop)
        except ProcessError as problem:
            late = f"the registry did not answer within {timeout:g} s"
            why = late if problem.retryable else problem.message
            raise ClusterError(why, remedy=MIRROR) from problem
        if done.returncode == 0:
            return done.stdout
        raise _meaning(done.stderr or done.stdout)


def problems(pull: str, machine: Machine) -> list[Problem]:
    """Find out whether images that must be pulled can't be.

    Args:
        pull: As `local.pull`.
        machine: This machine: its PATH.

    Returns:
        The problem; none where images need not be pulled.
    """
    if pull != "always" or shutil.which(PROGRAM, path=machine.path) is not None:
        return []
    return [Problem("local.pull always", f"the program {PROGRAM} is missing", f"apt-get install {PACKAGE}")]


def _source(reference: str, mirrors: Mapping[str, str]) -> _Source | None:
    registry, slash, rest = reference.partition("/")
    if not slash or not (any(mark in registry for mark in ".:") or registry == "localhost"):
        if "@" in reference:  # what Docker saves has a tag
            return None
        # skopeo completes such a name as the kubelet does; a mirror has to be told what that one's own images are below.
        registry, rest = "", reference if slash else f"library/{reference}"
    name, at, digest = rest.partition("@")
    if at:  # skopeo takes a tag or a digest; the digest says more
        head, between, last = name.rpartition("/")
        rest = f"{head}{between}{last.partition(':')[0]}@{digest}"
    mirror = mirrors.get(registry) or mirrors.get("*") or registry
    place = f"{mirror.removeprefix('http://')}/{rest}" if mirror else rest
    return _Source(reference, place, not mirror.startswith("http://"), short=not registry)


def _tls(source: _Source, flag: str) -> tuple[str, ...]:
    return () if source.tls else (f"{flag}=false",)


def _meaning(said: str) -> ClusterError:
    """Say in our words what skopeo said; its own last line comes behind it."""
    lines = [line for line in said.strip().splitlines() if line.strip()] or ["nothing"]
    last = re.sub(r'^time="[^"]*" level=\w+ msg="?(.*?)"?$', r"\1", lines[-1])[:300]
    for pattern, meaning, remedy in MEANINGS:
        if re.search(pattern, last, re.IGNORECASE):
            return ClusterError(f"{meaning} ({last})", remedy=remedy)
    return ClusterError(f"{PROGRAM} failed: {last}", remedy=MIRROR)


def _teller(progress: Progress, reference: str, done: int, total: int) -> Callable[[int], None]:
    return lambda size: progress(Update(WHAT, done, total, f"{reference}: {size / 1e6:.0f} MB"))


@contextmanager
def _watched(folder: Path, tell: Callable[[int], None], every: float = 1.0) -> Iterator[None]:
    """Tell how large a folder is, again and again, until the block ends."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(every):
            tell(_size(folder))

    watcher = threading.Thread(target=watch, name="pull progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _size(folder: Path) -> int:
    size = 0
    for path in folder.rglob("*"):
        try:
            size += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue  # it was there a moment ago
    return size
