"""Who takes part in the mixed traffic: Istio's samples as they are, and a caller without a sidecar."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from meshlab.app import traffic_clients
from meshlab.app.deployment import put_up, with_images
from meshlab.clusters.local.images import HUB
from meshlab.config.settings import LabConfig
from meshlab.core.errors import IstioError, NotHereError, WaitTimeout
from meshlab.istio.distribution import Distribution
from meshlab.istio.mesh import Mesh
from tests.fakes.clock import FakeClock
from tests.fakes.kube import FakeExecStream, FakeKube, make_pod
from tests.fakes.mesh import FakeMesh, make_object

MESH = Mesh("default")
OURS = (f"{HUB}/curl:1", f"{HUB}/tcp-echo-server:1")
DONE = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
ECHO_IMAGE = "registry.example/istio/tcp-echo-server:1.3"


class ReadyMesh(FakeMesh):
    """Every Deployment that is applied is available at once; it has Istio's routing."""

    def __init__(self, *objects: Any) -> None:
        super().__init__(objects)
        self.kinds |= {("networking.istio.io/v1", kind): True for kind in ("Gateway", "VirtualService")}

    def put(self, document: Any) -> None:
        status = {"status": DONE} if document["kind"] == "Deployment" else {}
        super().put({**document, **status})


@pytest.fixture
def distribution(tmp_path: Path) -> Distribution:
    pod = {"containers": [{"name": "tcp-echo", "image": ECHO_IMAGE, "args": ["9000,9001", "hello"]}]}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "tcp-echo"}}, "template": {"spec": pod}}
    echo = [
        make_object("v1", "Service", "tcp-echo"),
        {**make_object("apps/v1", "Deployment", "tcp-echo"), "spec": spec},
    ]
    route = [
        make_object("networking.istio.io/v1", "Gateway", "bookinfo-gateway"),
        make_object("networking.istio.io/v1", "VirtualService", "bookinfo"),
    ]
    for name, documents in ((traffic_clients.TCP_ECHO_SAMPLE, echo), (traffic_clients.GATEWAY_SAMPLE, route)):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text(yaml.safe_dump_all(documents))
    return Distribution("embedded", Path("istioctl"), "1", tmp_path, OURS)


def images(documents: list[dict[str, Any]]) -> dict[str, str]:
    return {
        each["metadata"]["name"]: each["spec"]["template"]["spec"]["containers"][0]["image"]
        for each in documents
        if each["kind"] == "Deployment"
    }


def test_only_images_are_replaced(distribution: Distribution):
    official = traffic_clients.documents(distribution, LabConfig(images="official"))
    assert images(official) == {"tcp-echo": ECHO_IMAGE, "plaintext-caller": "curlimages/curl:8.16.0"}
    ours = with_images(FakeKube(), LabConfig(), official, OURS)  # type: ignore[arg-type]
    assert images(ours) == {"tcp-echo": OURS[1], "plaintext-caller": OURS[0]}
    for document, theirs in zip(ours, official, strict=True):
        if document["kind"] == "Deployment":
            document["spec"]["template"]["spec"]["containers"][0]["image"] = images([theirs])[
                theirs["metadata"]["name"]
            ]
    assert ours == official
    with pytest.raises(IstioError, match="no embedded image replaces"):
        with_images(FakeKube(), LabConfig(), official, OURS[:1])  # type: ignore[arg-type]


def test_the_caller_has_no_sidecar_and_is_found_by_its_label(distribution: Distribution):
    [caller] = [
        d
        for d in traffic_clients.documents(distribution, LabConfig())
        if d["metadata"]["name"] == "plaintext-caller"
    ]
    labels = caller["spec"]["template"]["metadata"]["labels"]
    assert labels["sidecar.istio.io/inject"] == "false"
    assert traffic_clients.CALLER.selector == f"app={labels['app']}"


def test_the_ingress_gateway_of_others_gets_no_route(distribution: Distribution):
    def kinds(config: LabConfig) -> set[str]:
        return {document["kind"] for document in traffic_clients.documents(distribution, config)}

    theirs = LabConfig.model_validate({"cluster": "existing"})
    assert "Gateway" not in kinds(theirs)
    assert {"Gateway", "VirtualService"} <= kinds(theirs.model_copy(update={"allow_changes": True}))


def test_a_mesh_without_the_gateway_gets_no_route(distribution: Distribution):
    """`istioctl analyze` calls a Gateway whose selector finds no pod an error."""
    found = traffic_clients.documents(distribution, LabConfig(), ingress=False)
    assert {document["kind"] for document in found} == {"Service", "Deployment"}


@pytest.mark.parametrize(
    "there",
    [(), (make_object("v1", "Service", "istio-ingress", "istio-ingress"),)],
    ids=["minimal", "Helm's own name"],
)
def test_without_the_gateway_nothing_is_awaited(there: tuple[Any, ...]):
    kube, clock = FakeKube(there), FakeClock()
    assert "has no istio-ingressgateway" in traffic_clients.why_no_ingress(kube, MESH)  # type: ignore[arg-type]
    with pytest.raises(NotHereError, match="has no istio-ingressgateway"):
        traffic_clients.wait_ingress(kube, MESH, clock=clock)  # type: ignore[arg-type]
    assert (kube.opened, clock.slept) == ([], [])
    assert traffic_clients.why_no_ingress(answering(), MESH) == ""


def test_they_are_put_in_the_apps_namespace(distribution: Distribution):
    mesh = ReadyMesh()
    config = LabConfig.model_validate({"app": {"namespace": "shop"}})
    refs = put_up(mesh, config, traffic_clients.documents(distribution, config), distribution.images)
    assert {ref.namespace for ref in refs} == {"shop"}
    assert [ref.name for ref in refs if ref.kind == "Deployment"] == ["tcp-echo", "plaintext-caller"]


def test_images_that_nobody_names_are_looked_up_in_the_cluster(distribution: Distribution):
    documents = traffic_clients.documents(distribution, LabConfig())
    node = {**make_object("v1", "Node", "node-1"), "status": {"images": [{"names": list(OURS)}]}}
    found = with_images(ReadyMesh(node), LabConfig(), documents, ())
    assert images(found) == {"tcp-echo": OURS[1], "plaintext-caller": OURS[0]}
    with pytest.raises(WaitTimeout, match="no embedded image replaces"):
        with_images(ReadyMesh(), LabConfig(), documents, (), clock=FakeClock())


GATEWAY = make_object("v1", "Service", "istio-ingressgateway", "istio-system")


def answering(*statuses: str) -> FakeKube:
    kube = FakeKube([make_pod("caller", labels={"app": "plaintext-caller"}), GATEWAY])
    kube.streams = [FakeExecStream([(1, f"R 1 {status} 0.1 0 1\n".encode())]) for status in statuses]
    return kube


def test_the_route_is_awaited():
    clock = FakeClock()
    found = traffic_clients.wait_ingress(answering("000", "404", "200"), MESH, clock=clock)
    assert found.by_status == {"200": 1} and len(clock.slept) == 2


def test_a_route_that_never_comes_is_told():
    with pytest.raises(WaitTimeout, match="last seen: status 404") as caught:
        traffic_clients.wait_ingress(answering(*["404"] * 9), MESH, timeout=2, clock=FakeClock())
    assert "VirtualService" in caught.value.remedy
