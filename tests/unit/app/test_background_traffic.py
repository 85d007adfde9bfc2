"""The streams that the dashboards need: who sends what, and an account of all of it."""

from __future__ import annotations

from typing import Any

import pytest

from meshlab.app.background_traffic import BackgroundTraffic, Stream, streams
from meshlab.app.metrics_server import MetricsServer
from meshlab.app.script import loop_argv
from meshlab.config.settings import LabConfig
from meshlab.core.errors import ExecError, KubeError
from meshlab.istio.mesh import INGRESS, Gateway, Mesh
from tests.fakes.kube import FakeExecStream, FakeKube, exit_status, make_pod

TWO = (
    Stream("page", "app=plaintext-caller", "http://page"),
    Stream("tcp", "app=sleep", "telnet://echo:9000", 2.0),
)


def cluster(*sent: Any) -> FakeKube:
    kube = FakeKube([make_pod(name, labels={"app": name}) for name in ("plaintext-caller", "sleep")])
    kube.streams = list(sent)
    return kube


def loop(*lines: str) -> FakeExecStream:
    """A loop that sends these before it is stopped."""
    body = "".join(f"R {number} {line}\n" for number, line in enumerate(lines, 1))
    return FakeExecStream([(1, f"B 0\n{body}".encode()), None, (1, f"E {len(lines)}\n".encode())])


def test_every_stream_sends_from_its_own_pod_and_is_counted():
    kube = cluster(loop("200 0.1 0", "200 0.1 0"), loop("echo 1.0 0"))
    traffic = BackgroundTraffic(kube, "default", TWO)  # type: ignore[arg-type]
    with traffic:
        assert traffic.running
    found = traffic.stop_and_drain()
    assert not traffic.running
    for (_, pod, _, argv, _), stream in zip(kube.opened, TWO, strict=True):
        assert pod in stream.selector and stream.url in argv[2]
        told = {"run": "r", "name": "n", "count": None, "request_timeout": 15.0}
        assert list(argv[4:]) == loop_argv(stream.url, interval=stream.interval, **told)[4:]
    assert {name: result.sent for name, result in found.streams.items()} == {"page": 2, "tcp": 1}
    assert (found.sent, found.problems, str(found)) == (3, (), "page 2 of 2, tcp 1 of 1")
    assert traffic.snapshot() == found


def test_a_stream_of_failures_and_a_broken_one_are_told():
    kube = cluster(loop("503 0.1 0"), FakeExecStream([(1, b"B 0\nR 1 000 1.0 7\n"), (1, b"E 2\n")]))
    with BackgroundTraffic(kube, "default", TWO) as traffic:  # type: ignore[arg-type]
        pass
    found = traffic.stop_and_drain()
    assert found.problems == (
        "page: none of 1 went well, {'503': 1}",
        "tcp: none of 1 went well, {'000': 1}",
        "tcp: the loop sent 2 requests, 1 lines of them arrived",
    )


def test_when_one_cant_start_those_before_it_are_ended():
    first = loop("200 0.1 0")
    kube = cluster(first, FakeExecStream([(1, b"X there is no curl in this container\n")], exit_status(127)))
    with pytest.raises(ExecError, match="no curl"):
        BackgroundTraffic(kube, "default", TWO).start()  # type: ignore[arg-type]
    assert first.written == [b"stop\n"]


def test_a_pod_that_is_missing():
    with pytest.raises(KubeError, match="no Ready pod app=plaintext-caller"):
        BackgroundTraffic(FakeKube(), "default", TWO)  # type: ignore[arg-type]


ADDON = MetricsServer("istio-system", "prometheus", 9090)
THEIRS = MetricsServer("metrics", "prometheus-operated", 9090, "/team")
MESH = Mesh("default", gateways=(Gateway("istio-ingressgateway", "edge", INGRESS),))


def test_the_streams_of_a_lab():
    found = {stream.name: stream for stream in streams(LabConfig(), MESH, ADDON)}
    assert {name: (stream.selector, stream.url) for name, stream in found.items()} == {
        "http-plaintext-page": ("app=plaintext-caller", "http://productpage.default.svc:9080/productpage"),
        "http-plaintext-reviews": ("app=plaintext-caller", "http://reviews.default.svc:9080/reviews/0"),
        "http-plaintext-out": ("app=sleep", "http://prometheus.istio-system.svc:9090/-/ready"),
        "tcp-mtls": ("app=sleep", "telnet://tcp-echo.default.svc:9000"),
        "tcp-plaintext": ("app=plaintext-caller", "telnet://tcp-echo.default.svc:9000"),
        "http-ingress": ("app=plaintext-caller", "http://istio-ingressgateway.edge.svc/productpage"),
    }
    assert {name: stream.wanted for name, stream in found.items() if "tcp" in name} == {
        "tcp-mtls": "echo",
        "tcp-plaintext": "echo",
    }


def test_elsewhere_the_ingress_gateway_is_left_alone():
    theirs = LabConfig(cluster="existing")
    found = {stream.name: stream.url for stream in streams(theirs, MESH, THEIRS)}
    assert "http-ingress" not in found
    assert found["http-plaintext-page"] == "http://productpage.meshlab.svc:9080/productpage"
    assert found["http-plaintext-out"] == "http://prometheus-operated.metrics.svc:9090/team/-/ready"


def test_without_a_prometheus_that_sidecars_can_call_there_is_no_such_stream():
    names = {stream.name for stream in streams(LabConfig(cluster="existing"), MESH, None)}
    assert "http-plaintext-out" not in names and "tcp-mtls" in names


@pytest.mark.parametrize(("status", "well"), [("200", 1), ("401", 1), ("000", 0)])
def test_a_prometheus_that_wants_a_password_is_heard_all_the_same(status: str, well: int):
    """One request of the stream to Prometheus, with that status."""
    [out] = [each for each in streams(LabConfig(), MESH, ADDON) if each.name == "http-plaintext-out"]
    kube = cluster(loop(f"{status} 0.1 {0 if well else 7}"))
    with BackgroundTraffic(kube, "default", [out]) as traffic:  # type: ignore[arg-type]
        sent = traffic.stop_and_drain()
    assert sent.well(out.name) == well and bool(sent.problems) is not bool(well)


def test_sleep_calls_productpage_in_none_of_them():
    """Those requests are the counted loop's; another one would void the reconciliation."""
    for stream in streams(LabConfig(), MESH, ADDON):
        assert not (stream.selector == "app=sleep" and "productpage" in stream.url)
