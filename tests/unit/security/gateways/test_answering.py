import json
from typing import Any

import pytest

from meshlab.core.errors import KubeError, QueryError, WaitTimeout
from meshlab.envoy import admin
from meshlab.security.gateways import answering, settled
from tests.fakes.clock import FakeClock
from tests.fakes.http_server import FakeHttpServer, Reply
from tests.fakes.kube import FakeKube, make_pod


class Forward:
    """Stands in for PortForward: leads to a server on loopback, whatever it is asked to lead to."""

    server: FakeHttpServer

    last_error = None

    def __init__(self, kube: Any, *, namespace: str, port: int, **target: str) -> None:
        assert port == 15000
        self.url, self.target = self.server.url, f"{namespace}/{target}:{port}"

    def open(self) -> "Forward":
        return self

    def close(self) -> None:
        return None

    def __enter__(self) -> "Forward":
        return self

    def __exit__(self, *_: object) -> None:
        return None


def told(counts: dict[str, int]) -> Reply:
    return Reply({"stats": [{"name": name, "value": value} for name, value in counts.items()]})


def stats(monkeypatch: pytest.MonkeyPatch, module: Any, reply: Any) -> FakeHttpServer:
    server = FakeHttpServer({"/stats": reply})
    monkeypatch.setattr(Forward, "server", server, raising=False)
    monkeypatch.setattr(module, "PortForward", Forward)
    return server


def test_the_pod_answers_what_it_was_told_and_names_who_asked() -> None:
    config = answering.envoy_config({"/": "here\n", "/keys.json": "{}"})
    (listener,) = config["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    routes = manager["route_config"]["virtual_hosts"][0]["routes"]
    assert [route["match"]["path"] for route in routes] == ["/", "/keys.json"]
    assert routes[0]["direct_response"]["body"] == {"inline_string": "here\n"}
    assert config["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"


def test_the_pod_runs_the_proxy_s_image_without_a_sidecar_and_without_rights() -> None:
    found = {
        each["kind"]: each for each in answering.documents("pages", "shop", "proxy:1", {"/": "x"}, ["a"])
    }
    assert json.loads(found["ConfigMap"]["data"]["envoy.json"]) == answering.envoy_config({"/": "x"})
    template = found["Deployment"]["spec"]["template"]
    assert template["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"
    (container,) = template["spec"]["containers"]
    assert container["image"] == "proxy:1"
    assert container["securityContext"]["runAsNonRoot"] and container["resources"]["limits"]
    assert template["spec"]["automountServiceAccountToken"] is False
    assert found["Service"]["spec"]["selector"] == found["Deployment"]["spec"]["selector"]["matchLabels"]


def test_the_image_is_one_that_runs_here() -> None:
    kube = FakeKube([make_pod("gateway", namespace="istio-system")])
    assert answering.proxy_image(kube, "shop", "istio-system") == "proxy:1"  # type: ignore[arg-type]
    with pytest.raises(KubeError, match="no pod of shop runs a proxy"):
        answering.proxy_image(kube, "shop")  # type: ignore[arg-type]


def test_it_counts_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"http.admin.downstream_rq_total": 3, "http.pages.downstream_rq_total": 12}
    with stats(monkeypatch, answering, told(counts)):
        assert answering.answered(FakeKube(), "shop", "pages") == 12  # type: ignore[arg-type]


def test_no_count_is_not_none_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        stats(monkeypatch, answering, told({"http.admin.downstream_rq_total": 3})),
        pytest.raises(QueryError),
    ):
        answering.answered(FakeKube(), "shop", "pages")  # type: ignore[arg-type]


def test_clusters_are_awaited_by_what_envoy_says(monkeypatch: pytest.MonkeyPatch) -> None:
    left = iter([2, 1, 0])
    pods = FakeKube([make_pod("gateway")]).pods("default")
    server = stats(monkeypatch, admin, lambda _: told({settled.WARMING: next(left)}))
    with server:
        settled.wait_clusters(FakeKube(), pods, clock=FakeClock())  # type: ignore[arg-type]
    assert next(left, None) is None


def test_a_cluster_that_stays_cold_is_a_timeout_that_names_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    pods = FakeKube([make_pod("gateway")]).pods("default")
    with (
        stats(monkeypatch, admin, told({settled.WARMING: 1})),
        pytest.raises(WaitTimeout, match=r"default/gateway.*1 cluster still warming"),
    ):
        settled.wait_clusters(FakeKube(), pods, timeout=1, clock=FakeClock())  # type: ignore[arg-type]


def test_a_proxy_that_does_not_tell_is_no_settled_one(monkeypatch: pytest.MonkeyPatch) -> None:
    pods = FakeKube([make_pod("gateway")]).pods("default")
    with stats(monkeypatch, admin, told({})), pytest.raises(QueryError):
        settled.wait_clusters(FakeKube(), pods, clock=FakeClock())  # type: ignore[arg-type]
