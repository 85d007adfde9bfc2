"""Restarts of our own workloads under load, where a setting asks for them."""

from __future__ import annotations

from meshlab.app.deployment import with_images
from meshlab.checks import live_restarts, restarts
from meshlab.checks.live_restarts import Alter
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig
from meshlab.kube.changes import Changes
from meshlab.lifecycle.context import context_of, kube_of, mesh_of
from meshlab.run.journal import RunRef, report_progress
from meshlab.run.results import CheckResult
from tasks.common import lab_task, make_checks
from tasks.resume import checks_passed


@lab_task("check-restarts", verify=checks_passed, depends_on_pods=True)
def check_restarts(
    run: RunRef, config: LabConfig, cluster: ClusterRef, alter: Alter = lambda workload: None
) -> list[CheckResult]:
    """Make restart.no-failed-request: each server of the application is restarted, then a Job with a sidecar is run.

    Args:
        run: The run.
        config: Its settings.
        cluster: Its cluster.
        alter: What a planted fault does to a workload just before its restart.

    Returns:
        The check.
    """
    kube, mesh = kube_of(cluster), mesh_of(run, cluster)

    def made() -> CheckResult:
        with Changes(kube, context_of(run).ledger, run) as changes:
            restarted = live_restarts.restart_all(
                kube, mesh, timeout=config.app.rollout_timeout, alter=alter, progress=report_progress
            )
            job = live_restarts.run_job(
                kube, changes, mesh, images=lambda found: with_images(kube, config, found, ())
            )
        return restarts.no_failed_request(restarted, job)

    return make_checks(run, {restarts.CHECK: made}, granted=config.scope)
