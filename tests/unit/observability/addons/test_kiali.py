"""Kiali runs where its image can be had, and is skipped with the reason where not."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from meshlab.config.settings import LabConfig
from meshlab.core.errors import KubeError, QueryError, WaitTimeout
from meshlab.istio.distribution import Distribution
from meshlab.kube.apply import delete, read_manifests
from meshlab.observability.addons.images import images
from meshlab.observability.addons.kiali import KIALI, wait_for_edges
from meshlab.observability.addons.kiali_client import KialiClient
from tests.fakes.clock import FakeClock
from tests.fakes.kiali import GRAPH, STATUS, FakeKiali, json_edge, json_graph, json_node, refusal
from tests.fakes.mesh import FakeMesh, ReadyMesh, make_object

SYSTEM = "istio-system"
IMAGE = "registry.example/kiali/kiali:v2.27"


def deployment() -> dict[str, Any]:
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "kiali"}}}
    pod = {"containers": [{"name": "kiali", "image": IMAGE}]}
    made = make_object("apps/v1", "Deployment", "kiali", SYSTEM)
    return {**made, "spec": {**spec, "template": {"spec": pod}}}


def service() -> dict[str, Any]:
    return {**make_object("v1", "Service", "kiali", SYSTEM), "spec": {"ports": [{"port": 20001}]}}


@pytest.fixture
def known(tmp_path: Path) -> Distribution:
    path = tmp_path / "addons" / "kiali.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump_all([service(), deployment()]))
    return Distribution("release", Path("istioctl"), "1", tmp_path)


def config(**more: Any) -> LabConfig:
    return LabConfig.model_validate({"cluster": "existing", "allow_changes": True, **more})


def test_the_addon_is_applied_unchanged(known: Distribution):
    assert KIALI.manifest(known, config()) == read_manifests(known.samples / "addons")
    assert images(KIALI.manifest(known, config())) == (IMAGE,)
    mesh = ReadyMesh()
    refs = KIALI.deploy(config(), known, mesh)
    assert [ref.kind for ref in refs] == ["Service", "Deployment"]
    delete(mesh, refs)
    assert mesh.store == {}


@pytest.mark.parametrize(
    "held", [IMAGE, "kiali/kiali:v2.27", f"{IMAGE}@sha256:0", "other.example/kiali/kiali:v2.27"]
)
def test_with_embedded_images_an_archive_must_hold_it(known: Distribution, held: str):
    embedded = config(images="embedded")
    reason = KIALI.why_not(embedded, known, FakeMesh(), [f"{IMAGE}.1", "x"])
    assert IMAGE in reason and "no image archive" in reason
    same = held != "other.example/kiali/kiali:v2.27"
    assert (KIALI.why_not(embedded, known, FakeMesh(), [held]) == "") is same
    mesh = ReadyMesh()
    if same:
        assert len(KIALI.deploy(embedded, known, mesh, held=[held])) == 2
    else:
        with pytest.raises(KubeError, match="no image archive"):
            KIALI.deploy(embedded, known, mesh, held=[held])
        assert mesh.calls == []


def test_on_a_cluster_that_is_not_ours(known: Distribution):
    theirs = config(allow_changes=False)
    assert "may not put one there" in KIALI.why_not(theirs, known, FakeMesh())
    mesh = ReadyMesh([deployment(), service()])
    assert KIALI.why_not(theirs, known, mesh) == ""
    assert KIALI.deploy(theirs, known, mesh) == ()
    assert mesh.calls == []


def test_waiting_until_it_answers():
    with FakeKiali() as server:
        KIALI.wait_answering(KialiClient(server.url), timeout=1, clock=FakeClock())
        server.replies[STATUS] = refusal(503, "caches are not synced")
        with pytest.raises(WaitTimeout, match="caches are not synced"):
            KIALI.wait_answering(KialiClient(server.url), timeout=1, clock=FakeClock())
    with FakeKiali(version="v1.0.0") as server, pytest.raises(QueryError, match=r"v1\.0\.0"):
        KIALI.wait_answering(KialiClient(server.url), timeout=1, clock=FakeClock())


def test_the_graph_is_read_until_it_holds_the_edges_and_judged_by_what_was_there_at_the_end():
    edges = [(("shop", "a"), ("shop", "b"))]
    whole = json_graph([json_node("a", "shop"), json_node("b", "shop")], [json_edge("a", "b", "shop")])
    with FakeKiali() as server:
        client = KialiClient(server.url)
        wait = partial(wait_for_edges, client, "shop", edges, seconds=60, clock=FakeClock())
        assert wait(timeout=3).edges == ()
        server.graph = whole
        assert [(edge.source, edge.target) for edge in wait(timeout=3).edges] == edges
        server.replies[STATUS] = server.replies[GRAPH] = refusal(503, "restarting")
        with pytest.raises(WaitTimeout, match="restarting"):
            wait(timeout=3)
