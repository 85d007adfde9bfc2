"""The addon's manifest is Istio's own; Grafana is put only where its image can be had and where we may."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from meshlab.config.settings import LabConfig
from meshlab.core.errors import IstioError, KubeError, WaitTimeout
from meshlab.istio.distribution import Distribution
from meshlab.kube.apply import read_manifests
from meshlab.observability.addons.grafana import GRAFANA
from meshlab.observability.addons.grafana_client import GrafanaClient
from tests.fakes.clock import FakeClock
from tests.fakes.grafana import FakeGrafana
from tests.fakes.http_server import Reply
from tests.fakes.mesh import FakeMesh, ReadyMesh, make_object

SYSTEM, IMAGE = "istio-system", "registry.example/grafana/grafana:12.3.1"
DATASOURCES = {
    "apiVersion": 1,
    "datasources": [
        {"name": "Prometheus", "type": "prometheus", "url": "http://prometheus:9090"},
        {"name": "Loki", "type": "loki", "url": "http://loki:3100"},
    ],
}


def addon(data: dict[str, str] | None = None) -> list[dict[str, Any]]:
    told = {"datasources.yaml": yaml.safe_dump(DATASOURCES, sort_keys=False)} if data is None else data
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "grafana"}}}
    pod = {"containers": [{"name": "grafana", "image": IMAGE}]}
    return [
        {**make_object("v1", "ConfigMap", "grafana", SYSTEM), "data": told},
        {**make_object("v1", "Service", "grafana", SYSTEM), "spec": {"ports": [{"port": 3000}]}},
        {
            **make_object("apps/v1", "Deployment", "grafana", SYSTEM),
            "spec": {**spec, "template": {"spec": pod}},
        },
    ]


def shipped(folder: Path, documents: list[dict[str, Any]] | None = None) -> Distribution:
    path = folder / "samples" / "addons" / "grafana.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump_all(addon() if documents is None else documents))
    return Distribution("release", Path("istioctl"), "1", folder / "samples")


def config(**more: Any) -> LabConfig:
    return LabConfig.model_validate({"cluster": "existing", "allow_changes": True, **more})


def node(*images: str) -> dict[str, Any]:
    return {**make_object("v1", "Node", "n1"), "status": {"images": [{"names": list(images)}]}}


def test_nothing_changes_where_prometheus_is_where_istio_puts_it(tmp_path: Path):
    distribution = shipped(tmp_path)
    assert GRAFANA.manifest(distribution, config()) == read_manifests(distribution.samples / "addons")


def test_prometheus_elsewhere_is_told_to_the_datasource(tmp_path: Path):
    moved = GRAFANA.manifest(shipped(tmp_path), config(prometheus={"namespace": "metrics"}))
    prometheus, loki = yaml.safe_load(moved[0]["data"]["datasources.yaml"])["datasources"]
    assert (prometheus["url"], loki["url"]) == ("http://prometheus.metrics.svc:9090", "http://loki:3100")


def test_another_addon_is_told(tmp_path: Path):
    with pytest.raises(IstioError, match="0 lists of datasources"):
        GRAFANA.manifest(shipped(tmp_path, addon({})), config())


def test_with_official_images_it_is_put_there(tmp_path: Path):
    mesh = ReadyMesh()
    assert GRAFANA.why_not(config(), shipped(tmp_path), mesh) == ""
    refs = GRAFANA.deploy(config(), Distribution("release", Path("i"), "1", tmp_path / "samples"), mesh)
    assert [ref.kind for ref in refs] == ["ConfigMap", "Service", "Deployment"]


def test_with_embedded_images_a_node_must_hold_its_image(tmp_path: Path):
    distribution, ours = shipped(tmp_path), config(images="embedded")
    assert IMAGE in GRAFANA.why_not(ours, distribution, ReadyMesh([node("localhost/meshlab/curl:1")]))
    assert GRAFANA.why_not(ours, distribution, ReadyMesh([node("a", IMAGE)])) == ""
    mesh = ReadyMesh()
    with pytest.raises(KubeError, match="no image archive holds"):
        GRAFANA.deploy(ours, distribution, mesh)
    assert mesh.calls == []


def test_a_short_name_is_held_under_its_full_one(tmp_path: Path):
    documents = addon()
    documents[2]["spec"]["template"]["spec"]["containers"][0]["image"] = "grafana/grafana:12.3.1"
    distribution = shipped(tmp_path, documents)
    assert GRAFANA.why_not(config(images="embedded"), distribution, ReadyMesh([node(IMAGE)])) == ""
    other = node("registry.example/grafana/grafana:12.3.10", "registry.example/mygrafana/grafana:12.3.1")
    assert GRAFANA.why_not(config(images="embedded"), distribution, ReadyMesh([other]))


def test_a_grafana_that_is_there_is_used(tmp_path: Path):
    mesh = ReadyMesh(addon()[1:])
    theirs = config(allow_changes=False)
    distribution = shipped(tmp_path)
    assert GRAFANA.why_not(theirs, distribution, mesh) == ""
    assert GRAFANA.deploy(theirs, distribution, mesh) == ()
    assert mesh.calls == []


def test_without_leave_none_is_put_there(tmp_path: Path):
    mesh, theirs, distribution = ReadyMesh(), config(allow_changes=False), shipped(tmp_path)
    assert "may not put one there" in GRAFANA.why_not(theirs, distribution, mesh)
    with pytest.raises(KubeError, match="may not put one there") as caught:
        GRAFANA.deploy(theirs, distribution, mesh)
    assert "--allow-changes" in caught.value.remedy


def test_it_is_awaited_with_its_datasource():
    clock = FakeClock()
    with FakeGrafana() as server:
        assert GRAFANA.wait_answering(GrafanaClient(server.url), timeout=5, clock=clock) == "12.3.1"
    starting = Reply("Service Unavailable", 503)
    with FakeGrafana(health=starting) as server, pytest.raises(WaitTimeout, match="503"):
        GRAFANA.wait_answering(GrafanaClient(server.url), timeout=5, clock=clock)


def test_it_is_asked_at_its_service():
    place = GRAFANA.place(FakeMesh(), LabConfig())
    assert place is not None and (place.namespace, place.service, place.port) == (
        "istio-system",
        "grafana",
        3000,
    )
