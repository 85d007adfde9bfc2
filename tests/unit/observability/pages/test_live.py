"""Live views: drawn from Prometheus and Jaeger on loopback, at most every few seconds, and what is gone is said in place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from meshlab.config.settings import LabConfig
from meshlab.observability.addons.query import PrometheusClient
from meshlab.observability.graph.metrics import read_last
from meshlab.observability.pages.live import EVERY, Sources, View, views
from tests.fakes.clock import FakeClock
from tests.fakes.live_mesh import EDGES, RATE, FakeMesh, jaeger, samples

NAMES = ["graph", "traces", "istio-mesh-dashboard", "istio-service-dashboard", "istio-workload-dashboard"]


@pytest.fixture
def mesh() -> Iterator[FakeMesh]:
    with FakeMesh() as opened:
        yield opened


def drawn(sources: Sources, clock: FakeClock | None = None) -> dict[str, View]:
    return {view.name: view for view in views(LabConfig(), sources, domain="cluster.local", clock=clock)}


def test_the_rates_are_those_of_the_last_minute(mesh: FakeMesh) -> None:
    graph = read_last(PrometheusClient(mesh.url), "default", 60).drawn()
    assert {(edge.source[1], edge.target[1]) for edge in graph.edges} == set(EDGES)
    for edge in graph.edges:
        assert edge.rate_rps == pytest.approx(RATE, rel=0.1) and edge.mtls and edge.error_percent == 0


def test_every_view_is_drawn_from_live_data(mesh: FakeMesh, tmp_path: Path) -> None:
    with jaeger() as traces:
        found = drawn(Sources(mesh.url, traces.url, samples(tmp_path)))
        assert list(found) == NAMES
        shown = {name: view.html() for name, view in found.items()}
    assert "<svg" in shown["graph"] and "details" in shown["graph"] and "2/s" in shown["graph"]
    assert shown["traces"].count("<figure") == 2 and "Trace aaaa1111bbbb2222" in shown["traces"]
    for name in NAMES[2:]:
        assert shown[name].count('<section class="panel') == 2 and "<svg" in shown[name]
        assert "No data" not in shown[name]
    assert [name for name, view in found.items() if view.unfolded] == NAMES[:3]


def test_several_browsers_get_one_drawing_until_it_is_old(mesh: FakeMesh) -> None:
    clock = FakeClock()
    graph = drawn(Sources(mesh.url), clock)["graph"]
    first = graph.html()
    asked = len(mesh.asked)
    assert graph.html() == first and len(mesh.asked) == asked
    clock.sleep(EVERY)
    graph.html()
    assert len(mesh.asked) == 2 * asked


def test_a_lab_that_is_gone_is_said_and_heals(tmp_path: Path) -> None:
    clock, folder = FakeClock(), samples(tmp_path)
    with FakeMesh() as mesh:
        found = drawn(Sources(mesh.url, mesh.url, folder), clock)
        assert 'class="gone"' not in found["graph"].html()
    clock.sleep(EVERY)
    for name in ("graph", "traces", "istio-mesh-dashboard"):
        told = found[name].html()
        assert 'class="gone"' in told and "make lab ARGS=--keep" in told


def test_what_is_not_there_says_so(tmp_path: Path) -> None:
    found = drawn(Sources(why_none="name a release with --istioctl"))
    assert "Prometheus does not run here" in found["graph"].html()
    assert "Jaeger does not run here" in found["traces"].html()
    assert "name a release with --istioctl" in found["istio-mesh-dashboard"].html()


def test_a_quiet_mesh_is_no_error() -> None:
    with FakeMesh(began=10**11) as mesh, jaeger() as traces:
        traces.traces.clear()
        found = drawn(Sources(mesh.url, traces.url))
        assert "No request was counted" in found["graph"].html()
        assert "No trace of productpage.default" in found["traces"].html()


def test_a_query_that_is_refused_is_named_on_its_panel_only(mesh: FakeMesh, tmp_path: Path) -> None:
    folder = samples(tmp_path, second="wrong(")
    shown = drawn(Sources(mesh.url, None, folder))["istio-mesh-dashboard"].html()
    assert "No data" in shown and "refused" in shown and "<svg" in shown


def test_text_of_the_mesh_is_escaped(mesh: FakeMesh) -> None:
    bad = "<script>alert(1)</script>"
    answer = mesh.replies["/api/v1/query"]
    mesh.replies["/api/v1/query"] = lambda params: _with(answer(params), bad)  # type: ignore[operator]
    shown = drawn(Sources(mesh.url))["graph"].html()
    assert bad not in shown and "&lt;script&gt;" in shown


def _with(reply, text):  # type: ignore[no-untyped-def]
    for each in reply.body["data"]["result"]:
        if isinstance(each, dict) and "source_workload" in each["metric"]:
            each["metric"]["source_workload"] = text
    return reply
