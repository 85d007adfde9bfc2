"""What Prometheus scrapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from meshlab.checks.base import judged
from meshlab.checks.istio import has_sidecar
from meshlab.core.errors import WaitTimeout
from meshlab.core.text import pluralize
from meshlab.core.waiting import Clock, wait
from meshlab.istio.control_plane import is_istiod
from meshlab.kube.pods import PodSummary
from meshlab.observability.addons.query import PrometheusClient, Target
from meshlab.run.results import CheckResult

NODE_JOBS = ("kubernetes-nodes", "kubernetes-nodes-cadvisor")
SINGLE_JOBS = ("kubernetes-api-servers", "prometheus")


def targets(
    client: PrometheusClient,
    pods: Sequence[PodSummary],
    nodes: Sequence[str] | None,
    *,
    timeout: float = 60,
    clock: Clock | None = None,
) -> CheckResult:
    """Make prometheus.targets: every target that must be there is up, over two scrapes.

    Proxies and istiod, nodes and their cAdvisor, the API server, Prometheus itself. Others that are down
    are named and not judged. Evidence: table `targets`, `by_job` (job → up), `others_down`.

    Args:
        client: Asks Prometheus.
        pods: Of every namespace with a part of the mesh; those with a sidecar, and istiod, must be targets.
        nodes: Names; None where Prometheus is not Istio's addon: sidecars alone must be targets then, as nobody says
            what else it is for.
        timeout: Seconds, at most.
        clock: Of the wait; the real one where not given.

    Returns:
        The check.
    """
    expected = _expected_targets(pods, nodes)
    first_scrapes: dict[str, float] = {}
    looks: list[list[Target]] = []

    def look() -> list[str]:
        looks.clear()  # so that a Prometheus that stops answering is not judged by what it said before
        looks.append(client.targets())
        for target in looks[-1]:
            if target.last_scrape:
                first_scrapes.setdefault(target.url, target.last_scrape)
        return _missing_targets(expected, looks[-1], first_scrapes)

    try:
        wait(
            "every Prometheus target to be scraped twice and up",
            look,
            ready=lambda missing: not missing,
            describe=lambda missing: f"{len(missing)} not yet: {'; '.join(missing[:3])}",
            timeout=timeout,
            clock=clock,
            remedy="look at Prometheus's pod and its log",
        )
        problems: list[str] = []
    except WaitTimeout:
        if not looks:
            raise
        problems = _missing_targets(expected, looks[-1], first_scrapes)
    found = looks[-1]
    up: dict[str, int] = {}
    for target in found:
        up[target.job] = up.get(target.job, 0) + (target.health == "up")
    wanted = {name for names in expected.values() for name in names}
    others = [f"{t.job} {t.instance}" for t in found if t.health != "up" and not wanted & {t.pod, t.instance}]
    note = f"; {pluralize(len(others), 'others')} down" if others else ""
    return judged(
        "prometheus.targets",
        problems,
        f"{sum(up.values())} of {len(found)} targets up, all {_count(expected)} expected ones twice{note}",
        {"targets": [_target_row(t) for t in found], "by_job": up, "others_down": others},
        remedy="the target's last error names the cause; a pod needs the prometheus.io annotations",
    )


def _expected_targets(pods: Sequence[PodSummary], nodes: Sequence[str] | None) -> dict[str, list[str]]:
    """Job (or "pod") → names that must be among its targets; an empty name stands for any."""
    if nodes is None:
        return {"pod": sorted(p.name for p in pods if not p.deleting and has_sidecar(p))}
    scraped = [p.name for p in pods if not p.deleting and (has_sidecar(p) or is_istiod(p))]
    return {
        "pod": sorted(scraped),
        **{job: sorted(nodes) for job in NODE_JOBS},
        **{job: [""] for job in SINGLE_JOBS},
    }


def _missing_targets(
    expected: Mapping[str, Sequence[str]], found: Sequence[Target], first_scrapes: Mapping[str, float]
) -> list[str]:
    problems = []
    if not expected["pod"]:
        problems.append("no pod of the mesh is expected, so nothing was checked")
    for job, names in expected.items():
        for name in names:
            mine = [t for t in found if _is(t, job, name)]
            what = f"{job} {name}".strip() if job == "pod" or name else f"job {job}"
            if not mine:
                problems.append(f"{what} is no target")
            elif not any(t.health == "up" for t in mine):
                problems.append(f"{what} is {mine[0].health}: {mine[0].last_error or 'no scrape yet'}")
            elif not any(
                t.health == "up" and t.last_scrape > first_scrapes.get(t.url, t.last_scrape) for t in mine
            ):
                problems.append(f"{what} was not scraped twice")
    return problems


def _is(target: Target, job: str, name: str) -> bool:
    if job == "pod":
        return target.pod == name
    # Releases of the addon differ in hyphens: kubernetes-apiservers, kubernetes-api-servers.
    return target.job.replace("-", "") == job.replace("-", "") and name in ("", target.instance)


def _target_row(target: Target) -> dict[str, object]:
    return {
        "job": target.job,
        "instance": target.instance,
        "pod": target.pod,
        "namespace": target.namespace,
        "health": target.health,
        "last_error": target.last_error,
    }


def _count(expected: Mapping[str, Sequence[str]]) -> int:
    return sum(len(names) for names in expected.values())
