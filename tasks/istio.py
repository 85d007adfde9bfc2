"""Istio: found or installed, the namespace labelled, and at the end taken out again."""

from __future__ import annotations

from dataclasses import dataclass

from meshlab.checks.base import run_check
from meshlab.checks.leftovers import uninstall_nothing_left
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig
from meshlab.istio import registries
from meshlab.istio.control_plane import asking_label, control_planes, injection_label, label_namespace
from meshlab.istio.distribution import Distribution, locate
from meshlab.istio.images import of_istio
from meshlab.istio.install import InstallResult, has_external_istio, install
from meshlab.istio.inventory import istio_inventory
from meshlab.istio.uninstall import UninstallResult, uninstall
from meshlab.kube.applied import note
from meshlab.kube.apply import ObjectRef
from meshlab.kube.changes import RUN_LABEL
from meshlab.lifecycle.context import context_of, istioctl_of, kube_of, mesh_of
from meshlab.run.journal import (
    RunRef,
    keep_evidence,
    record,
    record_check,
    record_facts,
    report_progress,
)
from meshlab.run.ledger import Entry
from meshlab.run.results import CheckResult
from tasks.common import lab_task, log_info
from tasks.load_balancers import note_balancers
from tasks.report import progress_artifact
from tasks.resume import istio_ready, istioctl_there, namespace_labelled


@lab_task("find-istio", verify=istioctl_there)
def find_istio(run: RunRef, config: LabConfig, cluster: ClusterRef) -> Distribution:
    """Find the build of Istio that runs: its istioctl, its version and its samples.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.

    Returns:
        It.
    """
    kubernetes = kube_of(cluster).server_version() if config.distribution == "release" else None
    with progress_artifact("progress-istio-release", "Istio's release"):
        distribution = locate(
            config,
            machine=context_of(run).machine,
            images=cluster.images,
            kubernetes=kubernetes,
            progress=report_progress,
        )
    log_info(f"Istio {distribution.version} ({distribution.kind}), istioctl at {distribution.istioctl}")
    return distribution


@lab_task("install-istio", retries=1, verify=istio_ready)
def install_istio(
    run: RunRef, config: LabConfig, cluster: ClusterRef, distribution: Distribution
) -> InstallResult:
    """Install Istio with all of the mesh's configuration, or use the one that is there; returns when it is Ready.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.
        distribution: Istio's istioctl and samples.

    Returns:
        What was installed or found.
    """
    kube = kube_of(cluster)
    ledger = context_of(run).ledger
    entry = Entry("istio", cluster.name, cluster.endpoint)
    if entry not in ledger.entries() and not has_external_istio(config, kube):
        ledger.intend(entry)
    begun = entry in ledger.entries()
    with progress_artifact("progress-istio", "Istio"):
        installed = install(
            config,
            distribution,
            kube,
            istioctl_of(cluster, distribution),
            begun=begun,
            progress=report_progress,
        )
    if config.cluster == "gke":
        note_balancers(run, config, kube)
    if going := registries.warning(of_istio(kube, mesh_of(run, cluster))):
        record(run, {"event": "warning", "text": going})
    keep_evidence(run, "istio-install.json", installed)
    log_info(
        f"Istio {'found' if installed.reused else 'installed'} in {installed.seconds:.1f} s: {', '.join(installed.deployments)}"
    )
    return installed


@dataclass(frozen=True)
class Labelled:
    """What asking for sidecars changed. created: the namespace was not there. labelled: it was, without the label."""

    created: tuple[ObjectRef, ...] = ()
    labelled: bool = False


@lab_task("label-namespace", retries=2, verify=namespace_labelled)
def enable_injection(run: RunRef, config: LabConfig, cluster: ClusterRef) -> Labelled:
    """Ask for sidecars in the app's namespace, before its pods are created.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.

    Returns:
        What that changed.
    """
    kube = kube_of(cluster)
    ledger, ref = context_of(run).ledger, ObjectRef("v1", "Namespace", None, config.namespace)
    there = kube.get("v1", "Namespace", config.namespace)
    labels = (there or {"metadata": {}})["metadata"].get("labels") or {}
    created = there is None or labels.get(RUN_LABEL) == run.run_id  # ours from the Lease on
    planes = control_planes(kube)
    key, value = asking_label(planes, labels) or injection_label(planes)
    labelled = not created and labels.get(key) != value
    if created and not config.ours:
        note(kube, ledger, ref)
    elif labelled:
        ledger.intend(Entry("label", config.namespace, cluster.endpoint))
    label = label_namespace(kube, config.namespace, own=config.app.labels if created else None)
    log_info(f"namespace {config.namespace} has the label {label}")
    record_facts(run, mesh=context_of(run).read_mesh_again(cluster).as_json())
    return Labelled(created=(ref,) if created else (), labelled=labelled)


@lab_task("list-istio", teardown=True)
def list_istio(run: RunRef, config: LabConfig, cluster: ClusterRef) -> dict[str, tuple[str, ...]]:
    """Everything of Istio's in the cluster, before any of it is removed: the control of the claim that nothing is left."""
    return {kind: tuple(names) for kind, names in istio_inventory(kube_of(cluster)).items()}


@lab_task("uninstall-istio", teardown=True)
def uninstall_istio(
    run: RunRef,
    config: LabConfig,
    cluster: ClusterRef,
    distribution: Distribution,
    before: dict[str, tuple[str, ...]] | None = None,
    timeout: float = 180,
) -> UninstallResult:
    """`istioctl uninstall --purge`, then a named step of ours removes what that leaves; inventories before, between, after.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.
        distribution: Istio's istioctl and samples.
        before: What was there of Istio; taken now where not given.
        timeout: Seconds for each of the two.

    Returns:
        What was there, and what is left.
    """
    result = uninstall(
        kube_of(cluster),
        istioctl_of(cluster, distribution),
        timeout=timeout,
        before=before,
        namespaces=None if config.ours else {config.namespace},
        progress=report_progress,
    )
    keep_evidence(run, "uninstall.json", result)
    ledger = context_of(run).ledger
    ledger.gone(Entry("istio", cluster.name, cluster.endpoint))
    ledger.gone(Entry("label", config.namespace, cluster.endpoint))
    return result


@lab_task("check-uninstall", teardown=True)
def check_uninstall(
    run: RunRef,
    config: LabConfig,
    cluster: ClusterRef,
    before: dict[str, tuple[str, ...]],
    result: UninstallResult | None,
    failure: str = "",
    timeout: float = 60,
) -> CheckResult:
    """uninstall.nothing-left: the inventory that found Istio before finds nothing now, three times in a row.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.
        before: What was there of Istio before, the control.
        result: Of the uninstall; None where it failed, which leaves the question what is there.
        failure: Why it failed.
        timeout: Seconds until nothing may be left.

    Returns:
        The check.
    """
    kube = kube_of(cluster)
    check = run_check(
        "uninstall.nothing-left", uninstall_nothing_left,
        before, result.left_by_purge if result is not None else None, lambda: istio_inventory(kube),
        failure=failure, timeout=timeout, granted=config.scope,
    )  # fmt: skip
    return record_check(run, check)
