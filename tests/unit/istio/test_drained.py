"""Connections of an earlier configuration are awaited."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from meshlab.core.errors import WaitTimeout
from meshlab.istio.drained import wait_drained, wait_in_force
from meshlab.kube.pods import summarise
from tests.fakes.clock import FakeClock
from tests.fakes.kube import FakeKube, make_pod
from tests.fakes.proxies import FakePages
from tests.unit.istio.test_acknowledge import cluster, istioctl

PODS = [summarise(make_pod(name)) for name in ("a", "b")]


class Gauges:
    """Each proxy's numbers of draining listeners, one per look; the last one stays."""

    def __init__(self, counts: Mapping[str, list[int]]) -> None:
        self.counts = {name: list(values) for name, values in counts.items()}

    def json(
        self, namespace: str, pod: str, port: int, path: str, params: Mapping[str, str | int] | None = None
    ) -> Any:
        if path == "/server_info":
            return {"command_line_options": {"drain_time": "45s"}}
        assert (port, path, (params or {})["format"]) == (15000, "/stats", "json")
        values = self.counts[pod]
        value = values.pop(0) if len(values) > 1 else values[0]
        return {"stats": [{"name": "listener_manager.total_listeners_draining", "value": 0},
                          {"name": "listener_manager.total_filter_chains_draining", "value": value}]}  # fmt: skip


def test_until_every_proxy_has_drained() -> None:
    clock = FakeClock()
    wait_drained(FakeKube(), PODS, clock=clock, pages=Gauges({"a": [2, 0], "b": [1, 1, 0]}))  # type: ignore[arg-type]
    assert len(clock.slept) == 2


def test_one_that_goes_on_is_named() -> None:
    with pytest.raises(WaitTimeout, match="draining: b: 3"):
        wait_drained(FakeKube(), PODS, timeout=5, clock=FakeClock(), pages=Gauges({"a": [0], "b": [3]}))  # type: ignore[arg-type]


def test_what_began_to_drain_after_the_call_is_not_awaited() -> None:
    clock = FakeClock()
    wait_drained(FakeKube(), PODS, clock=clock, pages=Gauges({"a": [0], "b": [3]}))  # type: ignore[arg-type]
    assert 45 < clock.now() < 60, "others change the mesh all the time: the proxies' own drain time is enough"


class DrainingPages(FakePages):
    """Pages of proxies that also tell what they drain: one listener, for so many looks."""

    looks = 2

    def json(
        self, namespace: str, pod: str, port: int, path: str, params: Mapping[str, str | int] | None = None
    ) -> Any:
        if path not in ("/stats", "/server_info"):
            return super().json(namespace, pod, port, path, params)
        self.asked.append((pod, path))
        self.looks -= path == "/stats"
        return Gauges({pod: [int(self.looks >= 0)]}).json(namespace, pod, port, path, params)


def test_a_change_is_in_force_when_it_is_acknowledged_and_what_was_before_has_drained() -> None:
    kube = cluster()
    conditions = [{"type": "Ready", "status": "False"}]
    kube.put(make_pod("starting", conditions=conditions, containerStatuses=[]))
    pages = DrainingPages(kube)
    wait_in_force(kube, istioctl(), "default", clock=FakeClock(), pages=pages)
    asked = [path for _, path in pages.asked]
    assert "/config_dump" not in asked[asked.index("/stats") :], "acknowledged first"
    assert pages.looks < 0, "and until none drains"
    assert {pod for pod, _ in pages.asked} == {"istiod-1", "sleep-1", "productpage-1"}, "Ready ones only"
