"""The addon's manifest is Istio's own; what changes follows from distribution, images and tuning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from meshlab.config.settings import LabConfig
from meshlab.core.errors import IstioError, WaitTimeout
from meshlab.istio.distribution import Distribution
from meshlab.kube.apply import read_manifests
from meshlab.observability.addons import prometheus
from meshlab.observability.addons.query import PrometheusClient
from tests.fakes.clock import FakeClock
from tests.fakes.mesh import FakeMesh, make_object
from tests.fakes.prometheus_server import FakePrometheusServer, success

IMAGES = ("localhost/meshlab/prometheus:abc",)
SETTINGS = {
    "global": {"scrape_interval": "15s", "scrape_timeout": "10s"},
    "scrape_configs": [
        {"job_name": name}
        for name in (
            "kubernetes-nodes",
            "kubernetes-pods",
            "kubernetes-pods-slow",
            "kubernetes-service-endpoints",
        )
    ],
}
CONTAINERS = [
    {
        "name": "prometheus-server-configmap-reload",
        "image": "registry.example/x/prometheus-config-reloader:v1",
    },
    {"name": "prometheus-server", "image": "registry.example/prom/prometheus:v3"},
]


def addon(settings: dict[str, Any]) -> list[dict[str, Any]]:
    pod = {"containers": CONTAINERS, "terminationGracePeriodSeconds": 300}
    config_map = make_object("v1", "ConfigMap", "prometheus", "istio-system")
    binding = make_object("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "prometheus")
    deployment = make_object("apps/v1", "Deployment", "prometheus", "istio-system")
    return [
        {**config_map, "data": {"prometheus.yml": yaml.safe_dump(settings), "alerts": "{}\n"}},
        {
            **binding,
            "subjects": [{"kind": "ServiceAccount", "name": "prometheus", "namespace": "istio-system"}],
        },
        {**deployment, "spec": {"template": {"spec": pod}}},
    ]


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    path = tmp_path / "samples" / "addons" / "prometheus.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump_all(addon(SETTINGS)))
    return tmp_path / "samples"


def made(samples: Path, cluster: str, distribution: str, images: str, **more: Any) -> list[dict[str, Any]]:
    config = LabConfig.model_validate(
        {"cluster": cluster, "istio": {"distribution": distribution}, "images": images, **more}
    )
    known = Distribution(config.distribution, Path("istioctl"), "1", samples)
    return prometheus.PROMETHEUS.manifest(known, config, IMAGES)


def parts(documents: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The Prometheus configuration and the pod."""
    return yaml.safe_load(documents[0]["data"]["prometheus.yml"]), documents[2]["spec"]["template"]["spec"]


def test_with_a_release_and_official_images_nothing_changes(samples: Path):
    assert made(samples, "existing", "release", "official") == read_manifests(samples / "addons")


def test_relabelling_belongs_to_the_distribution_not_to_the_images(samples: Path):
    settings, pod = parts(made(samples, "existing", "embedded", "official"))
    relabelled = {job["job_name"] for job in settings["scrape_configs"] if "metric_relabel_configs" in job}
    assert relabelled == set(prometheus.SIDECAR_JOBS)
    assert pod["containers"] == CONTAINERS and pod["terminationGracePeriodSeconds"] == 300
    assert settings["global"] == SETTINGS["global"], "tuned only where cluster and distribution are ours"


def test_embedded_images_leave_the_reloader_out(samples: Path):
    settings, pod = parts(made(samples, "existing", "release", "embedded"))
    assert pod["containers"] == [{"name": "prometheus-server", "image": IMAGES[0]}]
    assert settings == SETTINGS


def test_a_tuned_cluster_scrapes_faster_and_stops_sooner(samples: Path):
    settings, pod = parts(made(samples, "local", "embedded", "embedded", prometheus={"scrape_seconds": 3}))
    assert settings["global"] == {"scrape_interval": "3s", "scrape_timeout": "3s"}
    assert pod["terminationGracePeriodSeconds"] == prometheus.GRACE_SECONDS


def test_it_can_live_in_another_namespace(samples: Path):
    documents = made(samples, "existing", "release", "official", prometheus={"namespace": "metrics"})
    assert [each["metadata"].get("namespace") for each in documents] == ["metrics", None, "metrics"]
    assert documents[1]["subjects"][0]["namespace"] == "metrics"


def test_an_addon_of_another_shape_is_refused(samples: Path):
    path = samples / "addons" / "prometheus.yaml"
    path.write_text(yaml.safe_dump_all(addon({"global": {}, "scrape_configs": []})))
    with pytest.raises(IstioError, match="no job kubernetes-pods"):
        made(samples, "local", "embedded", "embedded")
    path.write_text(yaml.safe_dump_all(addon(SETTINGS)[1:]))
    with pytest.raises(IstioError, match="0 objects of kind ConfigMap"):
        made(samples, "local", "embedded", "embedded")


def test_a_prometheus_that_is_there_is_used(samples: Path):
    deployment = make_object("apps/v1", "Deployment", "prometheus", "istio-system")
    counts = {
        "observedGeneration": 1,
        "replicas": 1,
        "readyReplicas": 1,
        "updatedReplicas": 1,
        "availableReplicas": 1,
    }
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "prometheus"}}}
    service = {
        **make_object("v1", "Service", "prometheus", "istio-system"),
        "spec": {"ports": [{"port": 9090}]},
    }
    kube = FakeMesh([{**deployment, "spec": spec, "status": counts}, service])
    release = Distribution("release", Path("istioctl"), "1", samples)
    assert prometheus.PROMETHEUS.deploy(LabConfig(cluster="existing"), release, kube) == ()
    assert kube.calls == []


def test_waiting_until_it_answers():
    answer = success({"resultType": "vector", "result": [{"metric": {}, "value": [1, "1"]}]})
    with FakePrometheusServer({"/api/v1/query": answer}) as server:
        prometheus.PROMETHEUS.wait_answering(PrometheusClient(server.url), timeout=1, clock=FakeClock())
    with FakePrometheusServer({}) as server, pytest.raises(WaitTimeout, match="404"):
        prometheus.PROMETHEUS.wait_answering(PrometheusClient(server.url), timeout=1, clock=FakeClock())


@pytest.mark.parametrize(
    "selector",
    [{}, {"selector": {"app": "prometheus"}}],
    ids=["endpoints by hand", "a StatefulSet without pods"],
)
def test_somebody_s_service_without_pods_is_left_as_it_is(samples: Path, selector: dict[str, Any]) -> None:
    """It would be applied over, and deleted at the teardown."""
    where = make_object("v1", "Service", "prometheus", "istio-system")
    theirs = {**where, "spec": {**selector, "ports": [{"name": "http", "port": 9090}]}}
    stateful = make_object("apps/v1", "StatefulSet", "prometheus", "istio-system")
    mesh = FakeMesh([theirs, {**stateful, "spec": {"replicas": 1}}])
    settings = LabConfig(cluster="existing", allow_changes=True)
    release = Distribution("release", Path("istioctl"), "1", samples)
    assert prometheus.PROMETHEUS.is_external(settings, mesh)  # type: ignore[arg-type]
    assert prometheus.PROMETHEUS.deploy(settings, release, mesh) == ()  # type: ignore[arg-type]
    assert mesh.calls == [] and mesh.get("v1", "Service", "prometheus", "istio-system") == theirs
