"""Installation profiles: which exist, which the embedded distribution can run, and which one a run uses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from meshlab.config.settings import LabConfig
from meshlab.core.errors import Problem
from meshlab.istio.operator_file import at

# The profiles of the Istio that the pins name (manifests/profiles of its module). Kept here because input is
# judged before the module is there to be read; tests/live compares the two.
EMBEDDED_RUNS = ("default", "demo", "minimal", "preview", "empty")
EMBEDDED_REFUSES: Mapping[str, str] = {
    "ambient": "needs ztunnel and Istio's CNI node agent, which are not compiled",
    "openshift": "needs Istio's CNI node agent, which is not compiled",
    "openshift-ambient": "needs ztunnel and Istio's CNI node agent, which are not compiled",
    "remote": "has no control plane of its own",
    "stable": "forbids EnvoyFilter, which makes the standard metrics here",
}


def chosen(config: LabConfig, operator: Mapping[str, Any] | None) -> str:
    """Choose the profile of a run: the setting if it was given, else the operator file's, else the default.

    Args:
        config: The settings of the run.
        operator: The operator file's content.

    Returns:
        Its name.
    """
    named = at(operator or {}, "spec.profile")
    if named and "profile" not in config.istio.model_fields_set:
        return str(named)
    return config.istio.profile


def embedded_problems(profile: str, operator: Mapping[str, Any] | None) -> list[Problem]:
    """Return what keeps the embedded distribution from running a profile."""
    where = f"--profile {profile}"
    if profile in EMBEDDED_REFUSES:
        what = f"can't run with the embedded distribution: it {EMBEDDED_REFUSES[profile]}"
        return [Problem(where, what, _one_of(EMBEDDED_RUNS))]
    if profile not in EMBEDDED_RUNS:
        return [Problem(where, "is not a profile of this Istio", _one_of(EMBEDDED_RUNS))]
    if profile == "empty" and at(operator or {}, "spec.components.pilot.enabled") is not True:
        return [
            Problem(
                where,
                "installs no control plane",
                "enable spec.components.base and .pilot in an --operator-file, or use another profile",
            )
        ]
    return []


def in_folder(folder: Path) -> tuple[str, ...]:
    """Return the profiles in a release's or module's manifests/profiles; empty where that is missing."""
    return tuple(sorted(path.stem for path in folder.glob("*.yaml")))


def unknown(profile: str, known: Iterable[str]) -> Problem:
    """Describe the problem of a profile that the release does not have.

    Args:
        profile: Its name.
        known: The profiles of the release.

    Returns:
        The problem.
    """
    return Problem(f"--profile {profile}", "is not a profile of this Istio", _one_of(known))


def extension_providers(folder: Path | None, profile: str) -> list[dict[str, Any]]:
    """Return the mesh's extension providers that a profile sets; empty where it sets none.

    folder: manifests/helm-profiles of a module. An IstioOperator that has the list replaces the profile's, so
    who adds one provider must repeat these.
    """
    path = folder / f"{profile}.yaml" if folder else None
    if path is None or not path.is_file():
        return []
    values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return list(at(values, "meshConfig.extensionProviders") or [])


def _one_of(names: Iterable[str]) -> str:
    return f"one of: {', '.join(names)}"
