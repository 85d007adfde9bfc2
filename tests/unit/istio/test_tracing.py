"""Tracing is on where the run may write, and afterwards everything is as it was."""

from __future__ import annotations

import pytest

from meshlab.config.settings import LabConfig
from meshlab.core.errors import IstioError, KubeError, NotHereError
from meshlab.istio.facts import read_facts
from meshlab.istio.mesh import Mesh
from meshlab.istio.tracing import NAME, Before, Restore, enable, find_provider, restore
from tests.fakes.istio_objects import istiod, mesh_map
from tests.fakes.mesh import make_object
from tests.fakes.telemetry import API_VERSION, JAEGER, OTHER, ZIPKIN, FakeTelemetryMesh, telemetry

OURS = LabConfig()
THEIRS = LabConfig(cluster="existing")
ALLOWED = LabConfig(cluster="existing", allow_changes=True)
EVERY = {"tracing": [{"providers": [{"name": "jaeger"}], "randomSamplingPercentage": 100.0}]}
SYSTEM = "istio-system"


def facts(kube: FakeTelemetryMesh) -> Mesh:
    """Of a mesh whose control plane has the configuration that the fake holds."""
    kube.put(istiod())
    return read_facts(kube, "default")


def found_in(kube: FakeTelemetryMesh) -> str:
    return find_provider(kube, facts(kube))


@pytest.mark.parametrize(("config", "namespace"), [(OURS, SYSTEM), (ALLOWED, SYSTEM), (THEIRS, "meshlab")])
def test_of_the_mesh_where_allowed_else_of_our_namespace(config: LabConfig, namespace: str):
    mesh = FakeTelemetryMesh()
    done = enable(mesh, config, facts(mesh))
    assert done == Restore("jaeger", (Before(namespace, NAME, made=True),))
    assert mesh.spec(NAME, namespace) == EVERY
    restore(mesh, done)
    assert mesh.spec(NAME, namespace) is None
    restore(mesh, done)  # twice is fine


@pytest.mark.parametrize("version", ["v1alpha1", "v1beta1"])
def test_before_istio_1_22_the_version_that_is_served_is_written_and_taken_back(version: str):
    """Istio 1.21 serves no v1."""
    mesh, older = FakeTelemetryMesh(), f"telemetry.istio.io/{version}"
    mesh.kinds[older, "Telemetry"] = mesh.kinds.pop((API_VERSION, "Telemetry"))
    spec = {"tracing": [{"randomSamplingPercentage": 1}]}
    mesh.put({**telemetry("theirs", "meshlab", spec), "apiVersion": older})
    for config, namespace, name in ((ALLOWED, SYSTEM, NAME), (THEIRS, "meshlab", "theirs")):
        done = enable(mesh, config, facts(mesh))
        assert [(each.namespace, each.name) for each in done.objects][:1] == [(namespace, name)]
        written = mesh.get(older, "Telemetry", name, namespace)
        assert written is not None and written["spec"] == EVERY
        restore(mesh, done)
    assert mesh.get(older, "Telemetry", NAME, SYSTEM) is None
    kept = mesh.get(older, "Telemetry", "theirs", "meshlab")
    assert kept is not None and kept["spec"] == spec


def test_a_cluster_that_serves_no_telemetry_refuses():
    mesh = FakeTelemetryMesh()
    del mesh.kinds[API_VERSION, "Telemetry"]
    with pytest.raises(KubeError, match="Telemetry"):
        enable(mesh, OURS, facts(mesh))


def test_the_oldest_object_of_a_namespace_is_changed_because_istiod_ignores_the_others():
    spec = {"accessLogging": [{"providers": [{"name": "x"}]}], "tracing": [{"randomSamplingPercentage": 1}]}
    mesh = FakeTelemetryMesh(
        [
            telemetry("later", SYSTEM, {"metrics": []}, created="2026-03-01T00:00:00Z"),
            telemetry("theirs", SYSTEM, spec, created="2026-02-01T00:00:00Z"),
            telemetry("of-one", SYSTEM, {"selector": {"matchLabels": {"app": "a"}}, "tracing": []}),
        ]
    )
    done = enable(mesh, OURS, facts(mesh))
    assert done.objects == (Before(SYSTEM, "theirs", made=False, tracing=({"randomSamplingPercentage": 1},)),)
    assert mesh.spec("theirs", SYSTEM) == spec | EVERY
    restore(mesh, done)
    assert mesh.spec("theirs", SYSTEM) == spec
    assert mesh.spec("later", SYSTEM) == {"metrics": []}
    assert mesh.spec(NAME, SYSTEM) is None


def test_an_object_without_tracing_loses_ours_again_and_nothing_else():
    spec = {"accessLogging": [{"providers": [{"name": "x"}]}]}
    mesh = FakeTelemetryMesh([telemetry("logs", SYSTEM, spec)])
    done = enable(mesh, OURS, facts(mesh))
    assert mesh.spec("logs", SYSTEM) == spec | EVERY
    restore(mesh, done)
    assert mesh.spec("logs", SYSTEM) == spec
    mesh.delete(API_VERSION, "Telemetry", "logs", SYSTEM)
    restore(mesh, done)  # gone meanwhile: not made again
    assert mesh.spec("logs", SYSTEM) is None


def test_tracing_of_the_apps_namespace_would_win_over_the_meshs():
    own = {"tracing": [{"disableSpanReporting": True}]}
    mesh = FakeTelemetryMesh([telemetry("off", "default", own)])
    done = enable(mesh, OURS, facts(mesh))
    assert [each.namespace for each in done.objects] == [SYSTEM, "default"]
    assert mesh.spec("off", "default") == EVERY
    restore(mesh, done)
    assert mesh.spec("off", "default") == own
    metrics = FakeTelemetryMesh([telemetry("metrics", "default", {"metrics": []})])
    assert len(enable(metrics, OURS, facts(metrics)).objects) == 1


def test_an_interrupted_runs_object_is_ours():
    mesh = FakeTelemetryMesh()
    enable(mesh, OURS, facts(mesh))
    restore(mesh, enable(mesh, OURS, facts(mesh)))
    assert mesh.spec(NAME, SYSTEM) is None


def test_the_provider_is_the_one_that_leads_to_jaeger():
    assert found_in(FakeTelemetryMesh()) == "jaeger"
    assert found_in(FakeTelemetryMesh(providers=[OTHER, ZIPKIN])) == "zip"
    with pytest.raises(
        IstioError, match=r"no extension provider of the mesh leads to Jaeger \(it has: otel\)"
    ):
        found_in(FakeTelemetryMesh(providers=[OTHER]))
    with pytest.raises(IstioError, match="has: none"):
        found_in(FakeTelemetryMesh(providers=[]))


def test_without_its_service_istiod_would_leave_tracing_out():
    mesh = FakeTelemetryMesh(services=())
    with pytest.raises(IstioError, match="no service of this cluster") as caught:
        enable(mesh, OURS, facts(mesh))
    assert "Services first" in caught.value.remedy
    assert mesh.spec(NAME, SYSTEM) is None


def test_without_a_configuration_it_says_so():
    with pytest.raises(IstioError, match="no mesh configuration"):
        find_provider(FakeTelemetryMesh(), Mesh("default"))


def test_a_control_plane_of_a_revision_with_a_root_namespace_of_its_own():
    host = "jaeger-collector.istio-system.svc.corp.local"
    config = {
        "rootNamespace": "mesh-config",
        "extensionProviders": [{"name": "spans", "opentelemetry": {"service": host, "port": 4317}}],
    }
    mesh = FakeTelemetryMesh(
        [
            istiod("canary", domain="corp.local"),
            mesh_map(config, "canary"),
            mesh_map({"extensionProviders": [OTHER]}),
        ]
    )
    done = enable(mesh, OURS, read_facts(mesh, "default"))
    assert done == Restore("spans", (Before("mesh-config", NAME, made=True),))
    assert JAEGER["name"] == "jaeger"


def test_a_collector_of_somebody_else_serves_on_a_mesh_of_somebody_else():
    there = make_object("v1", "Service", "collector", "observability")
    mesh = FakeTelemetryMesh([there], providers=[OTHER])
    assert find_provider(mesh, facts(mesh), anywhere=True) == "otel"
    done = enable(mesh, THEIRS, facts(mesh))
    assert done.provider == "otel"
    assert mesh.spec(NAME, "meshlab") == {
        "tracing": [{"providers": [{"name": "otel"}], "randomSamplingPercentage": 100.0}]
    }
    for providers in ([], [{"name": "logs", "envoyFileAccessLog": {"path": "/dev/stdout"}}], [OTHER]):
        with pytest.raises(NotHereError, match="no tracing"):
            bare = FakeTelemetryMesh(providers=providers)
            find_provider(bare, facts(bare), anywhere=True)
