"""A load test of the page, where the run was asked for one."""

from __future__ import annotations

from dataclasses import replace

from meshlab.app.load import Sender, run_load
from meshlab.app.load_result import LoadResult
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig
from meshlab.kube.changes import Changes
from meshlab.lifecycle.context import context_of, kube_of
from meshlab.run.journal import RunRef, record_facts, record_measures, report_progress
from meshlab.run.results import Measure
from tasks.addons import bring_image
from tasks.common import lab_task, log_info
from tasks.resume import any_value
from tasks.teardown import attempt


def measure_load(run: RunRef, config: LabConfig, cluster: ClusterRef) -> LoadResult | None:
    """Send what --load asks for; no step where it asks for nothing. That it failed keeps nothing else from being tried.

    Args:
        run: The run.
        config: Its settings.
        cluster: Its cluster.

    Returns:
        What fortio found; None where nothing was asked for, and where it failed.
    """
    return attempt(send_load, run, config, cluster) if config.load.asked else None


@lab_task("measure-load", verify=any_value, depends_on_pods=True)
def send_load(run: RunRef, config: LabConfig, cluster: ClusterRef) -> LoadResult:
    """Send what --load asks for to the page, from inside of the mesh, and keep rates, errors and times.

    A load that is not reached is told as saturated, no verdict: how much the mesh bears is what is measured.

    Args:
        run: The run.
        config: Its settings, with a load.
        cluster: Its cluster.

    Returns:
        What fortio found.
    """
    profile = config.load.asked
    assert profile is not None, "there is no step without --load"
    kube, images = kube_of(cluster), bring_image(run, config, cluster, "fortio")
    own = images if config.image_source == "embedded" else ()
    sender = Sender(pods=config.load.pods)
    warmup = None
    with Changes(kube, context_of(run).ledger, run) as changes:
        if config.load.warmup_seconds:
            before = replace(profile, seconds=config.load.warmup_seconds)
            first = replace(sender, name=f"{sender.name}-warmup")
            warmup = run_load(kube, changes, config, first, before, own, progress=report_progress)
            log_info(f"warm-up, kept apart: {warmup}")
        found = run_load(kube, changes, config, sender, profile, own, progress=report_progress)
    record_facts(
        run, load={**found.as_json(), **({"warmup": warmup.as_json()} if warmup is not None else {})}
    )
    record_measures(run, *_measures(found, config.load.profile or ""))
    log_info(f"load: {found}")
    return found


def _measures(found: LoadResult, profile: str) -> list[Measure]:
    labels = {"load": profile}
    rows = [("rate", found.reached, "requests/s"), ("errors", float(found.errors), "requests")]
    rows += [(f"p{percent}", found.percentile(percent), "ms") for percent in (50, 99)]
    return [Measure(f"load-{name}", round(value, 3), unit, labels) for name, value, unit in rows]
