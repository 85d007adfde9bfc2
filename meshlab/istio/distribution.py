"""Which build of Istio runs: the embedded one, compiled by this project, or a release that the user has.

Keyed on the settings only, never on the cluster's provider: either build runs on any cluster.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
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
RELEASE_REMEDY = "name a release's istioctl with --istioctl PATH, its samples/ folder beside it or above it"


@dataclass(frozen=True)
class Distribution:
    """A build of Istio, ready to be installed.

    kind: embedded or release. istioctl: the program. version: what it calls itself. samples: the folder with
    bookinfo/, sleep/ and addons/. images: references of our images in the cluster; empty for a release, and
    where they are to be looked up in the cluster.
    """

    kind: Kind
    istioctl: Path
    version: str
    samples: Path
    images: tuple[str, ...] = ()

    @property
    def ours(self) -> bool:
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
    binaries: Mapping[str, Path] | None = None,
    images: Iterable[str] = (),
    runner: Runner | None = None,
    kubernetes: str | None = None,
    progress: Progress = silent,
) -> Distribution:
    """Find the distribution that the settings ask for.

    A release that is not here is downloaded.

    Args:
        config: The settings of the run.
        machine: This machine: its folders and what it has.
        binaries: Name → path, as the build returned them; looked up in the cache when not given. Only the
            embedded distribution needs them.
        images: References of the images that the cluster was given. Only the embedded distribution needs
            them.
        runner: Starts processes.
        kubernetes: The server's version, for a download: the newest Istio that supports it is taken.
        progress: Told how far it came.

    Returns:
        It.

    Raises:
        InputError: A release is not there.
        IstioError: The embedded distribution is not compiled yet, or a release can't be had.
        BuildError: The Istio module can't be had.
    """
    runner = runner or SystemRunner()
    if config.distribution == "release":
        found = problems(config, machine, runner=runner)
        if found:
            raise InputError(found)
        if downloads(config, machine, runner):
            return _downloaded(config, machine, runner, kubernetes, progress)
        program = _release_istioctl(config, machine)
        samples = _samples_of(program) if program else None
        if program is None or samples is None:
            raise InputError(
                [Problem("--istioctl", "no release of Istio was named or found", RELEASE_REMEDY)]
            )
        return Distribution(
            "release", program, Istioctl(program, runner=runner).version(remote=False).client, samples
        )
    if config.istio.istioctl is not None:
        return _brought(config.istio.istioctl, config, images, runner)
    compiled = binaries or build.built("cluster", machine) or {}
    if "istioctl" not in compiled:
        raise IstioError(
            "the embedded Istio is not compiled yet", remedy="bring the cluster up first: make up"
        )
    module = build.module_dir(pins.ISTIO, machine=machine, runner=runner)
    version = pins.versions().istio
    return Distribution("embedded", compiled["istioctl"], version, module / "samples", tuple(images))


def _brought(program: Path, config: LabConfig, images: Iterable[str], runner: Runner) -> Distribution:
    """The embedded distribution's own istioctl, where nothing is compiled: in the image of a Job, for example."""
    found, samples = _embedded_problems(config, runner), _samples_of(program)
    if found or samples is None:
        raise InputError(found)
    return Distribution("embedded", program, pins.versions().istio, samples, tuple(images))


def downloads(config: LabConfig, machine: Machine, runner: Runner | None = None) -> bool:
    """Tell whether a release is downloaded.

    On GKE it is, unless an istioctl is named; elsewhere where a version is asked for that the istioctl on
    PATH is not.

    Args:
        config: The settings of the run.
        machine: This machine: its folders and what it has.
        runner: Starts processes.

    Returns:
        True where it is.
    """
    if config.distribution != "release" or config.istio.istioctl is not None:
        return False
    on_path, asked = _release_istioctl(config, machine), config.istio.version
    if config.cluster == "gke" or on_path is None:
        return config.cluster == "gke" or asked is not None
    return asked is not None and asked.removeprefix("v") != _version_of(on_path, runner or SystemRunner())


def _version_of(program: Path, runner: Runner) -> str | None:
    try:
        return Istioctl(program, runner=runner).version(remote=False).client
    except IstioError:
        return None  # what is wrong with it is said elsewhere, or it is not used


def _downloaded(
    config: LabConfig, machine: Machine, runner: Runner, kubernetes: str | None, progress: Progress
) -> Distribution:
    found = support.problems(config.istio.version, kubernetes) if kubernetes else []
    version = config.istio.version or (support.newest_for(kubernetes) if kubernetes else None)
    if found or version is None:
        nothing = [
            Problem("--istio-version", "is not given, and the cluster's version is not known", "name one")
        ]
        raise InputError(found or nothing)
    root = download.fetch(version, config.istio, machine, progress=progress)
    program = root / "bin" / "istioctl"
    called = Istioctl(program, runner=runner).version(remote=False).client
    return Distribution("release", program, called, root / "samples")


def problems(config: LabConfig, machine: Machine, *, runner: Runner | None = None) -> list[Problem]:
    """Find everything about the wanted Istio that can't be run.

    Touches nothing: it reads files and asks istioctl its version.

    Args:
        config: The settings of the run.
        machine: This machine: its folders and what it has.
        runner: Starts processes.

    Returns:
        The problems.
    """
    path = config.istio.operator_file
    embedded = config.distribution == "embedded"
    found = operator_file.problems(path, embedded=embedded) if path else []
    operator = operator_file.read(path) if path and not found else None
    profile = profiles.chosen(config, operator)
    if embedded:
        return (
            found
            + _embedded_problems(config, runner or SystemRunner())
            + profiles.embedded_problems(profile, operator)
        )
    return found + _release_problems(config, profile, machine, runner or SystemRunner())


def _embedded_problems(config: LabConfig, runner: Runner) -> list[Problem]:
    found = []
    have, asked = pins.versions().istio, config.istio.version
    if asked is not None and asked.removeprefix("v") != have:
        found.append(
            Problem(
                f"--istio-version {asked}",
                f"the embedded distribution is Istio {have} and nothing else",
                "leave the version out, or use a release: --set istio.distribution=release --istioctl PATH",
            )
        )
    program = config.istio.istioctl
    if program is not None and config.cluster == "local":
        found.append(
            Problem(
                f"--istioctl {program}",
                "the local cluster brings the embedded distribution's own istioctl",
                "leave it out, or use a release: --set istio.distribution=release",
            )
        )
    elif program is not None:
        found += _program_problems(program, runner, have)
    return found


def _release_problems(config: LabConfig, profile: str, machine: Machine, runner: Runner) -> list[Problem]:
    if downloads(config, machine, runner):
        return download.problems(config.istio)  # which version fits is judged with the cluster
    program = _release_istioctl(config, machine)
    if program is None:
        return [
            Problem(
                "--istioctl",
                "was not given, and no istioctl is on PATH",
                f"{RELEASE_REMEDY}; --istio-version VERSION downloads it; or run the embedded "
                "one: --set istio.distribution=embedded",
            )
        ]
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
        return [Problem(where, "is no file" if program.exists() else "does not exist", RELEASE_REMEDY)]
    if not os.access(program, os.X_OK):
        return [Problem(where, "is not executable", f"chmod +x {program}")]
    found = []
    samples = _samples_of(program)
    if samples is None:
        found.append(Problem(where, "has no samples/ folder beside it or above it", RELEASE_REMEDY))
    elif missing := [name for name in NEEDED_SAMPLES if not (samples / name).is_file()]:
        found.append(Problem(where, f"{samples} lacks {', '.join(missing)}", "unpack the whole release"))
    try:
        have = Istioctl(program, runner=runner).version(remote=False).client
    except IstioError as problem:
        return [*found, Problem(where, f"does not run: {problem.message}", RELEASE_REMEDY)]
    if asked is not None and asked.removeprefix("v") != have:
        found.append(
            Problem(f"--istio-version {asked}", f"{program} is {have}", "name that version's istioctl")
        )
    return found


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
