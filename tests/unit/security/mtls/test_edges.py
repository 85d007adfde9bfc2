"""Edges have a Ready pod at both ends, or say who lacks one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meshlab.app import bookinfo
from meshlab.core.errors import KubeError
from meshlab.security.mtls.edges import find_edges, servers
from tests.fakes.kube import FakeKube, make_pod
from tests.unit.security.mtls import fixtures as made


def pods(*, without: str = "") -> FakeKube:
    kube = FakeKube()
    for workload in bookinfo.WORKLOADS:
        labels = {"app": workload.app} | ({"version": workload.version} if workload.version else {})
        conditions = [] if workload.name == without else [{"type": "Ready", "status": "True"}]
        kube.put(make_pod(f"{workload.name}-x", labels=labels, conditions=conditions))
    return kube


def test_every_edge_of_the_application_is_found_with_its_pods() -> None:
    found = find_edges(pods(), "default")
    assert [(e.source.name, e.target.name) for e in found] == list(bookinfo.EDGES)
    assert found[-1].name == "reviews-v3 → ratings-v1"
    assert found[-1].target_pod.name == "ratings-v1-x"
    assert len(servers(found)) == 6


def test_a_workload_without_a_ready_pod_is_named() -> None:
    with pytest.raises(KubeError, match="no Ready pod of reviews-v2"):
        find_edges(pods(without="reviews-v2"), "default")


def test_nodes_tell_whether_the_traffic_crosses_the_wire() -> None:
    edge = made.edges()[0]
    assert edge.nodes == "node-1"
    assert replace(edge, target_pod=replace(edge.target_pod, node="node-2")).nodes == "node-1 → node-2"
