"""One port-forward per pod and port, kept open until the end."""

from __future__ import annotations

import pytest

from meshlab.core.errors import QueryError
from meshlab.core.http import Getter
from meshlab.envoy import admin
from meshlab.envoy.stats import attempts_at
from tests.fakes.http_server import FakeHttpServer, Reply
from tests.fakes.kube import FakeKube


def test_pages_share_a_port_forward_which_ends_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[str, int]] = []
    closed: list[str] = []
    with FakeHttpServer({"/stats": lambda params: Reply({"asked": params})}) as server:

        class Forward:
            last_error = None
            url = server.url
            target = "default/a:15000"

            def __init__(self, kube: FakeKube, *, namespace: str, pod: str, port: int) -> None:
                self.pod = pod
                opened.append((pod, port))

            def open(self) -> Forward:
                return self

            def close(self) -> None:
                closed.append(self.pod)

        monkeypatch.setattr(admin, "PortForward", Forward)
        with admin.PodPages(FakeKube()) as pages:
            for pod, port in (("a", 15000), ("a", 15000), ("a", 8080), ("b", 15000)):
                assert pages.json("default", pod, port, "/stats", {"filter": "x"}) == {
                    "asked": {"filter": ["x"]}
                }
            with pytest.raises(QueryError, match="answered /missing with 404"):
                pages.json("default", "a", 15000, "/missing")
    assert opened == [("a", 15000), ("a", 8080), ("b", 15000)]
    assert sorted(closed) == ["a", "a", "b"]


def proxy(url: str) -> Getter:
    return Getter(url, timeout=1, name="default/a:15000", remedy="look at the pod")


def test_a_page_is_text() -> None:
    with FakeHttpServer({"/stats/prometheus": Reply("istio_requests_total 1\n")}) as server:
        assert proxy(server.url).text("/stats/prometheus") == "istio_requests_total 1\n"


def test_a_status_and_a_dead_port_are_errors_that_may_heal() -> None:
    with (
        FakeHttpServer({"/clusters": Reply("no healthy upstream", 503)}) as server,
        pytest.raises(QueryError, match="with 503: no healthy upstream") as caught,
    ):
        proxy(server.url).text("/clusters")
    assert caught.value.retryable
    with pytest.raises(QueryError, match="can't be asked") as caught:
        proxy("http://127.0.0.1:9").text("/stats/prometheus")
    assert caught.value.retryable


@pytest.mark.parametrize("document", [[], {}, {"stats": [{"name": "x", "value": "many"}]}])
def test_a_page_of_another_form_is_an_error(document: object) -> None:
    with pytest.raises(QueryError):
        admin.read_stats(document)
    with pytest.raises(QueryError):
        admin.read_clusters(document)


def test_a_counter_that_is_not_told_is_not_zero() -> None:
    asked: list[dict[str, list[str]]] = []

    def answer(params: dict[str, list[str]]) -> Reply:
        asked.append(params)
        return Reply({"stats": [{"name": "a.b", "value": 3}, {"histograms": {}}]})

    with FakeHttpServer({"/stats": answer}) as server:
        assert admin.read_stat(proxy(server.url), "a.b") == 3
        with pytest.raises(QueryError) as caught:
            admin.read_stat(proxy(server.url), "a.c")
    assert asked == [{"filter": [f"^{name}$"], "format": ["json"]} for name in ("a.b", "a.c")]
    assert caught.value.remedy and not caught.value.retryable


def test_attempts_are_summed_by_endpoint_of_the_service() -> None:
    def host(address: str, **stats: str) -> dict:
        return {
            "address": {"socket_address": {"address": address, "port_value": 9080}},
            "stats": [{"name": name, "value": value} for name, value in stats.items()]
            + [{"name": "rq_error"}],
        }

    document = {
        "cluster_statuses": [
            {
                "name": "outbound|9080||productpage.default.svc.cluster.local",
                "host_statuses": [host("10.0.0.9", rq_total="31", rq_success="30")],
            },
            {
                "name": "outbound|9080||productpage.other.svc.cluster.local",
                "host_statuses": [host("10.0.0.8")],
            },
            {"name": "inbound|9080||", "host_statuses": [host("10.0.0.7", rq_total="9")]},
            {"name": "prometheus_stats"},
        ]
    }
    clusters = admin.read_clusters(document)
    assert attempts_at(clusters, "productpage.default.svc.cluster.local") == (
        admin.Attempts("outbound|9080||productpage.default.svc.cluster.local", "10.0.0.9:9080", 31, 30, 0),
    )
