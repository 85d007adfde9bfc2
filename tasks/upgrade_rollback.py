"""The end of an upgrade: what it proved, or all of it taken back; and the question whether it may go on."""

from __future__ import annotations

import json
import sys
from typing import Any

from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.runtime import deployment

from meshlab.app.upgrade_client import client_namespace
from meshlab.checks import upgrade as checks
from meshlab.checks.base import run_check
from meshlab.checks.upgrade import Ended, Proxy, Side
from meshlab.cli.upgrade import ANSWER_WITHIN, confirm
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig
from meshlab.core.errors import IstioError, MeshlabError
from meshlab.core.waiting import wait, wait_or_last
from meshlab.istio.control_plane import SIDECAR
from meshlab.istio.distribution import Distribution
from meshlab.istio.injection import made_by
from meshlab.istio.revision import proxies_of_revision, revision_inventory
from meshlab.istio.syncz import proxy_states
from meshlab.istio.upgrade import UpgradePlan, moved_back, moved_from, owes, take_back
from meshlab.kube.client import Kube
from meshlab.kube.rollout import wait_deployments
from meshlab.lifecycle.context import context_of, istioctl_of, kube_of
from meshlab.run.journal import RunRef, keep_evidence, record, record_check, step
from meshlab.run.results import CheckResult
from tasks.common import lab_task, log_info
from tasks.upgrade_traffic import sends, switch_client

FILE = "upgrade-rollback.json"  # below the run's evidence: it rolls back, and why
CONNECTED_WITHIN = 60.0  # seconds until every proxy has told its version


def ask_to_go_on(run: RunRef, chosen: UpgradePlan, moved: str) -> None:
    """Stop until somebody says that the other namespaces follow: on the terminal, or by resuming a paused deployment.

    Args:
        run: The run.
        chosen: The plan.
        moved: The namespace that was moved first.

    Raises:
        IstioError: The answer was no, or nobody answered within an hour.
    """
    others = ", ".join(each.namespace for each in chosen.moves if each.namespace != moved) or "the client's"
    question = f"{moved} runs with revision {chosen.new} ({chosen.version}). Move the others ({others})?"
    with step(run, "ask"):
        if deployment.id:
            record(run, {"event": "warning", "text": f"paused for an hour at most: {question}"})
            try:
                pause_flow_run(timeout=int(ANSWER_WITHIN), poll_interval=5, key="ask")
                why = ""
            except FlowPauseTimeout:
                why = f"nobody resumed the flow run within {ANSWER_WITHIN:.0f} s"
        else:
            why = confirm(question, sys.stdin)
        if why:
            raise IstioError(f"the upgrade does not go on: {why}", remedy="start it again")


def owes_upgrade(run: RunRef) -> bool:
    """Tell whether the run has begun an upgrade that is neither finished nor taken back."""
    return owes(context_of(run).ledger)


def rolling_back(run: RunRef) -> str:
    """Why the run rolls its upgrade back, also where a life of it before this one began to; "" where it does not."""
    found = _kept(run)
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
    """
    kube, ledger = kube_of(cluster), context_of(run).ledger
    kept = _kept(run)
    if kept is None:
        kept = {"why": why, "before": revision_inventory(kube, chosen.new, chosen.home)}
        keep_evidence(run, FILE, kept)
    log_info(f"rolling back: {kept['why']}")

    def gateways_back() -> None:
        names = [ref.name for ref in chosen.gateways]
        timeout = config.istio.install_timeout
        if names:
            wait_deployments(kube, chosen.home, names, timeout=timeout)
        wait(
            f"no proxy of revision {chosen.new}",
            lambda: proxies_of_revision(kube, chosen.new),
            ready=lambda left: not left,
            timeout=timeout,
        )

    home, done = client_namespace(config), list[str]()
    try:
        labels = moved_from(ledger, home)
        if labels is not None and sends(run):  # else its pods are restarted like others'
            switch_client(run, config, cluster, istio, labels)
            moved_back(kube, ledger, home)
            done.append(f"namespace {home} moved back")
        done += take_back(kube, ledger, timeout=config.app.rollout_timeout, before_removal=gateways_back)
    except MeshlabError as problem:
        record_check(run, checks.rollback_failed(kept["why"], problem.message, problem.remedy))
        raise
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
        pods = [pod for pod in kube.pods(None) if SIDECAR in pod.containers and not pod.deleting]
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
