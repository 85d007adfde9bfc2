"""The real client library against a loopback server, so that paths, headers and translations are really made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from meshlab.core.errors import KubeError
from meshlab.core.redaction import redact
from meshlab.kube.client import Kube
from meshlab.kube.timed import CONNECT_TIMEOUT, READ_TIMEOUT
from tests.fakes.api_server import FakeApiServer
from tests.fakes.kube import make_pod

PODS = "/api/v1/namespaces/default/pods"
FORBIDDEN = (
    'pods is forbidden: User "u" cannot list resource "pods" in API group "" in the namespace "default"'
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeApiServer]:
    with FakeApiServer({}) as running:
        yield running


@pytest.fixture
def kube(server: FakeApiServer, tmp_path: Path) -> Kube:
    return Kube.connect(server.kubeconfig(tmp_path / "config"), "fake")


def test_pods_are_listed_by_namespace_and_selector(server: FakeApiServer, kube: Kube) -> None:
    server.answers["GET", PODS] = (200, {"kind": "PodList", "items": [make_pod("b"), make_pod("a")]})
    assert [pod.name for pod in kube.pods("default", "app=x")] == ["a", "b"]
    method, path, headers, _ = server.requests[-1]
    assert (method, path) == ("GET", f"{PODS}?labelSelector=app%3Dx")
    assert headers["authorization"] == "Bearer t0ken-4711"


def test_objects_carry_kind_and_version(server: FakeApiServer, kube: Kube) -> None:
    server.answers["GET", "/api/v1/pods"] = (200, {"items": [{"metadata": {"name": "a", "namespace": "n"}}]})
    (found,) = kube.objects("v1", "Pod")
    assert (found["apiVersion"], found["kind"]) == ("v1", "Pod")


def test_get_of_what_is_not_there(server: FakeApiServer, kube: Kube) -> None:
    server.answers["GET", f"{PODS}/a"] = (404, {"message": 'pods "a" not found'})
    assert kube.get("v1", "Pod", "a", "default") is None
    server.answers["GET", f"{PODS}/a"] = (200, make_pod("a"))
    assert kube.get("v1", "Pod", "a", "default") == make_pod("a")


def test_apply_is_server_side_and_takes_over(server: FakeApiServer, kube: Kube) -> None:
    meta = {"name": "shop", "annotations": {"note": "é 😀"}}
    document = {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}
    server.answers["PATCH", "/api/v1/namespaces/shop"] = (200, {**document, "status": {"phase": "Active"}})
    stored = kube.server_side_apply(document, namespace="ignored", field_manager="me")
    assert stored["status"] == {"phase": "Active"}
    _, path, headers, body = server.requests[-1]
    assert sorted(path.partition("?")[2].split("&")) == ["fieldManager=me", "force=true"]
    assert headers["Content-Type"] == "application/apply-patch+yaml"
    assert json.loads(body) == yaml.safe_load(body) == document


def test_delete_says_whether_it_was_there(server: FakeApiServer, kube: Kube) -> None:
    server.answers["DELETE", "/api/v1/namespaces/shop"] = (200, {"status": "Success"})
    assert kube.delete("v1", "Namespace", "shop")
    assert "propagationPolicy=Foreground" in server.requests[-1][1]
    server.answers["DELETE", "/api/v1/namespaces/shop"] = (404, {"message": "gone"})
    assert not kube.delete("v1", "Namespace", "shop")
    assert not kube.delete("example.org/v1", "Unknown", "x")


def test_refusals_are_translated(server: FakeApiServer, kube: Kube) -> None:
    server.answers["GET", PODS] = (403, {"message": FORBIDDEN})
    with pytest.raises(KubeError) as caught:
        kube.pods("default")
    assert caught.value.status == 403
    assert "grant the permission to list pods in namespace default to u" in caught.value.remedy


def test_unknown_kind(kube: Kube) -> None:
    with pytest.raises(KubeError) as caught:
        kube.objects("networking.istio.io/v1", "Gateway")
    assert caught.value.status == 404


def test_pod_log(server: FakeApiServer, kube: Kube) -> None:
    server.answers["GET", f"{PODS}/a/log"] = (200, "line 1\nline 2\n")
    assert kube.pod_log("default", "a", "app", previous=True, lines=7) == "line 1\nline 2\n"
    query = server.requests[-1][1].partition("?")[2]
    assert sorted(query.split("&")) == ["container=app", "previous=true", "tailLines=7"]


def test_every_call_has_a_deadline(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    request = kube.api_client.rest_client.request

    def watched(*args: Any, **options: Any) -> Any:
        seen.append(options["_request_timeout"])
        return request(*args, **options)

    monkeypatch.setattr(kube.api_client.rest_client, "request", watched)
    assert kube.version.get_code().git_version == "v1.36.1"
    kube.version.get_code(_request_timeout=1)
    assert kube.resource("v1", "Pod").namespaced
    assert seen == [(CONNECT_TIMEOUT, READ_TIMEOUT), 1, *[(CONNECT_TIMEOUT, READ_TIMEOUT)] * (len(seen) - 2)]
    assert len(seen) > 2


def test_discovery_is_kept_in_memory_only(
    kube: Kube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    kube.resource("v1", "Pod")
    kube.forget_discovery()
    kube.resource("v1", "Pod")
    assert list(folder.iterdir()) == []


def test_stream_that_the_server_refuses(server: FakeApiServer, kube: Kube) -> None:
    server.answers["GET", f"{PODS}/a/exec"] = (404, {"message": 'pods "a" not found'})
    with pytest.raises(KubeError, match='404 pods "a" not found') as caught:
        kube.open_exec("default", "a", "app", ["ls", "-l"], stdin=False)
    assert caught.value.status == 404
    assert "command=ls&command=-l" in server.requests[-1][1]


def test_server_that_is_not_there(tmp_path: Path) -> None:
    with FakeApiServer({}) as gone:
        path = gone.kubeconfig(tmp_path / "config")
    with pytest.raises(KubeError) as caught:
        Kube.connect(path).pods("default")
    assert caught.value.retryable
    assert caught.value.status is None


def test_kubeconfig_and_context_that_can_not_be_used(server: FakeApiServer, tmp_path: Path) -> None:
    with pytest.raises(KubeError, match="nowhere"):
        Kube.connect(tmp_path / "nowhere")
    with pytest.raises(KubeError, match="mars"):
        Kube.connect(server.kubeconfig(tmp_path / "config"), "mars")


@pytest.mark.parametrize("allowed", [True, False])
def test_what_the_cluster_permits(server: FakeApiServer, kube: Kube, allowed: bool) -> None:
    reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    server.answers["POST", reviews] = (201, {"spec": {}, "status": {"allowed": allowed}})
    assert kube.may("create", "", "pods/exec", "shop") is allowed
    asked = json.loads(server.requests[-1][3])["spec"]["resourceAttributes"]
    assert asked == {
        "verb": "create",
        "group": "",
        "resource": "pods",
        "subresource": "exec",
        "namespace": "shop",
    }


def test_what_it_logs_in_with_is_hidden_from_then_on(kube: Kube) -> None:
    assert kube.context == "fake" and "4711" not in redact("said t0ken-4711")
