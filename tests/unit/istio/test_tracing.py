"""Tracing is on where the run may write, and afterwards everything is as it was."""

from __future__ import annotations

import pytest

from meshlab.config.settings import LabConfig
from meshlab.core.errors import IstioError
from meshlab.istio.tracing import NAME, Before, Restore, enable, find_provider, restore
from tests.fakes.mesh import make_object
from tests.fakes.telemetry import API_VERSION, JAEGER, OTHER, ZIPKIN, FakeTelemetryMesh, telemetry

OURS = LabConfig()
THEIRS = LabConfig(cluster="existing")
ALLOWED = LabConfig(cluster="existing", allow_changes=True)
EVERY = {"tracing": [{"providers": [{"name": "jaeger"}], "randomSamplingPercentage": 100.0}]}
SYSTEM = "istio-system"


@pytest.mark.parametrize(("config", "namespace"), [(OURS, SYSTEM), (ALLOWED, SYSTEM), (THEIRS, "meshlab")])
def test_of_the_mesh_where_allowed_else_of_our_namespace(config: LabConfig, namespace: str):
    mesh = FakeTelemetryMesh()
    done = enable(mesh, config)
    assert done == Restore("jaeger", (Before(namespace, NAME, made=True),))
    assert mesh.spec(NAME, namespace) == EVERY
    restore(mesh, done)
    assert mesh.spec(NAME, namespace) is None
    restore(mesh, done)  # twice is fine


def test_the_oldest_object_of_a_namespace_is_changed_because_istiod_ignores_the_others():
    spec = {"accessLogging": [{"providers": [{"name": "x"}]}], "tracing": [{"randomSamplingPercentage": 1}]}
    mesh = FakeTelemetryMesh(
        [
            telemetry("later", SYSTEM, {"metrics": []}, created="2026-03-01T00:00:00Z"),
            telemetry("theirs", SYSTEM, spec, created="2026-02-01T00:00:00Z"),
            telemetry("of-one", SYSTEM, {"selector": {"matchLabels": {"app": "a"}}, "tracing": []}),
        ]
    )
    done = enable(mesh, OURS)
    assert done.objects == (Before(SYSTEM, "theirs", made=False, tracing=({"randomSamplingPercentage": 1},)),)
    assert mesh.spec("theirs", SYSTEM) == spec | EVERY
    restore(mesh, done)
    assert mesh.spec("theirs", SYSTEM) == spec
    assert mesh.spec("later", SYSTEM) == {"metrics": []}
    assert mesh.spec(NAME, SYSTEM) is None


def test_an_object_without_tracing_loses_ours_again_and_nothing_else():
    spec = {"accessLogging": [{"providers": [{"name": "x"}]}]}
    mesh = FakeTelemetryMesh([telemetry("logs", SYSTEM, spec)])
    done = enable(mesh, OURS)
    assert mesh.spec("logs", SYSTEM) == spec | EVERY
    restore(mesh, done)
    assert mesh.spec("logs", SYSTEM) == spec
    mesh.delete(API_VERSION, "Telemetry", "logs", SYSTEM)
    restore(mesh, done)  # gone meanwhile: not made again
    assert mesh.spec("logs", SYSTEM) is None


def test_tracing_of_the_apps_namespace_would_win_over_the_meshs():
    own = {"tracing": [{"disableSpanReporting": True}]}
    mesh = FakeTelemetryMesh([telemetry("off", "default", own)])
    done = enable(mesh, OURS)
    assert [each.namespace for each in done.objects] == [SYSTEM, "default"]
    assert mesh.spec("off", "default") == EVERY
    restore(mesh, done)
    assert mesh.spec("off", "default") == own
    metrics = FakeTelemetryMesh([telemetry("metrics", "default", {"metrics": []})])
    assert len(enable(metrics, OURS).objects) == 1


def test_an_interrupted_runs_object_is_ours():
    mesh = FakeTelemetryMesh()
    enable(mesh, OURS)
    restore(mesh, enable(mesh, OURS))
    assert mesh.spec(NAME, SYSTEM) is None


def test_the_provider_is_the_one_that_leads_to_jaeger():
    assert find_provider(FakeTelemetryMesh()) == "jaeger"
    assert find_provider(FakeTelemetryMesh(providers=[OTHER, ZIPKIN])) == "zip"
    with pytest.raises(
        IstioError, match=r"no extension provider of the mesh leads to Jaeger \(it has: otel\)"
    ):
        find_provider(FakeTelemetryMesh(providers=[OTHER]))
    with pytest.raises(IstioError, match="has: none"):
        find_provider(FakeTelemetryMesh(providers=[]))


def test_without_its_service_istiod_would_leave_tracing_out():
    mesh = FakeTelemetryMesh(services=())
    with pytest.raises(IstioError, match="no service of this cluster") as caught:
        enable(mesh, OURS)
    assert "Services first" in caught.value.remedy
    assert mesh.spec(NAME, SYSTEM) is None


def test_a_control_plane_of_another_revision():
    mesh = FakeTelemetryMesh(providers=[OTHER])
    found = mesh.get("v1", "ConfigMap", "istio", SYSTEM)
    mesh.store.pop(("v1", "ConfigMap", SYSTEM, "istio"))
    with pytest.raises(IstioError, match="no mesh configuration"):
        find_provider(mesh)
    mesh.put(make_object("v1", "ConfigMap", "istio-ca-root-cert", SYSTEM) | {"data": {"root-cert.pem": ""}})
    data = {"mesh": found["data"]["mesh"].replace("otel", "o")}
    mesh.put(make_object("v1", "ConfigMap", "istio-canary", SYSTEM) | {"data": data})
    with pytest.raises(IstioError, match="it has: o"):
        find_provider(mesh)
    assert JAEGER["name"] == "jaeger"
