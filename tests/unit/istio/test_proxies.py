"""What a proxy rejected is found in its own counters, and a lagging proxy is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meshlab.core.errors import ExecError, WaitTimeout
from meshlab.istio.istioctl import Istioctl
from meshlab.istio.proxies import (
    ACKNOWLEDGED,
    ProxyUpdates,
    parse_updates,
    proxy_statuses,
    read_updates,
    wait_synced,
)
from tests.fakes.clock import FakeClock
from tests.fakes.istioctl import FakeIstioctl, Said
from tests.fakes.kube import FakeExecStream, make_pod
from tests.fakes.mesh import FakeMesh

STATS = """cluster_manager.cds.update_rejected: 0
cluster_manager.cds.update_success: 5
listener_manager.lds.update_rejected: 2
listener_manager.lds.update_success: 3
http.outbound.rds.9080.update_rejected: 1
http.outbound.rds.9080.update_success: 4
cluster.xds-grpc.update_success: 9
"""
TYPE = "type.googleapis.com/envoy.config.listener.v3.Listener"


def istioctl(*statuses: str) -> Istioctl:
    """One that knows one proxy, in one state after the other."""
    node = {"id": "sleep-1.default", "metadata": {"NAMESPACE": "default", "ISTIO_VERSION": "1.31.0"}}
    answers = [
        Said(
            json.dumps(
                {
                    "resources": [
                        {"node": node, "genericXdsConfigs": [{"typeUrl": TYPE, "configStatus": status}]}
                    ]
                }
            )
        )
        for status in statuses
    ]
    return Istioctl(Path("istioctl"), runner=FakeIstioctl({"proxy-status": answers}))


def mesh(*stats: str) -> FakeMesh:
    kube = FakeMesh([make_pod("sleep-1"), make_pod("done", phase="Succeeded")])
    kube.streams = [FakeExecStream([(1, text.encode())]) for text in stats]
    return kube


def test_counters_are_summed_by_type():
    assert parse_updates("p", STATS) == ProxyUpdates(
        "p", {"CDS": 5, "LDS": 3, "RDS": 4}, {"CDS": 0, "LDS": 2, "RDS": 1}
    )


def test_only_running_proxies_are_asked():
    kube = mesh(STATS)
    [found] = read_updates(kube, kube.pods(None))
    assert found.name == "sleep-1.default"
    assert kube.opened[0][:3] == ("default", "sleep-1", "istio-proxy")


def test_a_proxy_that_tells_nothing_is_no_success():
    kube = mesh("no such stat\n")
    with pytest.raises(ExecError, match="tells no update counters"):
        read_updates(kube, kube.pods(None))


def test_a_rejection_that_istiod_has_forgotten_is_still_an_error():
    [status] = proxy_statuses(mesh(STATS), istioctl("SYNCED").proxy_status)
    assert status.types == {"LDS": "SYNCED"}
    assert "2 rejected" in status.errors["LDS"]
    assert "CDS" not in status.errors


def test_only_the_proxies_of_one_namespace_are_asked_where_the_others_are_not_ours():
    kube = mesh()
    [status] = proxy_statuses(kube, istioctl("SYNCED").proxy_status, within="shop")
    assert status.types == {"LDS": "SYNCED"} and not status.errors
    assert kube.opened == []


def test_stale_proxies_of_others_take_no_time_from_a_run_that_asks_for_its_own():
    clock = FakeClock()
    [status] = proxy_statuses(mesh(), istioctl("STALE").proxy_status, within="shop", clock=clock)
    assert status.types == {"LDS": "STALE"} and clock.now() == 0
    proxy_statuses(mesh(STATS), istioctl("STALE").proxy_status, within="default", clock=clock)
    assert clock.now() >= ACKNOWLEDGED, "the control: one of its own is waited for"


def test_what_is_just_being_sent_is_waited_for_and_what_stays_so_is_told():
    [status] = proxy_statuses(
        mesh(STATS), istioctl("STALE", "STALE", "SYNCED").proxy_status, clock=FakeClock()
    )
    assert status.types == {"LDS": "SYNCED"}
    [status] = proxy_statuses(mesh(STATS), istioctl("STALE").proxy_status, clock=FakeClock())
    assert status.types == {"LDS": "STALE"}


def test_synced_proxies_end_the_wait():
    [status] = wait_synced(istioctl("SYNCED").proxy_status, ["sleep-1.default"], timeout=5, clock=FakeClock())
    assert status.pod == "sleep-1"


@pytest.mark.parametrize(
    ("status", "expected", "why"),
    [
        ("STALE", "sleep-1.default", "LDS STALE"),
        ("SYNCED", "gone.default", "gone.default: not connected to istiod"),
    ],
)
def test_a_timeout_names_the_proxy_and_its_state(status: str, expected: str, why: str):
    with pytest.raises(WaitTimeout, match=why):
        wait_synced(istioctl(status).proxy_status, [expected], timeout=3, clock=FakeClock())
