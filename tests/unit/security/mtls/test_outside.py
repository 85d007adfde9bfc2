"""Plaintext is sent over every path, and what the applications heard of it is counted by their own logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from meshlab.app.source import Source
from meshlab.core.errors import WaitTimeout
from meshlab.security.mtls.outside import handed_over, paths, plaintext_round
from tests.fakes.clock import FakeClock
from tests.fakes.kube import FakeExecStream, FakeKube, make_pod
from tests.unit.security.mtls.fixtures import edges

SOURCE = Source("default", "caller-1", "curl", "uid")


class Clusters:
    """The sidecars' pages of clusters: each look, the application was handed `step` requests more."""

    def __init__(self, step: int) -> None:
        self.step, self.looks = step, 0

    def json(
        self, namespace: str, pod: str, port: int, path: str, params: Mapping[str, str | int] | None = None
    ) -> Any:
        assert (port, path) == (15000, "/clusters")
        self.looks += 1
        host = {"stats": [{"name": "rq_total", "value": str(self.step * self.looks)}, {"name": "rq_error"}]}
        return {
            "cluster_statuses": [
                {"name": "inbound|9080||", "host_statuses": [host]},
                {"name": "outbound|9080||details", "host_statuses": [host]},
                {"name": "InboundPassthroughCluster"},
            ]
        }


def answers(kube: FakeKube, line: str) -> FakeExecStream:
    """A stream that reports `line` for each request that it was told to send."""

    class Telling(FakeExecStream):
        told = False

        def __init__(self) -> None:
            super().__init__([])

        def update(self, timeout: float = 0) -> None:
            if not self.told:
                argv = kube.opened[-1][3]
                number, urls = int(argv[4]), argv[6:]
                text = "".join(f"R {n} {line}\n" for _ in urls for n in range(number))
                self._channels = {1: text.encode()}
                self.told = True
            super().update(timeout)

    return Telling()


def cluster(line: str) -> FakeKube:
    kube = FakeKube([make_pod(edge.target_pod.name) for edge in edges()])
    kube.streams = [answers(kube, line)]
    return kube


def test_every_server_is_reached_by_service_and_by_address() -> None:
    found = paths(edges(), "default")
    assert [(path.name, path.url) for path in found] == [
        ("details by service", "http://details.default.svc:9080/details/0"),
        ("productpage by service", "http://productpage.default.svc:9080/productpage"),
        ("details-v1 by pod IP", "http://10.0.0.3:9080/details/0"),
        ("productpage-v1 by pod IP", "http://10.0.0.2:9080/productpage"),
    ]


def test_lines_of_the_log_and_requests_handed_over_are_counted_by_way() -> None:
    kube = cluster("200 0.01 0 1")

    def log(pod: str) -> str:
        urls = kube.opened[-1][3][6:]
        return "".join(f'"GET {url}" 200\n' * 3 for url in urls if "details" in url or "0.3" in url)

    class Logs(dict):
        def __getitem__(self, key: tuple[str, str, bool]) -> str:
            return log(key[0]) if key[0].startswith("details") else "started\n"

    kube.logs = Logs()
    found = plaintext_round(kube, Clusters(5), SOURCE, edges(), 3, "mark", clock=FakeClock())
    assert found.heard["details by service"] == found.heard["details-v1 by pod IP"] == 3
    assert found.heard["productpage by service"] == 0
    assert set(found.handed) == {"details-v1-0", "productpage-v1-0"}
    assert all(count > 0 for count in found.handed.values())
    assert len({path.url for path, _ in found.paths}) == 4


def test_a_log_that_goes_on_growing_is_no_count() -> None:
    kube = cluster("200 0.01 0 1")
    seen: list[int] = []

    class Logs(dict):
        def __getitem__(self, key: object) -> str:
            seen.append(1)
            return "mark\n" * len(seen)

    kube.logs = Logs()
    with pytest.raises(WaitTimeout, match="logs to stand still"):
        plaintext_round(kube, Clusters(0), SOURCE, edges(), 3, "mark", clock=FakeClock())


def test_only_inbound_requests_are_handed_to_the_application() -> None:
    assert handed_over(Clusters(7), "default", "details-1") == 7
