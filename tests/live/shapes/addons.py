"""A mesh without the lab's own addons, and asking those that it has instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from meshlab.checks import live_queries
from meshlab.checks.prometheus import Sending
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import CREDENTIALS, LabConfig
from meshlab.core.access import hold_keys
from meshlab.core.waiting import wait
from meshlab.kube.apply import ObjectRef, apply, delete, present
from meshlab.kube.client import Kube
from meshlab.kube.rollout import wait_deployments
from meshlab.lifecycle.context import kube_of, mesh_of
from meshlab.observability.addons.credentials import read_access
from meshlab.run.journal import RunRef
from meshlab.run.results import CheckResult
from tests.live.shapes.shape import Shape


@contextmanager
def taken_away(kube: Kube, shape: Shape) -> Iterator[None]:
    """Take away what the mesh does not have, for a while; it comes back Ready, with nothing counted so far."""
    refs = [
        ObjectRef(each["apiVersion"], each["kind"], each["namespace"], each["name"]) for each in shape.without
    ]
    found = {ref: there for ref in refs if (there := present(kube, ref)) is not None}
    assert len(found) == len(refs), "the lab has what the shape takes away"
    try:
        delete(kube, refs, timeout=120)
        yield
    finally:
        apply(kube, list(found.values()))
        for ref in refs:
            if ref.kind == "Deployment":
                wait_deployments(kube, str(ref.namespace), [ref.name], timeout=60)


def wait_stateful(kube: Kube, ref: ObjectRef) -> None:
    """Wait until every pod of a StatefulSet is Ready."""
    wait(
        f"{ref} to be Ready",
        lambda: kube.get(ref.api_version, ref.kind, ref.name, ref.namespace) or {},
        ready=lambda found: (found.get("status") or {}).get("readyReplicas") == found["spec"]["replicas"],
        timeout=90,
    )


@contextmanager
def credentials_held(variables: Mapping[str, str] | None) -> Iterator[None]:
    """Hold the credentials of a night's environment in this process, too."""
    given = variables or {}
    keys = {name: given[variable] for name, variable in CREDENTIALS.items() if variable in given}
    hold_keys({name: read_access(name, document) for name, document in keys.items()})
    try:
        yield
    finally:
        hold_keys({})


def check_targets(run: RunRef, config: LabConfig, cluster: ClusterRef) -> list[CheckResult]:
    """Make prometheus.targets alone."""
    kube, name = kube_of(cluster), "prometheus.targets"
    asked = live_queries.document_queries(
        run, kube, config, mesh_of(run, cluster), Sending(sent=dict, baseline={})
    )
    return live_queries.ask_prometheus(run, kube, config, {name: asked[name]})
