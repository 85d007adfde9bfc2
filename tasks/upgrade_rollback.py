"""The end of an upgrade: what it proved, or all of it taken back."""

from __future__ import annotations

import json
from typing import Any

from meshlab.app.upgrade_client import client_namespace
from meshlab.checks import upgrade as checks
from meshlab.checks.base import run_check
from meshlab.checks.upgrade import Ended, Proxy, Side
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig
from meshlab.core.errors import IstioError, MeshlabError
from meshlab.core.waiting import wait_or_last
from meshlab.istio.distribution import Distribution
from meshlab.istio.injection import made_by
from meshlab.istio.revision import revision_inventory, running_proxies
from meshlab.istio.roll_back import take_back
from meshlab.istio.syncz import proxy_states
from meshlab.istio.upgrade import Labels, UpgradePlan, owes
from meshlab.kube.client import Kube
from meshlab.kube.rollout import wait_deployments
from meshlab.lifecycle.context import context_of, istioctl_of, kube_of
from meshlab.run.journal import RunRef, keep_evidence, record_check
from meshlab.run.results import CheckResult
from tasks.common import lab_task, log_info
from tasks.upgrade_traffic import sends, switch_client

FILE = "upgrade-rollback.json"  # below the run's evidence: it rolls back, and why
CONNECTED_WITHIN = 60.0  # seconds until every proxy has told its version
GO_ON = "mend what it names; --resume of this run, or the next run here that may change the mesh, takes back the rest"


def owes_upgrade(run: RunRef) -> bool:
    """Tell whether the run has begun an upgrade that is neither finished nor taken back."""
    return owes(context_of(run).ledger)


def rolling_back(run: RunRef) -> str:
    """Why the run rolls its upgrade back, also where a life of it before this one began to; "" where it does not."""
    found = _kept(run)
    if found is None and (run.evidence / FILE).exists():
        return "a life before this one was rolling back, and was cut off while it wrote down why"
    return str(found["why"]) if found else ""


def _kept(run: RunRef) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads((run.evidence / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found


@lab_task("roll-back")
def roll_back(
    run: RunRef, config: LabConfig, cluster: ClusterRef, istio: Distribution, chosen: UpgradePlan, why: str
) -> CheckResult:
    """Take back all that the upgrade changed, and make upgrade.rollback.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.
        istio: Istio's istioctl and samples, of the new version.
        chosen: The plan.
        why: What ended the upgrade.

    Returns:
        The check.

    Raises:
        IstioError: Something could not be taken back; all the rest was, and the ledger has what is left.
        KubeError: The cluster does not answer.
    """
    kube, ledger = kube_of(cluster), context_of(run).ledger
    kept = _kept(run)
    if kept is None:
        kept = {"why": why, "before": revision_inventory(kube, chosen.new, chosen.home)}
        keep_evidence(run, FILE, kept)
    log_info(f"rolling back: {kept['why']}")

    def gateways_back() -> None:
        if names := [ref.name for ref in chosen.gateways]:
            wait_deployments(kube, chosen.home, names, timeout=config.istio.install_timeout)

    def switch(labels: Labels) -> None:
        switch_client(run, config, cluster, istio, labels)

    try:
        ending = take_back(
            kube,
            ledger,
            timeout=config.app.rollout_timeout,
            client=client_namespace(config),
            move_client=switch if sends(run) else None,  # else its pods are restarted like others'
            before_removal=gateways_back,
        )
        if ending.failed and owes(ledger):
            raise IstioError(f"not everything was taken back: {'; '.join(ending.failed)}", remedy=GO_ON)
    except MeshlabError as problem:
        record_check(run, checks.rollback_failed(kept["why"], problem.message, problem.remedy))
        raise
    # A workload may be ill in the old revision, too: the checks tell that, and nothing is owed.
    done = (*ending.done, *(f"taken back, and ill: {each}" for each in ending.failed))
    context_of(run).read_mesh_again(cluster)
    proxies = list_proxies(kube, cluster, istio)
    ended = Ended(kept["before"], lambda: revision_inventory(kube, chosen.new, chosen.home))
    old, new = sides(chosen)
    check = run_check("upgrade.rollback", checks.rollback, old, new, kept["why"], done, proxies, ended)
    record_check(run, checks.not_upgraded(old, new, kept["why"], proxies))
    return record_check(run, check)


@lab_task("check-upgrade")
def check_upgrade(
    run: RunRef,
    config: LabConfig,
    cluster: ClusterRef,
    istio: Distribution,
    chosen: UpgradePlan,
    before: dict[str, tuple[str, ...]],
) -> CheckResult:
    """Make upgrade.versions of an upgrade that came to its end; upgrade.rollback was not needed.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.
        istio: Istio's istioctl and samples, of the new version.
        chosen: The plan.
        before: All of the old revision, before its removal.

    Returns:
        The check.
    """
    kube = kube_of(cluster)
    proxies = list_proxies(kube, cluster, istio)
    ended = Ended(before, lambda: revision_inventory(kube, chosen.old, chosen.home))
    record_check(run, checks.not_needed())
    return record_check(run, run_check("upgrade.versions", checks.versions, *sides(chosen), proxies, ended))


def sides(chosen: UpgradePlan) -> tuple[Side, Side]:
    """The old and the new side of an upgrade."""
    return Side(chosen.old, chosen.old_version), Side(chosen.new, chosen.version)


def list_proxies(kube: Kube, cluster: ClusterRef, istio: Distribution) -> list[Proxy]:
    """List every proxy of the mesh with its revision and version, once each has told it.

    Args:
        kube: Client of the cluster.
        cluster: The cluster.
        istio: Istio's istioctl.

    Returns:
        The proxies; a version is "" where none was told in time.

    Raises:
        IstioError: istioctl fails.
    """
    istioctl = istioctl_of(cluster, istio)

    def look() -> list[Proxy]:
        pods = running_proxies(kube)
        names = [f"{pod.name}.{pod.namespace}" for pod in pods]
        told = {each.name: each.version for each in proxy_states(kube, istioctl, names)}
        return [
            Proxy(f"{pod.namespace}/{pod.name}", made_by(pod), told.get(name, ""))
            for pod, name in zip(pods, names, strict=True)
        ]

    return wait_or_last(
        "every proxy to tell its version",
        look,
        ready=lambda found: bool(found) and all(each.version for each in found),
        describe=lambda found: f"{sum(bool(each.version) for each in found)} of {len(found)}",
        timeout=CONNECTED_WITHIN,
    )
