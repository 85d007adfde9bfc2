"""The addon's manifest is Istio's own: its Services first, its image replaced only where images are ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from meshlab.config.settings import LabConfig
from meshlab.core.errors import IstioError, KubeError, QueryError, WaitTimeout
from meshlab.istio.distribution import Distribution
from meshlab.kube.apply import delete, read_manifests
from meshlab.observability.addons.jaeger import JAEGER, announce
from meshlab.observability.addons.jaeger_client import JaegerClient
from tests.fakes.clock import FakeClock
from tests.fakes.jaeger import FakeJaeger, page_trace, refusal
from tests.fakes.kube import make_pod
from tests.fakes.mesh import ReadyMesh, make_object

IMAGES = ("localhost/meshlab/jaeger:abc", "localhost/meshlab/prometheus:abc")
SYSTEM = "istio-system"


def service(name: str, port: tuple[str, int]) -> dict[str, Any]:
    ports = [{"name": port[0], "port": port[1]}]
    made = make_object("v1", "Service", name, SYSTEM, app="jaeger")
    return {**made, "spec": {"selector": {"app": "jaeger"}, "ports": ports}}


def addon() -> list[dict[str, Any]]:
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "jaeger"}}}
    pod = {"containers": [{"name": "jaeger", "image": "registry.example/jaegertracing/jaeger:2.17.0"}]}
    deployment = make_object("apps/v1", "Deployment", "jaeger", SYSTEM)
    return [
        {**deployment, "spec": {**spec, "template": {"spec": pod}}},
        service("tracing", ("http-query", 80)),
        {**make_object("v1", "ConfigMap", "jaeger", SYSTEM), "data": {"config.yaml": "service: {}\n"}},
        service("zipkin", ("http-query", 9411)),
        service("jaeger-collector", ("jaeger-collector-http", 14268)),
    ]


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    path = tmp_path / "samples" / "addons" / "jaeger.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump_all(addon()))
    return tmp_path / "samples"


def known(samples: Path, images: tuple[str, ...] = ()) -> Distribution:
    return Distribution("release", Path("istioctl"), "1", samples, images)


def config(**more: Any) -> LabConfig:
    return LabConfig.model_validate({"cluster": "existing", "allow_changes": True, **more})


def test_with_official_images_nothing_changes(samples: Path):
    assert JAEGER.manifest(known(samples), config(), IMAGES) == read_manifests(samples / "addons")


def test_embedded_images_change_the_image_and_nothing_else(samples: Path):
    made = JAEGER.manifest(known(samples), config(images="embedded"), IMAGES)
    container = made[0]["spec"]["template"]["spec"]["containers"][0]
    assert container == {"name": "jaeger", "image": IMAGES[0]}
    assert made[1:] == read_manifests(samples / "addons")[1:]
    with pytest.raises(IstioError, match="no embedded image replaces"):
        JAEGER.manifest(known(samples), config(images="embedded"), IMAGES[1:])


def test_services_alone_come_first_and_the_rest_follows(samples: Path):
    mesh = ReadyMesh()
    refs = announce(config(), known(samples), mesh)
    assert [ref.name for ref in refs] == ["tracing", "zipkin", "jaeger-collector"]
    assert {kind for _, kind, _ in mesh.calls} == {"Service"}
    refs = JAEGER.deploy(config(), known(samples), mesh)
    assert len(refs) == 5
    delete(mesh, refs)
    assert mesh.store == {}


def test_images_are_named_or_looked_up(samples: Path):
    mesh = ReadyMesh()
    JAEGER.deploy(config(images="embedded"), known(samples), mesh, held=IMAGES)
    stored = mesh.get("apps/v1", "Deployment", "jaeger", SYSTEM)
    assert stored["spec"]["template"]["spec"]["containers"][0]["image"] == IMAGES[0]
    node = {**make_object("v1", "Node", "n1"), "status": {"images": [{"names": [IMAGES[0]]}]}}
    mesh = ReadyMesh([node])
    JAEGER.deploy(config(images="embedded"), known(samples), mesh)
    assert mesh.get("apps/v1", "Deployment", "jaeger", SYSTEM) is not None


def test_a_jaeger_that_is_there_is_used(samples: Path):
    mesh = ReadyMesh(addon()[:2])
    theirs = config(allow_changes=False)
    assert announce(theirs, known(samples), mesh) == ()
    assert JAEGER.deploy(theirs, known(samples), mesh) == ()
    assert mesh.calls == []


def test_what_was_announced_before_a_second_attempt_is_not_taken_for_somebody_else_s(samples: Path):
    mesh = ReadyMesh()
    first, second = (announce(config(), known(samples), mesh) for _ in range(2))
    assert first == second and JAEGER.place(mesh, config()) is not None


@pytest.mark.parametrize("ready", ["True", "False"])
def test_services_with_pods_are_somebody_else_s(samples: Path, ready: str):
    """Of a StatefulSet, say; one that is not Ready is there all the same."""
    status = {"conditions": [{"type": "Ready", "status": ready}]}
    pod = make_pod("traces-0", namespace=SYSTEM, labels={"app": "jaeger"}, **status)
    mesh = ReadyMesh([*addon()[1:], pod])
    assert JAEGER.is_external(config(), mesh)
    assert announce(config(), known(samples), mesh) == JAEGER.deploy(config(), known(samples), mesh) == ()
    assert mesh.calls == []


@pytest.mark.parametrize("selector", [None, {}, {"app": "tempo"}, {"app": "jaeger", "part": "query"}])
def test_services_unlike_the_shipped_ones_are_somebody_else_s_without_pods_too(
    samples: Path, selector: dict[str, str] | None
):
    """Their endpoints are written by hand, or their pods are down for the moment."""
    theirs = service("tracing", ("http-query", 80))
    theirs["spec"]["selector"] = selector
    mesh = ReadyMesh([theirs])
    assert announce(config(), known(samples), mesh) == JAEGER.deploy(config(), known(samples), mesh) == ()
    assert mesh.calls == [] and mesh.get("v1", "Service", "tracing", SYSTEM) == theirs


def test_without_leave_none_is_put_there(samples: Path):
    mesh = ReadyMesh()
    for step in (announce, JAEGER.deploy):
        with pytest.raises(KubeError, match="may not put one there") as caught:
            step(config(allow_changes=False), known(samples), mesh)
        assert "--allow-changes" in caught.value.remedy
    assert mesh.calls == []


def test_waiting_until_it_answers():
    with FakeJaeger([page_trace()]) as server:
        JAEGER.wait_answering(JaegerClient(server.url), timeout=1, clock=FakeClock())
        server.replies["/jaeger/api/services"] = refusal(503, "starting")
        with pytest.raises(WaitTimeout, match="503: starting"):
            JAEGER.wait_answering(JaegerClient(server.url), timeout=1, clock=FakeClock())
        server.replies.clear()  # something else listens there: waiting does not help
        with pytest.raises(QueryError, match="404"):
            JAEGER.wait_answering(JaegerClient(server.url), timeout=1, clock=FakeClock())


class DeadForward:
    """A port-forward that leads nowhere, and knows why."""

    url = "http://127.0.0.1:1"
    last_error = KubeError("no pod of istio-system/svc/tracing:80 is Ready (0 in all)")


def test_a_client_names_why_its_port_forward_leads_nowhere():
    with pytest.raises(WaitTimeout, match=r"no pod of .* is Ready \(0 in all\)"):
        JAEGER.wait_answering(JAEGER.client(DeadForward()), timeout=1, clock=FakeClock())


def test_one_that_was_scaled_to_0_gets_its_pod_back(samples: Path):
    mesh = ReadyMesh()
    JAEGER.deploy(config(), known(samples), mesh)
    scaled = mesh.get("apps/v1", "Deployment", "jaeger", SYSTEM)
    document = read_manifests(samples / "addons")[0]
    applied = {**document, "spec": {**document["spec"], "replicas": 0}}  # what server-side apply leaves
    assert scaled is not None and JAEGER.put(mesh, config(), [applied])
    found = mesh.get("apps/v1", "Deployment", "jaeger", SYSTEM)
    assert found is not None and found["spec"]["replicas"] == 1
