"""Which kept results of a run that was cut off are used, and how each kind of step is verified on the live cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, get_type_hints

from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig
from meshlab.core.errors import MeshlabError
from meshlab.istio.distribution import Distribution
from meshlab.istio.install import InstallResult
from meshlab.istio.tracing import api_version
from meshlab.kube.apply import ObjectRef
from meshlab.kube.client import Kube
from meshlab.lifecycle import resume
from meshlab.lifecycle.context import kube_of
from meshlab.run.journal import RunRef, record
from meshlab.run.results import CheckResult, Verdict

log = logging.getLogger(__name__)
# What only others need, while it goes on: it is taken from before only where all of these were done, and well.
SERVES: Mapping[str, tuple[str, ...]] = {
    "mixed-traffic": ("check-dashboards", "check-graph"),
    "fast-load": ("check-prometheus", "check-dashboards"),
    "gentle-load": ("check-rate", "check-graph", "check-traces"),
    "begin-strict": ("check-mtls", "check-authz", "check-ingress", "check-egress", "check-audit"),
}
# Counts from before the load are good for nothing once a load was cut off, for how much it sent is not known; nor
# where it is sent anew for another reason.
BEFORE: Mapping[str, tuple[str, ...]] = {"count-requests": ("fast-load", "gentle-load")}
# What ends something is run again where that was.
ENDS: Mapping[str, str] = {"end-strict": "begin-strict"}


@dataclass(frozen=True)
class Keeping:
    """How a step's result is kept. The fields are those of `lab_task`; function: the step's own."""

    function: Callable[..., Any]
    verify: resume.Verify
    depends_on_pods: bool = False
    in_process: bool = False
    teardown: bool = False

    @property
    def kind(self) -> Any:
        """The type of what is kept."""
        return None if self.in_process else get_type_hints(self.function)["return"]


def kept_or_made(
    run: RunRef, name: str, args: tuple[Any, ...], make: Callable[[], Any], keeping: Keeping
) -> Any:
    """Use a step's kept result where the run goes on and the result still holds; else make it, and keep it.

    Why it is used or not is recorded.

    Args:
        run: The run.
        name: The step's name.
        args: What the step was given.
        make: Does the step's work.
        keeping: How its result is kept.

    Returns:
        The step's result.
    """
    resumption = resume.active(run)
    if resumption is not None:
        why, value = _judge(resumption, name, args, keeping)
        resumption.told.append((name, why))
        redone = name in resumption.finished and bool(why)
        record(run, {"event": "resume", "name": name, "trusted": not why, "redone": redone, "why": why})
        if not why:
            return value
    value = make()
    keep(run, name, args, value, keeping)
    return value


def _judge(
    resumption: resume.Resumption, name: str, args: tuple[Any, ...], keeping: Keeping
) -> tuple[str, Any]:
    """Why a step's kept result is not to be used, "" where it is, and the result."""
    found = resume.kept(resumption.run, name)
    try:
        why = _holds(resumption, name, found, args, keeping)
        return why, None if why or found is None else resume.read_result(found, keeping.kind)
    except MeshlabError as problem:
        return problem.message, None


def keep(run: RunRef, name: str, args: tuple[Any, ...], value: Any, keeping: Keeping) -> None:
    """Keep a finished step's result.

    A result that can't be kept is a line in the log: the step itself went well.

    Args:
        run: The run.
        name: The step's name.
        args: What the step was given.
        value: Its result.
        keeping: How it is kept.
    """
    cluster = value if isinstance(value, ClusterRef) else _cluster(args, None, keeping)
    identity, inputs, seen = "", "", dict[str, int]()
    try:
        if not keeping.teardown:
            if cluster is None:
                return
            kube = kube_of(cluster)
            identity, inputs = _identity(kube), _inputs(args)
            seen = resume.pods_of(kube, args[1].namespace) if keeping.depends_on_pods else {}
        kept = None if keeping.in_process else value
        resume.keep(run, name, kept, keeping.kind, cluster=identity, inputs=inputs, pods=seen)
    except (MeshlabError, OSError, PydanticUserError, PydanticSchemaGenerationError) as problem:
        log.warning("the result of %s is not kept, --resume will run it again: %s", name, problem)


def done_before(run: RunRef, config: LabConfig, kube: Kube, name: str) -> bool:
    """Whether the checks of a step were made before the run was cut off, are well, and hold still. Raises KubeError."""
    resumption = resume.active(run)
    return resumption is not None and _done_well(resumption, name, resume.pods_of(kube, config.namespace))


def _left(resumption: resume.Resumption, name: str, found: resume.Kept | None) -> str:
    """Why what a step of the teardown has kept is not to be used."""
    if not resumption.leaving:
        return "the run was not leaving"
    return "it had not finished" if name not in resumption.finished or found is None else ""


def _holds(
    resumption: resume.Resumption,
    name: str,
    found: resume.Kept | None,
    args: tuple[Any, ...],
    keeping: Keeping,
) -> str:
    """Why what a step has kept does not hold on the live cluster. Raises MeshlabError where that can't be told."""
    if keeping.teardown:
        return _left(resumption, name, found)
    cluster, config = _cluster(args, found, keeping), args[1]
    if cluster is None:
        return "its cluster is not known"
    kube = kube_of(cluster)
    pods = resume.pods_of(kube, config.namespace)
    why = _in_order(resumption, name, pods) or resume.why_not(
        found, resumption, name, cluster=_identity(kube), inputs=_inputs(args), pods=pods
    )
    if why or found is None:
        return why
    return keeping.verify(kube, config, resume.read_result(found, keeping.kind))


# ── the steps' own verifications ──


def any_value(kube: Kube, config: LabConfig, value: Any) -> str:
    """Nothing of the cluster stands behind the value."""
    return ""


def prometheus_told(kube: Kube, config: LabConfig, value: Any) -> str:
    """What Prometheus had counted is known: it could be asked."""
    return "" if value is not None else "Prometheus could not be asked then"


def cluster_answers(kube: Kube, config: LabConfig, value: ClusterRef) -> str:
    """Every node is Ready."""
    nodes = kube.objects("v1", "Node")
    ready = [node for node in nodes if _is(node, "Ready")]
    if not nodes or len(ready) < max(len(nodes), value.nodes):
        return f"{len(ready)} of {max(len(nodes), value.nodes)} nodes are Ready"
    return ""


def istioctl_there(kube: Kube, config: LabConfig, value: Distribution) -> str:
    """Both istioctl and the samples are where they were."""
    missing = [str(path) for path in (value.istioctl, value.samples) if not path.exists()]
    return f"{', '.join(missing)} is gone" if missing else ""


def istio_ready(kube: Kube, config: LabConfig, value: InstallResult) -> str:
    """Every Deployment of the installation is there and available."""
    return objects_ready(kube, config, value.refs)


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
        ObjectRef(api_version(kube), "Telemetry", each.namespace, each.name) for each in restore.objects
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


def _in_order(resumption: resume.Resumption, name: str, pods: Mapping[str, int]) -> str:
    """Why a result is of no use for what is still to be done, "" where it is."""
    for served in SERVES.get(name, ()):
        if not _done_well(resumption, served, pods):
            return f"{served} still needs it"
    for load in BEFORE.get(name, ()):
        cut = load not in resumption.finished or _in_order(resumption, load, pods)
        if load in resumption.begun and cut:
            return f"{load} is sent anew, and these counts must be of before it"
    if any(step == ENDS.get(name) and why for step, why in resumption.told):
        return f"{ENDS[name]} was run again"
    return ""


def _done_well(resumption: resume.Resumption, name: str, pods: Mapping[str, int]) -> bool:
    found = resume.kept(resumption.run, name)
    if name not in resumption.finished or name in resumption.doubted or found is None:
        return False
    checks = found.result if isinstance(found.result, list) else [found.result]
    well = all(check.get("verdict") in ("pass", "skipped") for check in checks)
    return well and found.pods.items() <= pods.items()


def _cluster(args: tuple[Any, ...], found: resume.Kept | None, keeping: Keeping) -> ClusterRef | None:
    """The cluster that a step was given, or the one that it has made."""
    given = next((each for each in args if isinstance(each, ClusterRef)), None)
    if given is None and found is not None and keeping.kind is ClusterRef:
        given = resume.read_result(found, ClusterRef)
    return given


def _inputs(args: tuple[Any, ...]) -> str:
    """What a step was given beside run, settings and cluster: which pace, which distribution."""
    others = [each for each in args[2:] if isinstance(each, (str, Distribution))]
    return resume.inputs_hash(args[1], {str(number): each for number, each in enumerate(others)})


@lru_cache(maxsize=8)
def _identity(kube: Kube) -> str:
    return resume.identity(kube)


def _is(thing: Mapping[str, Any], condition: str) -> bool:
    found = thing.get("status", {}).get("conditions") or []
    return any(each["type"] == condition and each["status"] == "True" for each in found)
