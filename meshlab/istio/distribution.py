"""Which build of Istio runs: the embedded one, compiled by this project, or a release that the user has.

Keyed on the settings only, never on the cluster's provider: either build runs on any cluster.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from meshlab.clusters.local import build, pins
from meshlab.config.settings import Distribution as Kind
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import InputError, IstioError, Problem
from meshlab.core.process import Runner, SystemRunner
from meshlab.core.progress import Progress, silent
from meshlab.istio import download, operator_file, profiles, support
from meshlab.istio.istioctl import Istioctl

# What the lab reads of a release's samples.
NEEDED_SAMPLES = (
    "bookinfo/platform/kube/bookinfo.yaml",
    "bookinfo/networking/bookinfo-gateway.yaml",
    "sleep/sleep.yaml",
    "tcp-echo/tcp-echo.yaml",
    "addons/prometheus.yaml",
    "addons/grafana.yaml",
    "addons/jaeger.yaml",
)
EMBEDDED = "--set istio.distribution=embedded"
RELEASE_REMEDY = "name a release's istioctl with --istioctl PATH, its samples/ folder beside it or above it"


@dataclass(frozen=True)
class Distribution:
    """A build of Istio, ready to be installed.

    kind: embedded or release. istioctl: the program. version: what it calls itself. samples: the folder with
    bookinfo/, sleep/ and addons/. images: references of the embedded images in the cluster; empty for a release, and
    where they are to be looked up in the cluster.
    """

    kind: Kind
    istioctl: Path
    version: str
    samples: Path
    images: tuple[str, ...] = ()

    @property
    def embedded(self) -> bool:
        """Whether this project compiled it, with an upstream Envoy as its proxy."""
        return self.kind == "embedded"

    @property
    def root(self) -> Path:
        """The folder that holds samples/ and manifests/."""
        return self.samples.parent

    @property
    def profile_values(self) -> Path:
        """The folder with the Helm values of each profile; a release may lack it."""
        return self.root / "manifests" / "helm-profiles"


def locate(
    config: LabConfig,
    *,
    machine: Machine,
    images: Iterable[str] = (),
    runner: Runner | None = None,
    kubernetes: str | None = None,
    progress: Progress = silent,
) -> Distribution:
    """Return the distribution that the settings ask for. A release that is not here is downloaded.

    Args:
        config: The settings of the run.
        machine: This machine: its cache, and its PATH.
        images: References of the embedded images that the cluster was given. Only the embedded distribution needs them.
        runner: Starts istioctl and Go.
        kubernetes: The server's version, for a download: the newest Istio that supports it is taken.
        progress: Gets the progress of a download.

    Returns:
        A build of Istio that can be installed.

    Raises:
        InputError: The settings ask for a release that is not there.
        IstioError: The embedded distribution is not compiled yet, or the download failed.
        BuildError: The source of the Istio module can't be had.
    """
    runner, program = runner or SystemRunner(), config.istio.istioctl
    if config.distribution == "release":
        return _release(config, machine, runner, kubernetes, progress)
    version = pins.versions().istio
    if program is not None:  # its own istioctl where nothing is compiled: in the image of a Job, for example
        found, samples = _embedded_problems(config, runner), _samples_of(program)
        if found or samples is None:
            raise InputError(found)
        return Distribution("embedded", program, version, samples, tuple(images))
    compiled = build.built("cluster", machine)
    if compiled is None:
        raise IstioError(
            "the embedded Istio is not compiled yet", remedy="bring the cluster up first: make up"
        )
    module = build.module_dir(pins.ISTIO, machine=machine, runner=runner)
    return Distribution("embedded", compiled["istioctl"], version, module / "samples", tuple(images))


def earlier(
    istioctl: Path, *, machine: Machine, images: Iterable[str], runner: Runner | None = None
) -> Distribution:
    """Return the older embedded Istio from which an upgrade of the local lab begins, once it is compiled.

    Args:
        istioctl: Its program.
        machine: This machine: its cache, and its PATH.
        images: References of the images that the cluster was given, its own pilot and proxyv2 first.
        runner: Starts Go.

    Returns:
        It.

    Raises:
        BuildError: The source of the Istio module can't be had.
    """
    module = build.module_dir(
        pins.ISTIO, machine=machine, runner=runner or SystemRunner(), stage=pins.EARLIER
    )
    version, _ = pins.istio_of(pins.STAGES[pins.EARLIER].module)
    return Distribution("embedded", istioctl, version, module / "samples", tuple(images))


def _release(
    config: LabConfig, machine: Machine, runner: Runner, kubernetes: str | None, progress: Progress
) -> Distribution:
    if found := problems(config, machine, runner=runner):
        raise InputError(found)
    if downloads(config, machine, runner):
        program: Path | None = _downloaded(config, machine, kubernetes, progress)
    else:
        program = _release_istioctl(config, machine)
    samples = _samples_of(program) if program else None
    if program is None or samples is None:
        raise InputError([Problem("--istioctl", "no release of Istio was named or found", RELEASE_REMEDY)])
    return Distribution("release", program, _client_version(program, runner), samples)


def downloads(config: LabConfig, machine: Machine, runner: Runner | None = None) -> bool:
    """Tell whether a release is downloaded.

    It is on GKE unless an istioctl is named; on a local cluster also where there is none on PATH; anywhere where a version is
    asked for that the istioctl on PATH is not.

    Args:
        config: The settings of the run.
        machine: This machine, for its PATH.
        runner: Asks the istioctl on PATH for its version.

    Returns:
        Whether `locate` would download one, or take it from the cache of earlier downloads.
    """
    asked = config.istio.version
    if config.distribution != "release" or config.istio.istioctl is not None:
        return False
    if config.cluster == "gke":
        return True
    on_path = _release_istioctl(config, machine)
    if asked is None:
        return config.cluster == "local" and on_path is None
    try:
        return on_path is None or _client_version(on_path, runner or SystemRunner()) != _number(asked)
    except IstioError:
        return True  # the one on PATH does not run; it is not used


def _client_version(program: Path, runner: Runner) -> str:
    return Istioctl(program, runner=runner).version(remote=False).client


def _number(version: str) -> str:
    return version.removeprefix("v")


def _downloaded(config: LabConfig, machine: Machine, kubernetes: str | None, progress: Progress) -> Path:
    """Return the istioctl of a release that was downloaded."""
    found = support.problems(config.istio.version, kubernetes) if kubernetes else []
    version = config.istio.version or (support.newest_for(kubernetes) if kubernetes else None)
    if found or version is None:
        nothing = Problem(
            "--istio-version", "is not given, and the cluster's version is not known", "name one"
        )
        raise InputError(found or [nothing])
    return download.fetch(version, config.istio, machine, progress=progress) / "bin" / "istioctl"


def problems(config: LabConfig, machine: Machine, *, runner: Runner | None = None) -> list[Problem]:
    """Find everything about the wanted Istio that can't be run.

    Touches nothing: it reads files and asks istioctl for its version.

    Args:
        config: The settings of the run.
        machine: This machine, for its PATH.
        runner: Asks istioctl for its version.

    Returns:
        Each problem with its remedy; empty where there is none.
    """
    runner, path = runner or SystemRunner(), config.istio.operator_file
    embedded = config.distribution == "embedded"
    cni = config.cluster == "local" and config.local.cni
    found = operator_file.problems(path, embedded=embedded, cni=cni) if path else []
    operator = operator_file.read(path) if path and not found else None
    profile = profiles.chosen(config, operator)
    if not embedded:
        return found + _release_problems(config, profile, machine, runner)
    return found + _embedded_problems(config, runner) + profiles.embedded_problems(profile, operator)


def _embedded_problems(config: LabConfig, runner: Runner) -> list[Problem]:
    have, program = pins.versions().istio, config.istio.istioctl
    what = f"the embedded distribution is Istio {have} and nothing else"
    other = "use a release: --set istio.distribution=release"
    found = _other_version(
        config.istio.version, have, what, f"leave the version out, or {other} --istioctl PATH"
    )
    if program is not None and config.cluster == "local":
        what = "the local cluster brings the embedded distribution's own istioctl"
        found.append(Problem(f"--istioctl {program}", what, f"leave it out, or {other}"))
    elif program is not None:
        found += _program_problems(program, runner, have)
    return found


def _other_version(asked: str | None, have: str, what: str, remedy: str) -> list[Problem]:
    if asked is None or _number(asked) == have:
        return []
    return [Problem(f"--istio-version {asked}", what, remedy)]


def _release_problems(config: LabConfig, profile: str, machine: Machine, runner: Runner) -> list[Problem]:
    if downloads(config, machine, runner):
        return download.problems(config.istio)  # which version fits is judged with the cluster
    program = _release_istioctl(config, machine)
    if program is None:
        remedy = (
            f"{RELEASE_REMEDY}; --istio-version VERSION downloads it; or run the embedded one: {EMBEDDED}"
        )
        return [Problem("--istioctl", "was not given, and no istioctl is on PATH", remedy)]
    found = _program_problems(program, runner, config.istio.version)
    samples = _samples_of(program)
    known = profiles.in_folder(samples.parent / "manifests" / "profiles") if samples else ()
    if known and profile not in known:
        found.append(profiles.unknown(profile, known))
    return found


def _program_problems(program: Path, runner: Runner, asked: str | None) -> list[Problem]:
    """Why this istioctl can't be used: it does not run, lacks its samples, or is not the version that is asked for."""
    where = f"--istioctl {program}"
    if not program.is_file():
        return [Problem(where, "is not a file" if program.exists() else "does not exist", RELEASE_REMEDY)]
    if not os.access(program, os.X_OK):
        return [Problem(where, "is not executable", f"chmod +x {program}")]
    found = []
    samples = _samples_of(program)
    if samples is None:
        found.append(Problem(where, "has no samples/ folder beside it or above it", RELEASE_REMEDY))
    elif missing := [name for name in NEEDED_SAMPLES if not (samples / name).is_file()]:
        found.append(Problem(where, f"{samples} lacks {', '.join(missing)}", "unpack the whole release"))
    try:
        have = _client_version(program, runner)
    except IstioError as problem:
        return [*found, Problem(where, f"does not run: {problem.message}", RELEASE_REMEDY)]
    return found + _other_version(asked, have, f"{program} is {have}", "name that version's istioctl")


def _release_istioctl(config: LabConfig, machine: Machine) -> Path | None:
    if config.istio.istioctl is not None:
        return config.istio.istioctl
    on_path = shutil.which("istioctl", path=machine.path)
    return Path(on_path) if on_path else None


def _samples_of(program: Path) -> Path | None:
    """samples/ beside istioctl, or up to two folders above it, where a release unpacks it (bin/istioctl)."""
    for folder in list(program.resolve().parents)[:3]:
        if (folder / "samples").is_dir():
            return folder / "samples"
    return None
