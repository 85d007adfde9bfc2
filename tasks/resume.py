"""Which kept results of a run that was cut off are used, and how each kind of step is verified on the live cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, get_type_hints

from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

from meshlab import resume
from meshlab.clusters.base import ClusterRef
from meshlab.clusters.local.cluster import LocalCluster
from meshlab.errors import MeshlabError
from meshlab.istio.distribution import Distribution
from meshlab.istio.install import InstallResult
from meshlab.istio.operator_file import SYSTEM_NAMESPACE
from meshlab.kube.apply import ObjectRef
from meshlab.kube.client import Kube
from meshlab.results import CheckResult, Verdict
from meshlab.runs import RunRef, record
from meshlab.settings import LabConfig, Machine

log = logging.getLogger(__name__)
# Load is of use only while what needs it goes on: it is taken from before only where all of that was done, and well.
SERVES: Mapping[str, tuple[str, ...]] = {
    "fast-load": ("check-prometheus", "check-dashboards"),
    "gentle-load": ("check-rate", "check-graph", "check-traces"),
    "start-mixed-traffic": ("reconcile",),
}
# Counts from before the load are good for nothing once a load was cut off: how much it sent is not known.
BEFORE: Mapping[str, tuple[str, ...]] = {"count-requests": ("fast-load", "gentle-load")}


class Missing:
    """Stands for "there is no kept result": None is one."""


def trusted(
    run: RunRef,
    name: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kube_of: Callable[[ClusterRef], Kube],
    holds: resume.Verify,
) -> Any:
    """The kept result of a step of a run that goes on, `Missing` where the step is to be run. Says why, either way."""
    resumption = resume.active(run)
    if resumption is None:
        return Missing
    found, config = resume.kept(run, name), args[1]
    cluster = _cluster(args, found, function)
    why, value = "its cluster is not known", None
    if cluster is not None:
        try:
            kube = kube_of(cluster)
            why = _in_order(resumption, name) or resume.why_not(
                found, resumption, name, cluster=_identity(kube), inputs=_inputs(args),
                pods=resume.pods_of(kube, config.namespace),
            )  # fmt: skip
            if not why and found is not None:
                value = resume.read_result(found, _kind(function))
                why = holds(kube, config, value)
        except MeshlabError as problem:
            why = problem.message
    resumption.told.append((name, why))
    redone = name in resumption.finished and bool(why)
    record(run, {"event": "resume", "name": name, "trusted": not why, "redone": redone, "why": why})
    return Missing if why else value


def keep(
    run: RunRef,
    name: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    value: Any,
    kube_of: Callable[[ClusterRef], Kube],
    *,
    pods: bool,
) -> None:
    """Keep a finished step's result. That it can't be kept is a word in the log: the step itself went well."""
    cluster = value if isinstance(value, ClusterRef) else _cluster(args, None, function)
    if cluster is None:
        return
    try:
        kube = kube_of(cluster)
        seen = resume.pods_of(kube, args[1].namespace) if pods else {}
        resume.keep(
            run, name, value, _kind(function), cluster=_identity(kube), inputs=_inputs(args), pods=seen
        )
    except (MeshlabError, OSError, PydanticUserError, PydanticSchemaGenerationError) as problem:
        log.warning("the result of %s is not kept, --resume will run it again: %s", name, problem)


# ── the steps' own verifications ──


def any_value(kube: Kube, config: LabConfig, value: Any) -> str:
    """Nothing of the cluster stands behind the value."""
    return ""


def cluster_answers(kube: Kube, config: LabConfig, value: ClusterRef) -> str:
    """Every node is Ready. A cluster of this machine is claimed for this run, as its `up` does."""
    nodes = kube.objects("v1", "Node")
    ready = [node for node in nodes if _is(node, "Ready")]
    if not nodes or len(ready) < max(len(nodes), value.nodes):
        return f"{len(ready)} of {max(len(nodes), value.nodes)} nodes are Ready"
    return ""


def claim(run: RunRef, config: LabConfig) -> None:
    """Hold the machine's cluster for a run that goes on. Raises ClusterBusyError where another run has it."""
    if config.cluster == "local":
        LocalCluster(config.local, Machine.here(), run_id=run.run_id).claim()


def istioctl_there(kube: Kube, config: LabConfig, value: Distribution) -> str:
    """istioctl and the samples are where they were."""
    missing = [str(path) for path in (value.istioctl, value.samples) if not path.exists()]
    return f"{', '.join(missing)} is gone" if missing else ""


def istio_ready(kube: Kube, config: LabConfig, value: InstallResult) -> str:
    """Every Deployment of the installation is there and available."""
    refs = [ObjectRef("apps/v1", "Deployment", SYSTEM_NAMESPACE, name) for name in value.deployments]
    return objects_ready(kube, config, tuple(refs))


def namespace_labelled(kube: Kube, config: LabConfig, value: Any) -> str:
    """The app's namespace asks for sidecars."""
    namespace = kube.get("v1", "Namespace", config.namespace)
    labels = (namespace or {}).get("metadata", {}).get("labels") or {}
    asks = labels.get("istio-injection") == "enabled" or "istio.io/rev" in labels
    return "" if asks else f"the namespace {config.namespace} has no injection label"


def tracing_announced(kube: Kube, config: LabConfig, value: tuple[tuple[ObjectRef, ...], Any]) -> str:
    """Jaeger's Services and the Telemetry objects that were written are there."""
    refs, restore = value
    telemetry = [
        ObjectRef("telemetry.istio.io/v1", "Telemetry", each.namespace, each.name) for each in restore.objects
    ]
    return objects_ready(kube, config, (*refs, *telemetry))


def objects_ready(kube: Kube, config: LabConfig, value: tuple[ObjectRef, ...]) -> str:
    """Every object that was applied is there, every Deployment among them available."""
    for ref in value:
        there = kube.get(ref.api_version, ref.kind, ref.name, ref.namespace)
        if there is None:
            return f"{ref} is gone"
        if ref.kind == "Deployment" and not _is(there, "Available"):
            return f"{ref} is not available"
    return ""


def checks_passed(kube: Kube, config: LabConfig, value: list[CheckResult] | CheckResult) -> str:
    """Every check of the step passed, or was skipped: what failed is asked again."""
    checks = value if isinstance(value, list) else [value]
    wrong = [check.id for check in checks if check.verdict not in (Verdict.PASS, Verdict.SKIPPED)]
    return f"{', '.join(wrong)} did not pass" if wrong else ""


def _in_order(resumption: resume.Resumption, name: str) -> str:
    """Why a result is of no use for what is still to be done, "" where it is."""
    for served in SERVES.get(name, ()):
        if not _done_well(resumption, served):
            return f"{served} still needs it"
    for load in BEFORE.get(name, ()):
        if load in resumption.begun and (load not in resumption.finished or _in_order(resumption, load)):
            return f"{load} was cut off, and what it sent is not known"
    return ""


def _done_well(resumption: resume.Resumption, name: str) -> bool:
    found = resume.kept(resumption.run, name)
    if name not in resumption.finished or name in resumption.doubted or found is None:
        return False
    checks = found.result if isinstance(found.result, list) else [found.result]
    return all(check.get("verdict") in ("pass", "skipped") for check in checks)


def _cluster(
    args: tuple[Any, ...], found: resume.Kept | None, function: Callable[..., Any]
) -> ClusterRef | None:
    """The cluster that a step was given, or the one that it has made."""
    given = next((each for each in args if isinstance(each, ClusterRef)), None)
    if given is None and found is not None and _kind(function) is ClusterRef:
        given = resume.read_result(found, ClusterRef)
    return given


def _inputs(args: tuple[Any, ...]) -> str:
    """What a step was given beside run, settings and cluster: which pace, which distribution."""
    others = [each for each in args[2:] if isinstance(each, (str, Distribution))]
    return resume.inputs_hash(args[1], {str(number): each for number, each in enumerate(others)})


def _kind(function: Callable[..., Any]) -> Any:
    return get_type_hints(function)["return"]


@lru_cache(maxsize=8)
def _identity(kube: Kube) -> str:
    return resume.identity(kube)


def _is(thing: Mapping[str, Any], condition: str) -> bool:
    found = thing.get("status", {}).get("conditions") or []
    return any(each["type"] == condition and each["status"] == "True" for each in found)
