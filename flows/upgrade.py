"""Istio upgraded under traffic: a new revision beside the old one, namespaces moved one by one, the old one removed.

Old Istio, Bookinfo and a client whose requests never pause → `istioctl x precheck` → the new revision's istiod → the
app's namespace, then the others, then the client's and the gateways, with checks on both sides → tags and labels →
the old revision removed, and proven to be gone. It rolls back by itself when more than 0.1 % of the requests fail, more
than three in a row, or a check turns red.

Started by hand (`python -m flows.upgrade`), or from Prefect. `--cluster local` makes a lab with an older Istio, or
upgrades the lab that is up; `existing` upgrades the Istio of a kubeconfig's cluster, and requires --allow-changes.
"""

import sys
from importlib import import_module

if __name__ == "__main__":
    # Prefect is slow to import: the input is judged, the run written down and the cluster started before that.
    from meshlab.cli.command import Command
    from meshlab.cli.main import main
    from meshlab.cli.upgrade import ASK, PROVIDERS, judge

    sys.exit(
        main(
            sys.argv[1:],
            Command(
                "python -m flows.upgrade",
                __doc__,
                "upgrade",
                [ASK],
                providers=PROVIDERS,
                resumable=True,
                judge=judge,
            ),
            lambda: import_module("flows.upgrade").upgrade,
        )
    )

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.sequence import run_lab
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig
from meshlab.core.errors import IstioError, MeshlabError
from meshlab.istio.distribution import Distribution
from meshlab.istio.upgrade import UpgradePlan
from meshlab.run.journal import RunRef
from tasks.bookinfo import deploy_bookinfo
from tasks.cluster import refuse_half_way, start_cluster
from tasks.images import pull_images
from tasks.istio import enable_injection, find_istio
from tasks.mesh_checks import check_app, check_cluster, check_istio
from tasks.room import make_room
from tasks.run import begin_run
from tasks.teardown import CreatedResources, attempt, take_down
from tasks.upgrade import (
    install_new_revision,
    install_old_istio,
    judge_upgrade,
    list_old_revision,
    move_client,
    move_gateways,
    move_namespace,
    plan,
    retire_old_revision,
)
from tasks.upgrade_again import keep_ask, kept_plan
from tasks.upgrade_ask import ask_to_go_on
from tasks.upgrade_rollback import check_upgrade, owes_upgrade, roll_back, rolling_back
from tasks.upgrade_rounds import check_round, last_look
from tasks.upgrade_traffic import begin_upgrade_traffic, end_upgrade_traffic, remove_upgrade_client, sends

EXPECTED = (
    "upgrade.traffic",
    "upgrade.versions",
    "upgrade.rollback",
    "uninstall.nothing-left",
    "teardown.nothing-left",
)


@flow(name="upgrade", persist_result=False)
def upgrade(config: LabConfig = LabConfig(), ask: bool = False) -> State[Any]:  # noqa: B008 - frozen, the form's default
    """Upgrade Istio by a new revision while requests flow, or take all of it back.

    Args:
        config: What is wanted of the run; `istio` says which version is to come.
        ask: Stop after the first namespace until somebody resumes the run; after an hour it rolls back.

    Returns:
        The flow's state: Completed where every check passed.
    """
    judge_upgrade(config)
    run, child = begin_run(config, "upgrade")
    created, plans = CreatedResources(child=child), list[UpgradePlan]()

    def prove(run: RunRef, config: LabConfig, created: CreatedResources) -> None:
        asks = keep_ask(run, ask)
        try:
            begun = kept_plan(run)
        except MeshlabError:
            created.cluster = start_cluster(
                run, config, child=created.child
            )  # else one that was up is removed
            raise
        if begun is not None:  # by a life before this one: whatever fails from here on is rolled back, too
            plans.append(begun)
        try:
            cluster, istio = bring_up_old(run, config, created)
            created.objects += begin_upgrade_traffic(run, config, cluster, istio)
            if not plans:
                plans.append(plan(run, config, cluster, istio))
            move_all(run, config, cluster, istio, plans[0], asks)
        except Exception as problem:
            if not plans or created.cluster is None or created.istio is None:
                raise
            if not owes_upgrade(run) and not rolling_back(
                run
            ):  # nothing was changed yet, or no way leads back
                raise
            cluster, istio = created.cluster, created.istio
            roll_back(run, config, cluster, istio, plans[0], str(problem) or type(problem).__name__)
        if sends(run):  # not where an earlier life's upgrade was rolled back before anything was sent
            end_upgrade_traffic(run)
        check_cluster(run, config, cluster, istio)
        check_istio(run, config, cluster, istio)
        check_app(run, config, cluster)

    def leave(stopped: int | None) -> None:
        cluster, istio = created.cluster, created.istio
        kept = config.keep or config.keep_on_failure
        stays, why_kept = not config.ours or kept or bool(created.found_up), created.found_up
        if cluster is not None and istio is not None and plans and owes_upgrade(run) and stays:
            attempt(roll_back, run, config, cluster, istio, plans[0], "the run was ended")
        if sends(run):
            attempt(end_upgrade_traffic, run)
        if stays and owes_upgrade(run):
            why_kept = f"the upgrade is not taken back: --resume {run.run_id} goes on with that"
        elif stays and cluster is not None and istio is not None:
            attempt(remove_upgrade_client, run, config, cluster)
        take_down(run, config, created, stopped=stopped, expected=EXPECTED, why_kept=why_kept)

    return run_lab(run, config, created, prove, leave=leave)


def bring_up_old(
    run: RunRef, config: LabConfig, created: CreatedResources
) -> tuple[ClusterRef, Distribution]:
    """Bring up what is to be upgraded: the cluster, an old Istio where there is none, and Bookinfo.

    Args:
        run: The run.
        config: The settings of the run.
        created: Filled with what was made.

    Returns:
        The cluster, and the Istio that is to come.
    """
    cluster = created.cluster = start_cluster(run, config, child=created.child)
    refuse_half_way(run, cluster)
    istio = created.istio = find_istio(run, config, cluster)
    if config.needs_pull:
        pull_images(run, config, cluster, istio)
    created.mesh = install_old_istio(run, config, cluster)
    created.labelled = enable_injection(run, config, cluster)
    created.objects = list(make_room(run, config, cluster))
    created.objects += deploy_bookinfo(run, config, cluster, istio, for_restarts=True)
    return cluster, istio


def move_all(
    run: RunRef, config: LabConfig, cluster: ClusterRef, istio: Distribution, chosen: UpgradePlan, ask: bool
) -> None:
    """Upgrade, from the checks before to the old revision's end; what fails raises.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.
        istio: The Istio that is to come.
        chosen: The plan.
        ask: Stop after the first namespace.
    """
    if why := rolling_back(run):  # it was cut off while it rolled back
        raise IstioError(why)
    check_round(run, config, cluster, istio, chosen, "before")
    install_new_revision(run, config, cluster, istio, chosen)
    ours_first = sorted(chosen.moves, key=lambda each: each.namespace != config.namespace)
    for number, one in enumerate(ours_first):
        move_namespace(run, config, cluster, chosen, one)
        if number == 0:
            check_round(run, config, cluster, istio, chosen, "side-by-side")
            if ask:
                ask_to_go_on(run, chosen, one.namespace)
    move_client(run, config, cluster, istio, chosen)
    move_gateways(run, config, cluster, istio, chosen)
    check_round(run, config, cluster, istio, chosen, "all-moved")
    before = list_old_revision(run, config, cluster, chosen)
    if owes_upgrade(run):  # else an earlier life has passed the point of no return
        last_look(run, cluster, chosen)
    retire_old_revision(run, config, cluster, istio, chosen)
    check_upgrade(run, config, cluster, istio, chosen, before)
