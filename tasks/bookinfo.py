"""Bookinfo and sleep, from the official manifests of the distribution in use."""

from __future__ import annotations

from collections.abc import Sequence

from meshlab.app import bookinfo
from meshlab.app.deployment import put_up
from meshlab.app.graceful import graceful
from meshlab.checks.base import run_check, skipped
from meshlab.checks.footprint import unchanged
from meshlab.checks.leftovers import teardown_nothing_left
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig
from meshlab.istio.control_plane import unlabel_namespace
from meshlab.istio.distribution import Distribution
from meshlab.kube.applied import KIND as OBJECT
from meshlab.kube.applied import applied
from meshlab.kube.apply import ObjectRef, delete
from meshlab.kube.client import Kube
from meshlab.lifecycle.context import context_of, kube_of
from meshlab.run.journal import RunRef, record_check, report_progress
from meshlab.run.ledger import Entry
from meshlab.run.results import CheckResult, Verdict
from tasks.common import lab_task, log_info
from tasks.report import progress_artifact
from tasks.resume import objects_ready


@lab_task("deploy-bookinfo", retries=1, verify=objects_ready, records_objects=True)
def deploy_bookinfo(
    run: RunRef,
    config: LabConfig,
    cluster: ClusterRef,
    distribution: Distribution,
    for_restarts: bool = False,
) -> tuple[ObjectRef, ...]:
    """Apply Bookinfo and sleep and wait until all of it is Ready.

    Args:
        run: The run.
        config: Its settings.
        cluster: Its cluster.
        distribution: Its Istio.
        for_restarts: The run restarts it while requests flow, so its servers must not drop any.

    Returns:
        What was applied.
    """
    context_of(run).ledger.intend(Entry("app", config.namespace, cluster.endpoint))
    kube, wanted = kube_of(cluster), bookinfo.manifests(distribution)
    if for_restarts or config.security.restarts:
        wanted = graceful(wanted, kube.server_version())
    with progress_artifact("progress-bookinfo", "Bookinfo and sleep"):
        # The namespace has its label: a pod gets its sidecar when it is created, and older ones are restarted.
        refs = put_up(
            kube,
            config,
            wanted,
            distribution.images,
            unmeshed=[workload.selector for workload in bookinfo.WORKLOADS],
            progress=report_progress,
        )
    log_info(f"{len(refs)} objects applied, {len(bookinfo.WORKLOADS)} workloads Ready in {config.namespace}")
    return refs


@lab_task("list-objects", teardown=True)
def list_objects(
    run: RunRef, config: LabConfig, cluster: ClusterRef, refs: Sequence[ObjectRef]
) -> dict[str, tuple[str, ...]]:
    """What of the run's objects is there before any is removed: the control of the claim that none is left."""
    kube = kube_of(cluster)
    return there(kube, (*applied(kube, context_of(run).ledger), *refs))


def there(kube: Kube, refs: Sequence[ObjectRef]) -> dict[str, tuple[str, ...]]:
    """Kind → names of those of the objects that are there."""
    found: dict[str, tuple[str, ...]] = {}
    for ref in dict.fromkeys(refs):
        if kube.get(ref.api_version, ref.kind, ref.name, ref.namespace) is not None:
            found[ref.kind] = (*found.get(ref.kind, ()), ref.name)
    return found


@lab_task("remove-objects", teardown=True)
def remove_objects(
    run: RunRef,
    config: LabConfig,
    cluster: ClusterRef,
    refs: Sequence[ObjectRef],
    labelled: bool,
    before: dict[str, tuple[str, ...]] | None = None,
) -> CheckResult:
    """Take what the run applied out of a cluster that is not ours, and check that none of it is left.

    refs: what finished steps applied; what those applied that were cut off is in the ledger. labelled: the
    namespace was there before and got its injection label from this run. before: what `list_objects` has
    found; a removal that was cut off may have left less.
    """
    kube, ledger = kube_of(cluster), context_of(run).ledger
    refs = tuple(dict.fromkeys([*applied(kube, ledger), *refs]))
    labelled = labelled or any(entry.kind == "label" for entry in ledger.entries())
    if not refs and not labelled:
        why = "the run had applied nothing"
        return record_check(run, skipped("teardown.nothing-left", why, asked_for=True))

    def inventory() -> dict[str, tuple[str, ...]]:
        return there(kube, refs)

    before = inventory() if before is None else before
    delete(kube, refs, timeout=120)
    if labelled:
        unlabel_namespace(kube, config.namespace)

    def nothing_left() -> CheckResult:
        return unchanged(teardown_nothing_left(before, inventory), run.evidence, kube, config.namespace)

    check = record_check(run, run_check("teardown.nothing-left", nothing_left))
    if check.verdict is Verdict.PASS:
        for entry in ledger.entries():
            if entry.kind in ("app", "addon", "label", OBJECT):
                ledger.gone(entry)
    return check
