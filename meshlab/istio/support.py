"""Which Istio runs on which Kubernetes: a dated table, the newest that fits, and why a version does not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import cache
from importlib import resources

import yaml
from packaging.version import InvalidVersion, Version
from pydantic import BaseModel, ConfigDict

from meshlab.core.errors import Problem

Minor = tuple[int, int]
STALE_DAYS = 45  # of the table, from which on its age is told


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


def newest_pair(offered: Sequence[str], istio: str | None = None) -> tuple[str, str] | None:
    """Find the newest Kubernetes and Istio that go together.

    Args:
        offered: Kubernetes versions that can be had, the newest first.
        istio: The Istio that is wanted; None for the newest.

    Returns:
        Kubernetes and Istio; None where none of them fit.
    """
    wanted = minor(istio) if istio is not None else None
    for kubernetes in offered:
        for each in fitting(kubernetes):
            if istio is None or minor(each) == wanted:
                return kubernetes, istio or each
    return None


def dated(today: date | None = None) -> str:
    """Say of which day the table is, and that it is old where it is.

    Args:
        today: This day; the clock's where not given.

    Returns:
        Words that follow "the table".
    """
    age = ((today or datetime.now(UTC).date()) - date.fromisoformat(table().date)).days
    old = f" ({age} days old: a newer meshlab/istio/support.yaml may know more)" if age > STALE_DAYS else ""
    return f"of {table().date}{old}"


def problems(
    asked: str | None, kubernetes: str, offered: Sequence[str] = (), *, today: date | None = None
) -> list[Problem]:
    """Say why an Istio can't run on a Kubernetes version, and which newest pair of the two would.

    A minor that is newer than all of the table is not refused: nothing is known against it.

    Args:
        asked: Istio's version; None for the newest that fits.
        kubernetes: The server's version.
        offered: Versions of Kubernetes that could be chosen instead, the newest first.
        today: The day by which the table's age is judged; the clock's where not given.

    Returns:
        The problems.
    """
    where, fits = "--istio-version", ", ".join(fitting(kubernetes))
    if asked is None:
        if fits:
            return []
        what = f"no Istio of the table {dated(today)} supports Kubernetes {kubernetes}"
        pair = newest_pair(offered) or ("VERSION", "VERSION")
        remedy = (
            f"take the newest pair that fits (--set gke.version={pair[0]} --istio-version {pair[1]}), "
            "or name an Istio that supports it (--istio-version VERSION)"
        )
        return [Problem(where, what, remedy)]
    where, remedy = f"{where} {asked}", f"one that fits: {fits or 'none'}"
    if (kept := newest_pair(offered, asked)) is not None:
        remedy += f"; or keep it, and take a Kubernetes that it supports: --set gke.version={kept[0]}"
    istio, wanted = minor(asked), minor(kubernetes)
    known = {minor(each.istio): each for each in table().releases}
    if istio is None or asked.removeprefix("v").count(".") != 2:
        return [Problem(where, "is not a version of Istio", f"write it as 1.21.0; {remedy}")]
    if istio not in known:
        newer = istio > max(each for each in known if each is not None)
        return [] if newer else [Problem(where, f"is older than the table {dated(today)}", remedy)]
    if wanted is None or known[istio].supports(wanted):
        return []
    first, last = known[istio].kubernetes
    what = f"supports Kubernetes {first} to {last}, the cluster has {kubernetes}"
    return [Problem(where, what, f"{remedy}; or leave it out for the newest")]
