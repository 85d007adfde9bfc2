"""The application: its workloads, and the page that they make together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from meshlab.app.bookinfo import PAGE_TITLE
from meshlab.app.once import RoundResult
from meshlab.checks.base import infra_error, judged
from meshlab.kube.pods import PodSummary, condition
from meshlab.report.tables import pod_rows
from meshlab.run.results import CheckResult, Table


def bookinfo(
    workloads: Sequence[str], deployments: Sequence[Mapping[str, Any]], pods: Sequence[PodSummary]
) -> CheckResult:
    """Judge the app: every Deployment has all the replicas that it wants, at least one, and all are Ready.

    Evidence: tables `workloads` (workload, ready, wanted, images) and `pods`.

    Args:
        workloads: Names of the deployments that must be there.
        deployments: Of the app's namespace, as the API returns them.
        pods: Of that namespace, for the evidence and to name what is not Ready.

    Returns:
        The check.
    """
    found = {each["metadata"]["name"]: each for each in deployments}
    rows: Table = []
    problems: list[str] = []
    ready_count = 0
    for name in workloads:
        row = _workload_row(name, found.get(name))
        rows.append(row)
        if row["ready"] >= max(row["wanted"], 1) and row["current"]:
            ready_count += 1
            continue
        if name not in found:
            problems.append(f"there is no deployment {name}")
        elif row["wanted"] == 0:
            problems.append(f"{name} is scaled to 0")
        elif not row["current"]:
            problems.append(f"{name}: its latest change is not rolled out yet")
        else:
            problems.append(f"{name}: {row['ready']} of {row['wanted']} Ready{_why(name, found[name], pods)}")
    if not workloads:
        problems.append("no workload is expected, so nothing was checked")
    return judged(
        "app.bookinfo",
        problems,
        f"{ready_count} of {len(workloads)} workloads Ready ({len(pods)} pods)",
        {"workloads": rows, "pods": pod_rows(pods)},
        remedy="`kubectl describe pod NAME` and the log of its containers name the cause",
    )


def productpage(round_: RoundResult, *, title: str = PAGE_TITLE, p50_ms: float = math.inf) -> CheckResult:
    """Judge requests of the sleep pod: each was answered 200 with a page that holds the title, half of them in time.

    Evidence: numbers of the round and the beginning of what was no such page.

    Args:
        round_: What `n_requests` brought back, with the title as the text it expected.
        title: That a page must hold.
        p50_ms: Milliseconds that the median may take.

    Returns:
        The check.
    """
    times = round_.times
    evidence: dict[str, Any] = {
        "sent": round_.sent,
        "passed": round_.passed,
        "with_title": round_.matched,
        "by_status": dict(round_.by_status),
        "curl_exit_codes": {str(code): count for code, count in round_.exit_codes.items()},
        "p50_ms": times.p50 if times else None,
        "p50_allowed_ms": p50_ms,
        "max_ms": times.maximum if times else None,
        "odd": round_.odd,
    }
    if not round_.sent:
        return infra_error(
            "app.productpage", "no request was sent", evidence, remedy="ask for at least one request"
        )
    problems = []
    if round_.passed != round_.sent:
        codes = ", ".join(f"{code}: {count}" for code, count in sorted(round_.by_status.items()))
        problems.append(
            f"{round_.passed} of {round_.sent} requests got a 200 with the title {title!r} "
            f"({codes}; {round_.matched} with the title){_began(round_.odd)}"
        )
    if times and times.p50 > p50_ms:
        problems.append(f"the median request took {times.p50:.0f} ms, {p50_ms:.0f} ms are allowed")
    took = f", p50 {times.p50:.0f} ms" if times else ""
    return judged(
        "app.productpage",
        problems,
        f"{round_.passed} of {round_.sent} requests got a 200 with the title {title!r}{took}",
        evidence,
        remedy="ask by hand: kubectl exec deploy/sleep -- curl -si productpage:9080/productpage",
    )


def _workload_row(name: str, deployment: Mapping[str, Any] | None) -> dict[str, Any]:
    spec, status = (deployment or {}).get("spec", {}), (deployment or {}).get("status", {})
    containers = spec.get("template", {}).get("spec", {}).get("containers", [])
    generation = (deployment or {}).get("metadata", {}).get("generation", 0)
    return {
        "workload": name,
        "ready": status.get("readyReplicas", 0),
        "wanted": spec.get("replicas", 1),
        "current": status.get("observedGeneration", 0) >= generation,
        "images": ", ".join(each.get("image", "") for each in containers),
    }


def _why(name: str, deployment: Mapping[str, Any], pods: Sequence[PodSummary]) -> str:
    """What its pods say, or its own condition where it has none."""
    labels = deployment.get("spec", {}).get("selector", {}).get("matchLabels", {})
    mine = [p for p in pods if labels and labels.items() <= p.labels.items() and not p.is_ready]
    if mine:
        return "; " + ", ".join(f"pod {p.name} is {p.status} ({p.ready})" for p in mine)
    available = condition(deployment, "Available")
    failure = condition(deployment, "ReplicaFailure")
    message = failure.get("message") or available.get("message")
    return f"; {message}" if message else ""


def _began(odd: str) -> str:
    lines = odd.strip().splitlines()
    return f"; one began {lines[0][:80]!r}" if lines else ""
