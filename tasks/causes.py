"""Why a step's checks are red: asked while the objects are there, and written down beside the checks."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from meshlab.causes.explain import explain
from meshlab.causes.objects import Found, read
from meshlab.causes.snapshot import Baseline, keep, load
from meshlab.causes.trials import tried
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig
from meshlab.core.errors import MeshlabError
from meshlab.history.store import History
from meshlab.lifecycle.context import context_of, kube_of, mesh_of
from meshlab.run.journal import RunRef, now, read_journal, record

log = logging.getLogger(__name__)
# Steps at whose end the configuration is kept whether or not a check is red: the last of the set-up, where plaintext is
# allowed, and the last under STRICT, before what the run applied is taken away.
KEPT_AFTER = ("check-app", "check-audit")
RECORDING = threading.Lock()
SABOTAGE = "sabotage-round"  # the flow of a round in which a fault is planted: its causes are put to the test


def note_causes(run: RunRef, step: str, args: tuple[Any, ...]) -> None:
    """Keep the mesh's configuration, and name the objects that explain checks that turned red and were not explained yet.

    Where the cluster does not answer, nothing is kept or named: the checks have told that already.

    Args:
        run: The run.
        step: The step that has ended.
        args: What the step was given; without settings and a cluster among it there is nothing to ask.
    """
    config = next((each for each in args if isinstance(each, LabConfig)), None)
    cluster = next((each for each in args if isinstance(each, ClusterRef)), None)
    if config is None or cluster is None:
        return
    red = _unexplained(run)
    if not red and step not in KEPT_AFTER:
        return
    try:
        objects = read(kube_of(cluster))
        if step in KEPT_AFTER:
            _keep(run, step, objects)
        if not red:
            return
        root, green = mesh_of(run, cluster).root_namespace, last_green(run, config, cluster)
    except MeshlabError:
        return
    # Steps run side by side: what another has explained meanwhile, it explained while its own objects were there.
    with RECORDING:
        ids = {event["id"] for event in _unexplained(run)}
        red = [event for event in red if event["id"] in ids]
        if not red:
            return
        found = explain(red, objects, namespace=config.namespace, root=root, green=green)
        checks = [event["id"] for event in red]
        record(run, {"event": "causes", "checks": checks, "causes": [asdict(each) for each in found]})
    if run.flow == SABOTAGE:
        ways = tried(red, objects, namespace=config.namespace, root=root, green=green, now=now())
        told = {way: [asdict(each) for each in causes] for way, causes in ways.items()}
        record(run, {"event": "causes-tried", "ways": told})


def _unexplained(run: RunRef) -> list[dict[str, Any]]:
    """The red checks of the run's journal for which no causes were noted yet."""
    events = read_journal(run)
    known = {check for event in events if event["event"] == "causes" for check in event["checks"]}
    return [
        event
        for event in events
        if event["event"] == "check" and event["verdict"] == "fail" and event["id"] not in known
    ]


def _keep(run: RunRef, step: str, objects: Iterable[Found]) -> None:
    try:
        keep(run.evidence, step, objects)
    except OSError as problem:  # a full disk, which the result will tell
        log.warning("the mesh's configuration can't be kept: %s", problem.strerror)


def last_green(run: RunRef, config: LabConfig, cluster: ClusterRef) -> Baseline | None:
    """Find the configuration of the newest green run on this cluster, of this flow if there is one.

    Args:
        run: The run that is compared with it.
        config: The settings of the run.
        cluster: The cluster.

    Returns:
        It; None where there is none, or it kept none.
    """
    try:
        with History.of(config, context_of(run).machine, create=False) as history:
            runs = history.runs(cluster=f"{cluster.provider}/{cluster.name}")
    except MeshlabError as problem:
        log.info("causes are compared with no earlier run: %s", problem)
        return None
    green = [
        each
        for each in runs
        if each.verdict == "pass" and each.run_id != run.run_id and each.started <= run.started
    ]
    for each in sorted(green, key=lambda one: (one.flow == run.flow, one.started), reverse=True):
        if moments := load(Path(each.directory)):
            return Baseline(each.run_id, moments)
    return None
