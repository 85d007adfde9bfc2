"""The background traffic takes what ways the mesh has: a gateway that is not there, or not the run's, ends no night."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from meshlab.app.background_traffic import BackgroundResult, Stream
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig
from meshlab.core.errors import WaitTimeout
from meshlab.istio.mesh import Gateway, Mesh
from meshlab.run.journal import create
from tasks import traffic
from tests.fakes.kube import FakeExecStream, FakeKube, make_pod

CLUSTER = ClusterRef("existing", "shop", Path("kubeconfig"))
OURS, THEIRS = LabConfig(), LabConfig(cluster="existing", allow_changes=True)
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "istio-ingressgateway", "namespace": "istio-system"},
}
HELM = {**SERVICE, "metadata": {"name": "istio-ingress", "namespace": "istio-ingress"}}
ROUTED = b"R 1 200 0.1 0 1\n"


def sent(
    config: LabConfig,
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    *there: Any,
    answers: Sequence[bytes] = (),
) -> tuple[set[str], FakeKube]:
    """The names of the streams that were sent, and the cluster."""
    kube = FakeKube(
        [
            make_pod(name, namespace=config.namespace, labels={"app": name})
            for name in ("plaintext-caller", "sleep")
        ]
    )
    for each in there:
        kube.put(each)
    kube.streams = [FakeExecStream([(1, each)]) for each in answers]
    asked: list[Stream] = []

    class Traffic:
        def __init__(self, _: object, namespace: str, wanted: Sequence[Stream]) -> None:
            assert namespace == config.namespace
            asked.extend(wanted)

        def __enter__(self) -> Traffic:
            return self

        def __exit__(self, *_: object) -> None: ...

        def stop_and_drain(self) -> BackgroundResult:
            return BackgroundResult({}, {})

    monkeypatch.setattr(traffic, "kube_of", lambda cluster: kube)
    monkeypatch.setattr(traffic, "mesh_of", lambda *_: Mesh(config.namespace))
    monkeypatch.setattr(traffic, "BackgroundTraffic", Traffic)
    begun, enough = threading.Event(), threading.Event()
    enough.set()
    traffic.send_background_traffic.fn(create(folder, "nightly"), config, CLUSTER, begun, enough)
    assert begun.is_set()
    return {each.name for each in asked}, kube


def warnings(folder: Path) -> list[str]:
    """What the runs in a folder warn of."""
    events = [json.loads(line) for each in folder.rglob("journal.jsonl") for line in each.open()]
    return [event["text"] for event in events if event["event"] == "warning"]


@pytest.mark.parametrize("config", [OURS, THEIRS], ids=["ours", "theirs"])
def test_the_route_through_the_gateway_is_awaited_and_used(
    config: LabConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names, kube = sent(config, monkeypatch, tmp_path, SERVICE, answers=[ROUTED])
    assert "http-ingress" in names and len(kube.opened) == 1 and warnings(tmp_path) == []


@pytest.mark.parametrize("there", [(), (HELM,)], ids=["minimal", "Helm's own name"])
def test_without_the_gateway_the_others_are_sent_and_nothing_is_waited_for(
    there: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names, kube = sent(THEIRS, monkeypatch, tmp_path, *there)
    assert "http-ingress" not in names and {"http-plaintext-page", "tcp-mtls"} <= names
    assert kube.opened == [] and warnings(tmp_path) == []


def test_a_gateway_of_somebody_else_that_takes_no_route_ends_no_night(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def never(*_: object) -> None:
        raise WaitTimeout("the route", last="status 404", seconds=60)

    monkeypatch.setattr(traffic, "wait_ingress", never)
    names, _ = sent(THEIRS, monkeypatch, tmp_path, SERVICE)
    assert "http-ingress" not in names and "http-plaintext-page" in names
    [warning] = warnings(tmp_path)
    assert "status 404" in warning
    with pytest.raises(WaitTimeout):
        sent(OURS, monkeypatch, tmp_path, SERVICE)


def test_below_the_scope_of_the_mesh_the_gateway_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names, kube = sent(LabConfig(cluster="existing"), monkeypatch, tmp_path, SERVICE)
    assert "http-ingress" not in names and kube.opened == []


def test_of_several_gateways_the_one_of_istio_s_own_name_is_asked() -> None:
    mine = (
        Gateway("public", "a-team", "ingressgateway"),
        Gateway("istio-ingressgateway", "edge", "ingressgateway"),
    )
    assert Mesh("shop", gateways=mine).ingress_namespace == "edge"
    assert Mesh("shop", gateways=mine[:1]).ingress_namespace == "a-team"
