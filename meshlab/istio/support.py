"""Which Istio runs on which Kubernetes: a dated table, the newest that fits, and why a version does not."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources

import yaml
from packaging.version import InvalidVersion, Version
from pydantic import BaseModel, ConfigDict

from meshlab.core.errors import Problem

Minor = tuple[int, int]


class Release(BaseModel):
    """The newest known patch of a minor, and the first and the last Kubernetes minor that it supports."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    istio: str
    kubernetes: tuple[str, str]

    def supports(self, kubernetes: Minor) -> bool:
        """Tell whether it runs on a Kubernetes minor."""
        first, last = (minor(each) for each in self.kubernetes)
        return first is not None and last is not None and first <= kubernetes <= last


class Table(BaseModel):
    """The table beside this module, newest release first."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    date: str
    source: str
    releases: tuple[Release, ...]


@cache
def table() -> Table:
    """Return the support table."""
    content = yaml.safe_load(
        resources.files(__package__).joinpath("support.yaml").read_text(encoding="utf-8")
    )
    return Table.model_validate({**content, "date": str(content["date"])})


def minor(version: str) -> Minor | None:
    """Return major and minor of a version such as v1.36.1 or 1.32.1-gke.1357001; None where there is none."""
    try:
        found = Version(version.removeprefix("v").partition("-")[0])
    except InvalidVersion:
        return None
    return found.major, found.minor


def newest_for(kubernetes: str) -> str | None:
    """Return the newest Istio of the table that supports a Kubernetes version, None where none does."""
    return next(iter(fitting(kubernetes)), None)


def fitting(kubernetes: str) -> list[str]:
    """Return every release of the table that supports a Kubernetes version, newest first."""
    wanted = minor(kubernetes)
    return [each.istio for each in table().releases if wanted is not None and each.supports(wanted)]


def problems(asked: str | None, kubernetes: str, offered: Sequence[str] = ()) -> list[Problem]:
    """Say why an Istio can't run on a Kubernetes version.

    A minor that is newer than all of the table is not refused: nothing is known against it.

    Args:
        asked: Istio's version; None for the newest that fits.
        kubernetes: The server's version.
        offered: Versions that could be chosen instead, the newest first.

    Returns:
        The problems.
    """
    where, fits = "--istio-version", ", ".join(fitting(kubernetes))
    if asked is None:
        what = f"no Istio of the table of {table().date} supports Kubernetes {kubernetes}"
        better = next((each for each in offered if fitting(each)), "VERSION")
        remedy = (
            f"take the newest Kubernetes that fits (--set gke.version={better}), or name an Istio that supports it "
            "(--istio-version VERSION)"
        )
        return [] if fits else [Problem(where, what, remedy)]
    where, remedy = f"{where} {asked}", f"one that fits: {fits or 'none'}"
    istio, wanted = minor(asked), minor(kubernetes)
    known = {minor(each.istio): each for each in table().releases}
    if istio is None or asked.removeprefix("v").count(".") != 2:
        return [Problem(where, "is not a version of Istio", f"write it as 1.21.0; {remedy}")]
    if istio not in known:
        newer = istio > max(each for each in known if each is not None)
        return [] if newer else [Problem(where, f"is older than the table of {table().date}", remedy)]
    if wanted is None or known[istio].supports(wanted):
        return []
    first, last = known[istio].kubernetes
    what = f"supports Kubernetes {first} to {last}, the cluster has {kubernetes}"
    return [Problem(where, what, f"{remedy}; or leave it out for the newest")]
