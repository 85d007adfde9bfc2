"""A run as the history keeps it: flat values, made from the content of `result.json` and from nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Result = Mapping[str, Any]
Labels = Mapping[str, str]
EDGES, PANELS = "graph.edges", "grafana.all-panels"  # checks whose evidence holds the graph and the panels


@dataclass(frozen=True)
class StepRow:
    """One step. seconds: wall time."""

    name: str
    state: str
    seconds: float
    attempts: int
    reason: str = ""


@dataclass(frozen=True)
class CheckRow:
    """One check's answer, without its evidence, which stays in the run's directory."""

    check_id: str
    verdict: str
    seconds: float
    summary: str
    reason: str = ""


@dataclass(frozen=True)
class MeasureRow:
    """One number. labels: canonical text, see `label_text`."""

    name: str
    labels: str
    unit: str
    value: float

    @property
    def key(self) -> str:
        """What a reader calls it by: `request-p99{loop=fast}`."""
        return f"{self.name}{{{self.labels}}}" if self.labels else self.name


@dataclass(frozen=True, order=True)
class EdgeRow:
    """Traffic from a workload to a workload."""

    source: str
    target: str
    protocol: str


@dataclass(frozen=True, order=True)
class FindingRow:
    """One thing that an audit or `istioctl analyze` found. check_id: who found it. code: the rule's name."""

    check_id: str
    code: str
    resource: str
    severity: str
    message: str


@dataclass(frozen=True)
class RunRecord:
    """All of a run that is kept. started, finished: RFC 3339 in UTC. versions: dotted name → version.

    published: the report's address where it was published; "" where it is in the run's directory only.
    """

    run_id: str
    flow: str
    verdict: str
    started: str
    finished: str
    provider: str = ""
    cluster: str = ""
    nodes: int = 0
    distribution: str = ""
    directory: str = ""
    published: str = ""
    steps: tuple[StepRow, ...] = ()
    checks: tuple[CheckRow, ...] = ()
    measures: tuple[MeasureRow, ...] = ()
    edges: tuple[EdgeRow, ...] = ()
    findings: tuple[FindingRow, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Wall time of the whole run."""
        return (moment(self.finished) - moment(self.started)).total_seconds()


@dataclass(frozen=True)
class Alert:
    """A message to people. incident, ended: what it tells, its begin or its end. series: the flow and cluster.

    context: which run told it, and where it is. at, sent: when it was written and when it got through (RFC 3339;
    "" not yet).
    """

    incident: str
    ended: bool
    series: str
    title: str
    text: str
    context: str
    at: str
    sent: str = ""


def moment(text: str) -> datetime:
    """An RFC 3339 time as a datetime."""
    return datetime.fromisoformat(text)


def label_text(labels: Labels) -> str:
    """Labels in the one way in which they are compared: `a=1,b=2`, sorted by name."""
    return ",".join(f"{name}={labels[name]}" for name in sorted(labels))


def from_result(result: Result, directory: str = "") -> RunRecord:
    """The record of a run, from the content of its `result.json`.

    Beside the run's own measures there are some that follow from it: `run-seconds`, `step-seconds{step}`,
    `error-rate{loop}` and `success-rate{loop}` (percent), `dashboard-queries{class}`, and `mutation-score` (percent
    of the planted faults that all the checks caught that had to).
    """
    cluster = result["cluster"]
    checks = {check["id"]: check for check in result["checks"]}
    return RunRecord(
        run_id=result["run_id"],
        flow=result["flow"],
        verdict=result["verdict"],
        started=result["started"],
        finished=result["finished"],
        provider=cluster.get("provider") or "",
        cluster=cluster.get("name") or "",
        nodes=int(cluster.get("nodes") or 0),
        distribution=result.get("distribution") or "",
        directory=directory,
        published=result.get("published") or "",
        steps=tuple(
            StepRow(s["name"], s["state"], float(s["seconds"]), int(s["attempts"]), s.get("reason") or "")
            for s in result["steps"]
        ),
        checks=tuple(
            CheckRow(c["id"], c["verdict"], float(c["seconds"]), c["summary"], c.get("reason") or "")
            for c in result["checks"]
        ),
        measures=tuple(_measures(result, checks)),
        edges=tuple(_edges(checks.get(EDGES))),
        findings=tuple(_findings(result["checks"])),
        versions=flat_versions(result["versions"]),
    )


def flat_versions(versions: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Versions by dotted names. The data plane's are listed without their numbers of proxies."""
    found: dict[str, str] = {}
    for name, value in versions.items():
        if name == "data_plane" and isinstance(value, Mapping):
            found[prefix + name] = ", ".join(sorted(value))
        elif isinstance(value, Mapping):
            found.update(flat_versions(value, f"{prefix}{name}."))
        elif value is not None:
            found[prefix + name] = str(value)
    return found


def _measures(result: Result, checks: Mapping[str, Mapping[str, Any]]) -> list[MeasureRow]:
    """The run's measures and those that follow; of several with the same name and labels the last counts."""
    found: dict[tuple[str, str], MeasureRow] = {}

    def add(name: str, value: float, unit: str, labels: Labels) -> None:
        row = MeasureRow(name, label_text(labels), unit, float(value))
        found[row.name, row.labels] = row

    for measure in result["measures"]:
        add(measure["name"], measure["value"], measure["unit"], measure.get("labels") or {})
    took = moment(result["finished"]) - moment(result["started"])
    add("run-seconds", took.total_seconds(), "s", {})
    for step in result["steps"]:
        if step["state"] == "done":
            add("step-seconds", step["seconds"], "s", {"step": step["name"]})
    for (name, labels), sent in [*found.items()]:
        answered = found.get(("requests-ok", labels))
        if name == "requests-sent" and answered is not None and sent.value > 0:
            share = 100.0 * answered.value / sent.value
            found["success-rate", labels] = MeasureRow("success-rate", labels, "percent", share)
            found["error-rate", labels] = MeasureRow("error-rate", labels, "percent", 100.0 - share)
    classes = checks.get(PANELS, {}).get("evidence", {}).get("classes", {})
    for name, count in classes.items():
        add("dashboard-queries", count, "queries", {"class": name})
    if catches := result.get("catches"):
        caught = sum(set(each["must"]) <= set(each["red"]) for each in catches)
        add("mutation-score", 100.0 * caught / len(catches), "percent", {})
    return list(found.values())


def _edges(check: Mapping[str, Any] | None) -> list[EdgeRow]:
    """The edges that were really counted, of the application and of the run's other traffic."""
    rows = check["evidence"].get("edges", []) if check else []
    return sorted(
        {
            EdgeRow(row["from"], row["to"], row.get("protocol") or "")
            for row in rows
            if row.get("counted_by_source") or row.get("counted_by_destination")
        }
    )


def _findings(checks: Iterable[Mapping[str, Any]]) -> list[FindingRow]:
    """Every row of an evidence's table `findings`; its columns are those of `istioctl analyze` and the audit."""
    found = set()
    for check in checks:
        rows = check["evidence"].get("findings", [])
        for row in rows if isinstance(rows, list) else []:
            found.add(
                FindingRow(
                    check["id"],
                    str(row.get("code") or row.get("rule") or check["id"]),
                    str(row.get("resource") or ""),
                    str(row.get("severity") or ""),
                    str(row.get("message") or row.get("title") or ""),
                )
            )
    return sorted(found)
