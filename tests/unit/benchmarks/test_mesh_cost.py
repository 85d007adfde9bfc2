"""The mesh's cost: what the server's sidecar used between two readings, beside a pair without sidecars."""

from __future__ import annotations

import pytest

from benchmarks.mesh_cost import PUBLISHED, Use, cost_table, documents, idle_cores, row, sidecar_use
from meshlab.app.load_result import combine
from meshlab.clusters.local import pins
from meshlab.config.settings_load import LoadProfile
from meshlab.core.errors import WaitTimeout
from meshlab.observability.addons.query import RangeSamples
from tests.fakes.clock import FakeClock
from tests.unit.app.fortio import result

FOUND = combine(LoadProfile(1000, 16, 2), [result([(0.001, 0.0011, 1900), (0.002, 0.003, 100)])])


class FakePrometheus:
    """Has one sidecar, which the kubelet reads every ten seconds: it uses 0.2 cores and 50 MB."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock, self.asked = clock, []  # type: ignore[var-annotated]

    def range_samples(
        self, selector: str, window_seconds: float, at: float | None = None
    ) -> list[RangeSamples]:
        self.asked.append(selector)
        read = self.clock.now() // 10 * 10
        value = {"cpu": read * 0.2, "memory": 50e6}["cpu" if "cpu" in selector else "memory"]
        return [RangeSamples({}, ((read - 10, value), (read, value)))]


def test_the_reading_is_one_that_was_made_after_the_load() -> None:
    clock = FakeClock(1000.0)
    prometheus = FakePrometheus(clock)
    use = sidecar_use(prometheus, "echo", 1003.0, clock)  # type: ignore[arg-type]
    assert (use.at, use.cpu, use.memory) == (1010, pytest.approx(202), 50e6)
    assert all('pod=~"echo-' in each and 'container="istio-proxy"' in each for each in prometheus.asked)


def test_a_sidecar_that_nobody_reads_is_told() -> None:
    clock = FakeClock(1000.0)
    with pytest.raises(WaitTimeout, match="sidecar of echo"):
        sidecar_use(FakePrometheus(clock), "echo", 5000.0, clock)  # type: ignore[arg-type]


def test_cpu_is_told_per_thousand_requests() -> None:
    told = row(FOUND, Use(10.0, 48e6, 1.0), Use(10.5, 52e6, 40.0))
    assert told["vcpu_per_1000rps"] == 0.25  # half a second for 2000 requests
    assert told["memory_mb"] == 52
    assert (told["reached"], told["saturated"], told["errors"]) == (1000, False, 0)
    assert 1 < told["p50"] < 1.1 < told["p99"]


def test_what_a_sidecar_uses_without_a_load_is_not_the_loads() -> None:
    clock = FakeClock(1000.0)
    idle = idle_cores(FakePrometheus(clock), "echo", 1003.0, clock)  # type: ignore[arg-type]
    assert idle == pytest.approx(0.2)
    told = row(FOUND, Use(10.0, 48e6, 1.0), Use(20.0, 52e6, 41.0), idle)
    assert told["vcpu_per_1000rps"] == pytest.approx((10 - 0.2 * 40) / 2)


def test_a_pair_without_sidecars_has_no_sidecar_s_cost() -> None:
    assert not {"vcpu_per_1000rps", "memory_mb"} & set(row(FOUND, None, None))


def test_one_server_has_a_sidecar_and_both_are_the_fortio_that_sends() -> None:
    inject, images = [], []
    for name in ("echo", "echo-plain"):
        deployment, service = documents(name)
        pod = deployment["spec"]["template"]
        inject.append(pod["metadata"]["labels"]["sidecar.istio.io/inject"])
        images.append(pod["spec"]["containers"][0]["image"])
        assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert inject == ["true", "false"]
    version = pins.requirements("fortio")["fortio.org/fortio"].removeprefix("v")
    assert images == [f"fortio/fortio:{version}"] * 2


def test_the_table_has_both_pairs_and_istio_s_figures() -> None:
    rows = [
        {"rate": 1000.0, "kind": "with sidecars", **row(FOUND, Use(10.0, 0, 1.0), Use(10.5, 52e6, 40.0))},
        {"rate": None, "kind": "without", **row(FOUND, None, None)},
    ]
    said = "\n".join(cost_table(rows, PUBLISHED))
    assert "| 1000/s | with sidecars | 1000/s | 0 |" in said and "| 0.25 | 52 |" in said
    assert "| closed loop | without | 1000/s | 0 |" in said
    assert "0.20 vCPU" in said and "60 MB" in said
