"""What an upgrade is judged by on its way: rounds of checks on both sides, and the last look before the way back ends."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from itertools import count

from meshlab.app.budget import Spent, overspent, spent_on_disk
from meshlab.checks.base import run_check
from meshlab.checks.istio import expected_proxies, proxies_synced
from meshlab.checks.live_mesh import lab_pods, own_proxies
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig
from meshlab.core.errors import IstioError, WaitTimeout
from meshlab.core.waiting import Clock, wait_or_last
from meshlab.faults.fault import GROUPS as MADE_BY
from meshlab.istio.distribution import Distribution
from meshlab.istio.injection import made_by
from meshlab.istio.mesh import Mesh
from meshlab.istio.proxies import ACKNOWLEDGED, proxy_statuses, wait_synced
from meshlab.istio.syncz import proxy_states
from meshlab.istio.upgrade import UpgradePlan, owes
from meshlab.lifecycle import resume
from meshlab.lifecycle.context import context_of, istioctl_of, kube_of
from meshlab.run.journal import RunRef, record_check, step
from meshlab.run.results import CheckResult
from tasks.common import lab_task, log_info
from tasks.sabotage import Checks, Lab, begin_round, check_groups, checks_of, end_round
from tasks.upgrade import refuse_old_proxies
from tasks.upgrade_traffic import BUDGET, FILE, check_budget, tell_traffic

# Of the checks that are made on both sides. The others change the namespace whose pages the client asks for: they
# demand mutual TLS, deny callers or close the way out, which would be failed requests of the upgrade.
GROUPS = ("istio", "app")
LAST = (
    "all-moved"  # made by each life of the run that still has a way back: the mesh may have broken meanwhile
)
SYNCED = "istio.proxies-synced"
SETTLED_WITHIN = 120.0  # seconds, for the requests against which the budget's share is judged
LOOK_EVERY = 1.0  # seconds


def check_round(
    run: RunRef, config: LabConfig, cluster: ClusterRef, istio: Distribution, chosen: UpgradePlan, name: str
) -> None:
    """Make the checks of Istio and the application, in a journal of their own.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.
        istio: Istio's istioctl and samples, of the new version.
        chosen: The plan.
        name: Of the round.

    Raises:
        IstioError: A check is red or was not made, or the error budget is broken.
    """
    step_name = f"round-{name}"
    resumption = resume.active(run)
    finished = resumption is not None and step_name in resumption.finished - resumption.doubted
    if finished and (name != LAST or not owes(context_of(run).ledger)):
        return
    set_aside(run, name)
    with step(run, step_name):
        lab = Lab(config, cluster, istio)
        mesh = context_of(run).read_mesh_again(cluster)
        probe_run = begin_round(run, lab, name)
        try:
            check_groups(probe_run, lab, GROUPS)
            judge_moved(probe_run, lab, mesh, chosen)
            found = checks_of(probe_run, lab)
        finally:
            end_round(probe_run, lab)
        red = red_of(found)
        log_info(f"round {name}: {len(red)} checks are red, {len(found)} were made")
        if red:
            told = "; ".join(f"{check}: {why}" for check, why in red.items())
            raise IstioError(
                f"{len(red)} checks are red in round {name}: {told}",
                remedy=f"rounds/{name} in the run's evidence has what they saw",
            )
        check_budget(run)  # a round takes a minute, and looks at no request of the client
    tell_traffic(run)


def set_aside(run: RunRef, name: str) -> None:
    """Move what an earlier life's round of this name has found out of the way: a check of it is none of this one's.

    Args:
        run: The run.
        name: Of the round.
    """
    folder = run.evidence / "rounds" / name
    if folder.exists():
        places = (folder.with_name(f"{name}.{number}") for number in count(1))
        folder.rename(next(place for place in places if not place.exists()))


def red_of(found: Checks) -> dict[str, str]:
    """Name what keeps a round from being green; a check that was not made says nothing good, so it is red.

    Args:
        found: Id → the check as `result.json` holds it.

    Returns:
        Id → why it is red.
    """
    red = {
        check_id: str(each["reason"] or each["summary"])
        for check_id, each in found.items()
        if each["verdict"] not in ("pass", "skipped")
    }
    owed = [check_id for group in GROUPS for check_id in MADE_BY[group]]
    return red | {check_id: "it was not made" for check_id in owed if check_id not in found}


def judge_moved(probe_run: RunRef, lab: Lab, mesh: Mesh, chosen: UpgradePlan) -> CheckResult | None:
    """Make istio.proxies-synced anew, with every proxy of the new revision: sidecars of all moved namespaces, and gateways.

    On somebody else's mesh a run answers for its own namespace's proxies. An upgrade answers for all that it moved.

    Args:
        probe_run: The round.
        lab: The lab.
        mesh: The facts of the mesh.
        chosen: The plan.

    Returns:
        The check, which takes the place of the one before; None where nothing is moved yet.
    """
    kube, istioctl = kube_of(lab.cluster), istioctl_of(lab.cluster, lab.istio)
    # A pod of a Job that has ended is connected to nothing any more.
    pods = [pod for pod in kube.pods(None) if pod.phase == "Running" and made_by(pod) == chosen.new]
    moved = expected_proxies(pods)

    def synced() -> CheckResult:
        of_lab = lab_pods(kube, mesh)
        own = own_proxies(of_lab, lab.config)
        expected = sorted({*expected_proxies(of_lab), *moved})
        ask = partial(proxy_states, kube, istioctl, expected)
        with suppress(WaitTimeout):  # then the check says what is wrong
            wait_synced(ask, moved, timeout=ACKNOWLEDGED)
        return proxies_synced(
            proxy_statuses(kube, ask), expected, own=None if own is None else {*own, *moved}
        )

    return record_check(probe_run, run_check(SYNCED, synced)) if moved else None


@lab_task("last-look")
def last_look(run: RunRef, cluster: ClusterRef, chosen: UpgradePlan) -> Spent:
    """Judge all that can be judged without a round, in each life of the run that still has a way back.

    Args:
        run: The run.
        cluster: The cluster.
        chosen: The plan.

    Returns:
        What was sent and what of it failed.

    Raises:
        IstioError: A proxy of the old revision runs, or the budget is broken.
    """
    refuse_old_proxies(kube_of(cluster), chosen)
    return settled(run)


def settled(run: RunRef, *, clock: Clock | None = None) -> Spent:
    """Judge the error budget as at the end, while there is still a way back.

    In flight, one failure of a few requests is within the budget, and at the end it is not. So first as many requests
    are awaited as the share is judged against in flight: from then on both judge alike.

    Args:
        run: The run.
        clock: Of the wait; the machine's where not given.

    Returns:
        What was sent and what of it failed.

    Raises:
        IstioError: The budget is broken.
    """

    def look() -> Spent:
        check_budget(run)
        return spent_on_disk(run.evidence / FILE)

    spent: Spent = wait_or_last(
        f"{BUDGET.settled_after} requests, against which the error budget is judged",
        look,
        ready=lambda found: found.requests >= BUDGET.settled_after,
        timeout=SETTLED_WITHIN,
        delay=LOOK_EVERY,
        clock=clock,
    )
    found = overspent(spent, BUDGET, ended=True) or (() if spent.requests else ("no request was sent",))
    if found:
        raise IstioError(
            f"the error budget of the upgrade is broken: {'; '.join(found)}",
            remedy=f"{FILE} in the run's evidence has every request",
        )
    log_info(f"before the old revision goes: {spent}")
    return spent
