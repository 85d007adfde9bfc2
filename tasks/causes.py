"""Why a step's checks are red: asked while the objects are there, and written down beside the checks."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from meshlab.causes.explain import explain
from meshlab.causes.objects import read
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig
from meshlab.core.errors import MeshlabError
from meshlab.lifecycle.context import kube_of, mesh_of
from meshlab.run.journal import RunRef, read_journal, record


def note_causes(run: RunRef, args: tuple[Any, ...]) -> None:
    """Name the objects that explain checks that turned red and were not explained yet.

    Where the cluster does not answer, nothing is named: the checks have told that already.

    Args:
        run: The run.
        args: What the step was given; without settings and a cluster among it there is nothing to ask.
    """
    config = next((each for each in args if isinstance(each, LabConfig)), None)
    cluster = next((each for each in args if isinstance(each, ClusterRef)), None)
    if config is None or cluster is None:
        return
    events = read_journal(run)
    known = {check for event in events if event["event"] == "causes" for check in event["checks"]}
    red = [
        event
        for event in events
        if event["event"] == "check" and event["verdict"] == "fail" and event["id"] not in known
    ]
    if not red:
        return
    try:
        objects, root = read(kube_of(cluster)), mesh_of(run, cluster).root_namespace
    except MeshlabError:
        return
    found = explain(red, objects, namespace=config.namespace, root=root)
    checks = [event["id"] for event in red]
    record(run, {"event": "causes", "checks": checks, "causes": [asdict(each) for each in found]})
