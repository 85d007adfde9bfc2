"""An upgrade of Istio, step by step: the old revision, the plan, the new revision, the moves, and the old one's end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from meshlab.app.upgrade_client import client_namespace
from meshlab.cli.flags import wrong_provider
from meshlab.cli.upgrade import PROVIDERS, problems
from meshlab.clusters.base import ClusterRef
from meshlab.clusters.local import materials
from meshlab.clusters.local.cluster import LocalCluster
from meshlab.config.settings import LabConfig
from meshlab.core.cancellation import stopping
from meshlab.core.errors import InputError, IstioError, MeshlabError
from meshlab.core.process import SystemRunner
from meshlab.core.waiting import SystemClock
from meshlab.istio.control_plane import control_planes, deployments, objects_if_served
from meshlab.istio.distribution import Distribution, earlier
from meshlab.istio.injection import (
    API_VERSION,
    INJECTION_LABEL,
    KIND,
    REVISION_LABEL,
    called_for,
    webhooks_in,
)
from meshlab.istio.install import InstallResult, install
from meshlab.istio.revision import (
    Removal,
    istiod_of,
    proxies_of_revision,
    remove_revision,
    revision_inventory,
    tag_refs,
)
from meshlab.istio.revision_install import gateway_refs, install_revision
from meshlab.istio.roll_back import begin_retiring, not_removed, retired, retires_here
from meshlab.istio.upgrade import (
    Move,
    UpgradePlan,
    intend_move,
    intend_revision,
    move,
    plan_upgrade,
    settle_labels,
)
from meshlab.kube.changes import Changes
from meshlab.kube.client import Kube
from meshlab.lifecycle.context import context_of, istioctl_of, kube_of, mesh_of
from meshlab.run.compiles import noting_compiles
from meshlab.run.journal import RunRef, keep_evidence, report_progress
from meshlab.run.ledger import Entry
from tasks.common import lab_task, log_info
from tasks.report import progress_artifact
from tasks.resume import any_value, istio_ready
from tasks.sabotage import changed
from tasks.upgrade_again import PLAN_STEP
from tasks.upgrade_traffic import check_budget, switch_client, tell_traffic


def judge_upgrade(config: LabConfig) -> None:
    """Refuse a cluster that may not be changed so. Raises InputError; the command line says it earlier."""
    wrong = [wrong_provider(config, PROVIDERS)] if config.cluster not in PROVIDERS else problems(config)
    if wrong:
        raise InputError(wrong)


@lab_task("install-old-istio", retries=1, verify=any_value)
def install_old_istio(run: RunRef, config: LabConfig, cluster: ClusterRef) -> InstallResult:
    """Use the Istio that is there; on a local cluster without one, compile and install the one to be replaced.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.

    Returns:
        What was installed or found.

    Raises:
        IstioError: There is none, and the cluster is not ours; or it can't be installed.
    """
    kube, ledger = kube_of(cluster), context_of(run).ledger
    entry = Entry("istio", cluster.name, cluster.endpoint)
    begun = entry in ledger.entries()
    if control_planes(kube) and not begun:
        log_info("the Istio that the cluster has is upgraded")
        found = (f"{home}/{name}" for home, names in deployments(kube).items() for name in names)
        return InstallResult(True, "", tuple(found))
    if config.cluster != "local":
        raise IstioError(
            f"the cluster {cluster.name} has no Istio", remedy="name a cluster whose Istio is to be upgraded"
        )
    machine, runner = context_of(run).machine, SystemRunner()
    with progress_artifact("progress-istio-earlier", "Compile the Istio to be replaced"):
        program, specs = materials.earlier_istio(
            machine, runner=runner, progress=noting_compiles(run), stop=stopping()
        )
    LocalCluster(config.local, machine, run_id=run.run_id).add_images(specs)
    held = (*(spec.reference for spec in specs), *cluster.images)
    old = earlier(program, machine=machine, images=held, runner=runner)
    ledger.intend(entry)
    plain = changed(config, {"istio": {"operator_file": None}})  # that file is for the new one
    with progress_artifact("progress-istio", "Istio"):
        installed = install(
            plain, old, kube, istioctl_of(cluster, old), begun=begun, progress=report_progress
        )
    log_info(
        f"Istio {old.version} installed in {installed.seconds:.1f} s: {', '.join(installed.deployments)}"
    )
    return installed


@lab_task(PLAN_STEP, verify=any_value)
def plan(run: RunRef, config: LabConfig, cluster: ClusterRef, istio: Distribution) -> UpgradePlan:
    """Ask `istioctl x precheck`, and find out what is to be moved from which revision to which.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.
        istio: Istio's istioctl and samples, of the new version.

    Returns:
        The plan.

    Raises:
        IstioError: The mesh can't be upgraded; the text names every reason.
    """
    kube, istioctl = kube_of(cluster), istioctl_of(cluster, istio)
    found = istioctl.precheck()
    keep_evidence(run, "upgrade-precheck.json", found)
    wrong = [f"{each.code} {each.message}" for each in found if each.level == "Error"]
    if wrong:
        raise IstioError(
            f"istioctl x precheck: {'; '.join(wrong)}", remedy="mend what it names, then upgrade"
        )
    serving = context_of(run).read_mesh_again(cluster).serving
    if serving is None:
        raise IstioError(
            f"no control plane serves {config.namespace}, or several may",
            remedy="label the namespace with the revision that is to be upgraded: istio.io/rev=NAME",
        )
    told = dict(istioctl.version().control_plane)
    old = replace(serving, version=told.get(serving.revision, serving.version))
    chosen = plan_upgrade(kube, old, istio.version, but=[client_namespace(config)])
    keep_evidence(run, "upgrade-plan.json", chosen)
    log_info(
        f"from {chosen.old_version} ({chosen.old}) to {chosen.version} ({chosen.new}): "
        f"{', '.join(each.namespace for each in chosen.moves)}; {len(found)} findings of precheck"
    )
    return chosen


@lab_task("install-new-revision", verify=istio_ready)
def install_new_revision(
    run: RunRef, config: LabConfig, cluster: ClusterRef, istio: Distribution, chosen: UpgradePlan
) -> InstallResult:
    """Install the control plane of the new revision beside the old one; nothing is served by it yet.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.
        istio: Istio's istioctl and samples, of the new version.
        chosen: The plan.

    Returns:
        What was installed.
    """
    kube = kube_of(cluster)
    intend_revision(kube, context_of(run).ledger, chosen)
    mesh = context_of(run).read_mesh_again(cluster)
    with progress_artifact("progress-istio-new", "The new revision of Istio"):
        document = install_revision(
            config, istio, kube, istioctl_of(cluster, istio), chosen, mesh,
            gateways=False, progress=report_progress, stop=stopping(),
        )  # fmt: skip
    keep_evidence(run, "upgrade-operator.json", document)
    check_budget(run)
    names = (istiod_of(chosen.new),)
    return InstallResult(False, document["spec"]["profile"], names, operator=document)


@dataclass(frozen=True)
class Moved:
    """A namespace that was moved to a revision. old: from this one; home: of both control planes."""

    namespace: str
    revision: str
    old: str


def still_moved(kube: Kube, config: LabConfig, value: Moved) -> str:
    """The namespace asks for the new revision, and no proxy of the old one runs there."""
    found = kube.get("v1", "Namespace", value.namespace) or {}
    labels = (found.get("metadata") or {}).get("labels") or {}
    # Not by the label: at the end the namespace gets its own back, whose tag leads to the new revision then.
    webhooks = webhooks_in(objects_if_served(kube, API_VERSION, KIND))
    called = {revision for revision, _ in called_for(webhooks, labels, value.namespace)}
    if value.namespace and called != {value.revision}:
        return f"{value.namespace} does not ask revision {value.revision}"
    return none_of_the_old(kube, config, value)


def none_of_the_old(kube: Kube, config: LabConfig, value: Moved) -> str:
    """No proxy of the old revision is left in the namespace."""
    left = [
        each for each in proxies_of_revision(kube, value.old) if each.partition("/")[0] == value.namespace
    ]
    return f"{', '.join(left)} still of revision {value.old}" if left else ""


class WatchingClock(SystemClock):
    """The machine's clock, for waits that something else may end: a roll-out may take minutes.

    Args:
        check: Called after each sleep; what it raises ends the wait.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        super().__init__(stopping())
        self._check = check

    def sleep(self, seconds: float) -> None:
        """Pause for so many seconds, or until the step is to stop, then look."""
        super().sleep(seconds)
        self._check()


def move_namespace(
    run: RunRef, config: LabConfig, cluster: ClusterRef, chosen: UpgradePlan, one: Move
) -> Moved:
    """Move one namespace: its label, its workloads one by one, while the error budget is looked at.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.
        chosen: The plan.
        one: The namespace.

    Returns:
        What was moved.
    """

    def work(run: RunRef, config: LabConfig, cluster: ClusterRef) -> Moved:
        check_budget(run)
        move(
            kube_of(cluster), context_of(run).ledger, one, chosen.new, timeout=config.app.rollout_timeout,
            check=lambda: check_budget(run), clock=WatchingClock(lambda: check_budget(run)),
        )  # fmt: skip
        return Moved(one.namespace, chosen.new, chosen.old)

    tell_traffic(run)
    work.__name__ = work.__qualname__ = f"move_{one.namespace}"  # Prefect's key of the task
    return lab_task(f"move-{one.namespace}", verify=still_moved)(work)(run, config, cluster)


@lab_task("move-upgrade-client", verify=still_moved)
def move_client(
    run: RunRef, config: LabConfig, cluster: ClusterRef, istio: Distribution, chosen: UpgradePlan
) -> Moved:
    """Move the namespace that sends: a pod of the new revision takes over, then the one of the old goes.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.
        istio: Istio's samples.
        chosen: The plan.

    Returns:
        What was moved.
    """
    kube, home = kube_of(cluster), client_namespace(config)
    found = kube.get("v1", "Namespace", home) or {}
    labels = (found.get("metadata") or {}).get("labels") or {}
    before = {key: labels.get(key) for key in (INJECTION_LABEL, REVISION_LABEL)}
    intend_move(kube, context_of(run).ledger, home, before)
    switch_client(run, config, cluster, istio, {INJECTION_LABEL: None, REVISION_LABEL: chosen.new})
    check_budget(run)
    return Moved(home, chosen.new, chosen.old)


@lab_task("move-gateways", verify=none_of_the_old)
def move_gateways(
    run: RunRef, config: LabConfig, cluster: ClusterRef, istio: Distribution, chosen: UpgradePlan
) -> Moved:
    """Let the new revision take over the gateways that istioctl installed, each by a roll-out.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.
        istio: Istio's istioctl and samples, of the new version.
        chosen: The plan.

    Returns:
        What was moved.
    """
    if chosen.gateways:
        kube, context = kube_of(cluster), context_of(run)
        Changes(kube, context.ledger, run).keep(*gateway_refs(kube, chosen))
        install_revision(
            config, istio, kube, istioctl_of(cluster, istio), chosen, mesh_of(run, cluster),
            gateways=True, progress=report_progress, stop=stopping(),
        )  # fmt: skip
    check_budget(run)
    return Moved(chosen.home, chosen.new, chosen.old)


def refuse_old_proxies(kube: Kube, chosen: UpgradePlan) -> None:
    """Raise IstioError where a proxy of the old revision runs: its control plane may not be removed."""
    left = proxies_of_revision(kube, chosen.old)
    if left:
        raise IstioError(
            f"proxies of revision {chosen.old} still run: {', '.join(left)}",
            remedy="restart their workloads, then upgrade again",
        )


@lab_task("list-old-revision", verify=any_value)
def list_old_revision(
    run: RunRef, config: LabConfig, cluster: ClusterRef, chosen: UpgradePlan
) -> dict[str, tuple[str, ...]]:
    """Everything of the old revision, before any of it is removed: the control of the claim that it is gone.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.
        chosen: The plan.

    Returns:
        Kind → names.

    Raises:
        IstioError: A proxy of it still runs, or the error budget is broken.
    """
    kube = kube_of(cluster)
    refuse_old_proxies(kube, chosen)
    check_budget(run)
    return revision_inventory(kube, chosen.old, chosen.home)


@lab_task("retire-old-revision", verify=any_value)
def retire_old_revision(
    run: RunRef, config: LabConfig, cluster: ClusterRef, istio: Distribution, chosen: UpgradePlan
) -> Removal:
    """Let the tags lead to the new revision, give the namespaces their labels, and remove the old revision.

    Tags and labels can still be taken back, by what the ledger has of them; the removal is the point of no return.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.
        istio: Istio's istioctl and samples, of the new version.
        chosen: The plan.

    Returns:
        What was removed.

    Raises:
        MeshlabError: A tag or a label could not be set, or a proxy of the old revision runs.
        IstioError: The old revision could not be removed; the text names what is left of it.
    """
    kube, ledger, istioctl = kube_of(cluster), context_of(run).ledger, istioctl_of(cluster, istio)
    if not retires_here(kube, ledger):  # else an earlier life has passed the point of no return
        Changes(kube, ledger, run).keep(*tag_refs(kube, chosen.tags, chosen.home))
    for tag in chosen.tags:
        istioctl.set_tag(tag, chosen.new)
    settle_labels(kube, chosen)
    refuse_old_proxies(kube, chosen)  # pods that were made before the tags led elsewhere
    begin_retiring(kube, ledger, chosen)
    try:
        removal = remove_revision(kube, chosen.old, chosen.home, istioctl)
    except MeshlabError as problem:
        raise not_removed(kube, chosen, problem) from problem
    retired(kube, ledger)
    keep_evidence(run, "upgrade-removal.json", removal)
    context_of(run).read_mesh_again(cluster)
    log_info(f"revision {chosen.old} removed; by us after istioctl: {len(removal.removed)} objects")
    return removal
