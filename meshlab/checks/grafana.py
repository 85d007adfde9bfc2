"""The dashboards that Istio ships: every query of every panel was executed and its answer classified."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from meshlab.checks.base import infra_error, judged
from meshlab.observability.dashboards.results import Examination, Result
from meshlab.report.material import Classification
from meshlab.run.results import CheckResult, Table

TITLES = {
    "grafana.mesh": "Istio Mesh Dashboard",
    "grafana.service": "Istio Service Dashboard",
    "grafana.workload": "Istio Workload Dashboard",
}
CLASSES: tuple[Classification, ...] = ("data", "expected-empty", "unexpected-empty", "error")
# Of the 236 queries that Istio 1.31 ships; the others need what the embedded distribution does not have
# (ambient, Wasm plugins, errors, labels that no source reporter knows).
LEAST_WITH_DATA = 190
REMEDY = "the reason beside each query names what differs; keep the mixed traffic flowing while it is asked"


def dashboard(check_id: str, examination: Examination) -> CheckResult:
    """Make grafana.mesh, .service or .workload.

    Each query of that dashboard, under the document's own choice, has data or is empty for a proven reason.
    Evidence: `source` (who was asked), `choice`, `variables`, `classes` (class → queries), table `targets`.

    Args:
        check_id: Which of the three.
        examination: What became of the queries.

    Returns:
        The check.
    """
    title = TITLES[check_id]
    results = examination.of(title)
    if not results:
        return infra_error(check_id, f"the Grafana addon ships no {title}", remedy="look at its manifest")
    choice = results[0].choice.name
    values = examination.values.get((title, choice), {})
    counts = classes(results)
    problems = _problems(results)
    if not counts["data"]:
        problems.append(f"no query of {title} has data")
    about = f" for {choice}" if choice else ""
    return judged(
        check_id,
        problems,
        f"{_told(counts, results)}{about}; asked through {examination.source}",
        {
            "source": examination.source,
            "choice": choice,
            "variables": {name: value.text for name, value in values.items()},
            "classes": counts,
            "targets": target_rows(results),
        },
        remedy=REMEDY,
    )


def all_panels(examination: Examination, *, least: int = 1, pinned: bool = True) -> CheckResult:
    """Make grafana.all-panels: no query of any dashboard is unclassified, unexpectedly empty or an error.

    Where the document's choice can't fill a query (productpage takes no TCP), it counts under the choice
    that does. Evidence: `source`, `classes`, table `dashboards` (one row for each and choice), table
    `targets`, `proofs` of the reasons, `stale` entries.

    Args:
        examination: What became of the queries.
        least: How many queries must have data (LEAST_WITH_DATA with the embedded distribution and all of
            the mixed traffic).
        pinned: The list of expected queries was made for exactly this Istio, so that an entry for a query
            that is not shipped is a mistake.

    Returns:
        The check.
    """
    best = examination.best()
    shipped = sum(1 for each in examination.dashboards for _ in each.targets())
    counts = classes(best)
    problems = _problems(examination.results)
    if len(best) != shipped:
        problems.append(f"{shipped - len(best)} of {shipped} queries were not classified")
    if counts["data"] < least:
        problems.append(f"{counts['data']} queries have data, at least {least} were expected")
    stale = [f"{each.dashboard}, panel {each.panel}, {each.ref}, {each.digest}" for each in examination.stale]
    if pinned:
        problems += [f"the list of expected queries names {each}, which is not shipped" for each in stale]
    titles = [each.title for each in examination.dashboards]
    panels = len({each.key[:2] for each in best})
    return judged(
        "grafana.all-panels",
        problems,
        f"{len(titles)} dashboards, {panels} panels, {_told(counts, best)}; "
        f"asked through {examination.source} in {examination.seconds:.1f} s",
        {
            "source": examination.source,
            "classes": counts,
            "dashboards": [_dashboard_row(examination, *each) for each in _choices(examination)],
            "targets": target_rows(best, queries=False),
            "proofs": _proofs(examination.results),
            "stale": stale,
        },
        remedy=REMEDY,
    )


def classes(results: Sequence[Result]) -> dict[Classification, int]:
    """Class → how many, classes without any included."""
    counted = Counter(each.classification for each in results)
    return {name: counted[name] for name in CLASSES}


def target_rows(results: Sequence[Result], *, queries: bool = True) -> Table:
    """One row for each query.

    `digest` names the shipped expression, `query` is as it was executed; without `queries` it is left out
    where there is data.
    """
    return [
        {
            "dashboard": each.dashboard.title,
            "row": each.panel.row,
            "panel": f"{each.panel.id} {each.panel.title}",
            "ref": each.target.ref,
            "digest": each.target.digest,
            "choice": each.choice.name,
            "class": each.classification,
            "series": each.series,
            "reason": each.reason,
            "query": each.promql if queries or each.classification != "data" else "",
        }
        for each in results
    ]


def _told(counts: dict[Classification, int], results: Sequence[Result]) -> str:
    others = ", ".join(f"{counts[name]} {name}" for name in CLASSES[1:] if counts[name])
    return f"{counts['data']} of {len(results)} queries with data" + (f", {others}" if others else "")


def _problems(results: Sequence[Result]) -> list[str]:
    return [
        f"{each.dashboard.title}, {each.panel.title or each.panel.id} {each.target.ref}"
        + (f" ({each.choice.name})" if each.choice.name else "")
        + f": {each.classification}, {each.reason}"
        for each in results
        if each.classification in ("unexpected-empty", "error")
    ]


def _choices(examination: Examination) -> list[tuple[str, str]]:
    return list(dict.fromkeys((each.dashboard.title, each.choice.name) for each in examination.results))


def _dashboard_row(examination: Examination, title: str, choice: str) -> dict[str, Any]:
    results = examination.of(title, choice)
    counted: dict[str, Any] = {str(name): number for name, number in classes(results).items()}
    return {"dashboard": title, "choice": choice, "queries": len(results), **counted}


def _proofs(results: Sequence[Result]) -> Table:
    """Each proof once, with the number of queries that rest on it."""
    used = Counter(each.proof for each in results if each.proof is not None)
    return [
        {
            "precondition": proof.precondition,
            "queries": number,
            "holds": proof.holds,
            "absent": proof.absent,
            "found": proof.found,
            "control": proof.control,
            "controls": proof.controls,
        }
        for proof, number in used.items()
    ]
