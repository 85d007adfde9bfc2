"""Which queries of the dashboards may find nothing, why, and how a run proves that the reason holds.

One list for each distribution, in YAML beside this file. A query is named by dashboard, panel, refId and a
digest of its expression, so that a new or changed query is never taken for a known one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any, Literal

import yaml

from meshlab.core.errors import IstioError
from meshlab.observability.dashboards.model import Dashboard, Panel, Target

Kind = Literal["embedded", "release"]


@dataclass(frozen=True)
class Choice:
    """What a reader picks at a dashboard's head: variable → value. name: for the evidence, "" for none."""

    name: str
    variables: Mapping[str, str]


@dataclass(frozen=True)
class Precondition:
    """Why queries are empty.

    absent: a query that must find nothing while it holds. control: one that must find something at the same time, so
    that nothing found means something. Both may use the dashboard's variables.
    """

    name: str
    why: str
    absent: str
    control: str


@dataclass(frozen=True)
class Expectation:
    """One query that finds nothing while its precondition holds.

    choice: the one that it is about, "" for every one. filled_by: the choice under which the same query must
    have data, "" for none. optional: data is no contradiction (a metric that some platforms have).
    """

    dashboard: str
    panel: int
    ref: str
    digest: str
    precondition: Precondition
    choice: str = ""
    filled_by: str = ""
    optional: bool = False

    @property
    def key(self) -> tuple[str, int, str, str]:
        """Names the query."""
        return self.dashboard, self.panel, self.ref, self.digest


@dataclass(frozen=True)
class Expectations:
    """The list of one distribution, and the choices."""

    entries: tuple[Expectation, ...]
    choices: Mapping[str, tuple[Choice, ...]]

    def without(self, precondition: str) -> Expectations:
        """The list for a run that sees to it itself that this precondition does not hold."""
        kept = tuple(entry for entry in self.entries if entry.precondition.name != precondition)
        return replace(self, entries=kept)

    def choices_of(self, dashboard: Dashboard) -> tuple[Choice, ...]:
        """The choices for a dashboard; one that picks nothing where it has no list."""
        return self.choices.get(dashboard.title) or (Choice("", {}),)

    def find(self, dashboard: Dashboard, panel: Panel, target: Target, choice: Choice) -> Expectation | None:
        """Find the entry for a query under a choice.

        Args:
            dashboard: The query's dashboard.
            panel: Its panel.
            target: The query.
            choice: The choice of variables.

        Returns:
            The entry; None when the query must have data.
        """
        key = (dashboard.title, panel.id, target.ref, target.digest)
        found = (each for each in self.entries if each.key == key and each.choice in ("", choice.name))
        return next(found, None)

    def unknown(self, dashboards: Sequence[Dashboard]) -> list[Expectation]:
        """Entries whose query is in none of the dashboards: it was changed or taken out."""
        there = {
            (dashboard.title, panel.id, target.ref, target.digest)
            for dashboard in dashboards
            for panel, target in dashboard.targets()
        }
        return [each for each in self.entries if each.key not in there]


def read_expectations(
    kind: Kind, namespace: str, *, domain: str, scope: str = "namespace", ours: bool = True
) -> Expectations:
    """Read the list of a distribution's queries that may be empty, and the choices.

    Where the run may change a managed mesh, its own traffic passes the ingress gateway, too, and nothing is left
    open: whatever the list names must be empty.

    Args:
        kind: The distribution's.
        namespace: Of the application.
        domain: The cluster's, with which full names of services end.
        scope: The run's write scope.
        ours: The mesh is the lab's own: nobody else's mistakes are counted in it.

    Returns:
        The list.

    Raises:
        IstioError: The file is bad.
    """
    try:
        document = _yaml(f"expected-{kind}.yaml")
        reasons = {name: Precondition(name, **each) for name, each in document["preconditions"].items()}
        entries = tuple(
            Expectation(
                group["dashboard"],
                panel,
                ref,
                digest,
                reasons[group["precondition"]],
                **{name: group[name] for name in ("choice", "filled_by") if name in group},
                optional=group.get("optional", False) or (group.get("others", False) and not ours),
            )
            for group in document["empty"]
            for panel, ref, digest in _queries(group["queries"])
        )
        choices = {
            title: tuple(
                Choice(each["name"], _filled(each["variables"], namespace=namespace, domain=domain))
                for each in listed
            )
            for title, listed in _yaml("choices.yaml").items()
        }
    except (KeyError, TypeError, ValueError, yaml.YAMLError) as problem:
        raise IstioError(
            f"the lists of expected queries can't be read: {problem!r}",
            remedy=f"correct expected-{kind}.yaml and choices.yaml in meshlab/observability/dashboards",
        ) from problem
    found = Expectations(entries, choices)
    return found.without("no-ingress-traffic") if kind == "embedded" and scope == "mesh" else found


def _yaml(name: str) -> Any:
    return yaml.safe_load((files("meshlab.observability.dashboards") / name).read_text(encoding="utf-8"))


def _queries(panels: Mapping[str, Mapping[str, str]]) -> list[tuple[int, str, str]]:
    """`"<panel id> <title>": {refId: digest}` → (panel id, refId, digest). The title is for the reader."""
    return [
        (int(str(panel).split()[0]), str(ref), str(digest))
        for panel, targets in panels.items()
        for ref, digest in targets.items()
    ]


def _filled(variables: Mapping[str, str], **words: str) -> dict[str, str]:
    found = dict(variables)
    for word, text in words.items():
        found = {name: value.replace(f"${word}", text) for name, value in found.items()}
    return found
