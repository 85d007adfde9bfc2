"""A change counts as acknowledged only when istiod had it before a push that every proxy has taken whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meshlab.core.errors import IstioError, WaitTimeout
from meshlab.istio.acknowledge import STORED, remove_sentinels, sentinel_filter, wait_acknowledged
from meshlab.istio.istioctl import Istioctl
from meshlab.kube.pods import PodSummary
from tests.fakes.clock import FakeClock
from tests.fakes.istio_objects import mesh_map
from tests.fakes.istioctl import FakeIstioctl, Said
from tests.fakes.kube import make_pod
from tests.fakes.mesh import FakeMesh
from tests.fakes.proxies import FakePages

TYPE = "type.googleapis.com/envoy.config.listener.v3.Listener"
PODS = ("sleep-1", "productpage-1")


def cluster(*, policy_version: str = "5") -> FakeMesh:
    istiod = make_pod("istiod-1", namespace="istio-system", labels={"app": "istiod"})
    kube = FakeMesh([istiod, *(make_pod(name) for name in PODS)])
    kube.kinds |= dict.fromkeys(STORED, True)
    meta = {"name": "default", "namespace": "istio-system", "resourceVersion": policy_version}
    kube.put({"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": meta})
    return kube


def istioctl(status: str = "SYNCED") -> Istioctl:
    config = [{"typeUrl": TYPE, "configStatus": status}]
    resources = [
        {
            "node": {"id": f"{name}.default", "metadata": {"NAMESPACE": "default"}},
            "genericXdsConfigs": config,
        }
        for name in PODS
    ]
    return Istioctl(
        Path("istioctl"), runner=FakeIstioctl({"proxy-status": Said(json.dumps({"resources": resources}))})
    )


def sidecars(kube: FakeMesh) -> list[PodSummary]:
    return kube.pods("default")


def test_all_four_steps_are_awaited_and_nothing_of_ours_stays() -> None:
    kube = cluster()
    pages = FakePages(kube, lag=2)
    pages.warming["sleep-1"] = 2
    clock = FakeClock()
    found = wait_acknowledged(kube, istioctl(), sidecars(kube), clock=clock, pages=pages)
    assert set(found.proxies) == {f"{name}.default" for name in PODS}
    assert found.seconds == clock.now() > 0
    assert [call[:2] for call in kube.calls] == [("apply", "EnvoyFilter"), ("delete", "EnvoyFilter")]
    assert remove_sentinels(kube) == ()
    paths = [path for _, path in pages.asked]
    assert paths.index("/config_dump") > paths.count("/debug/configz") - 1 == 2  # istiod first, and whole


def test_nothing_is_planted_before_istiod_has_the_change() -> None:
    kube = cluster()
    pages = FakePages(kube)
    pages.frozen.add("istiod-1")
    with pytest.raises(WaitTimeout, match="istiod-1: PeerAuthentication istio-system default"):
        wait_acknowledged(kube, istioctl(), sidecars(kube), timeout=3, clock=FakeClock(), pages=pages)
    assert kube.calls == []


def test_an_object_that_istiod_has_in_an_older_version_or_still_has_is_not_seen() -> None:
    kube = cluster(policy_version="5")
    pages = FakePages(kube)
    wait_acknowledged(kube, istioctl(), sidecars(kube), clock=FakeClock(), pages=pages)
    pages.frozen.add("istiod-1")
    policy = kube.store.pop(("security.istio.io/v1", "PeerAuthentication", "istio-system", "default"))
    with pytest.raises(WaitTimeout, match="PeerAuthentication"):
        wait_acknowledged(kube, istioctl(), sidecars(kube), timeout=3, clock=FakeClock(), pages=pages)
    policy["metadata"]["resourceVersion"] = "6"
    kube.put(policy)
    with pytest.raises(WaitTimeout, match="PeerAuthentication"):
        wait_acknowledged(kube, istioctl(), sidecars(kube), timeout=3, clock=FakeClock(), pages=pages)


def test_a_policy_of_another_root_namespace_is_awaited() -> None:
    kube = cluster()
    kube.put(mesh_map({"rootNamespace": "mesh-config"}, "stable"))
    meta = {"name": "strict", "namespace": "mesh-config", "resourceVersion": "7"}
    kube.put({"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": meta})
    pages = FakePages(kube)
    wait_acknowledged(kube, istioctl(), sidecars(kube), clock=FakeClock(), pages=pages)
    pages.frozen.add("istiod-1")
    kube.put(
        {
            "apiVersion": "security.istio.io/v1",
            "kind": "PeerAuthentication",
            "metadata": meta | {"resourceVersion": "8"},
        }
    )
    with pytest.raises(WaitTimeout, match="PeerAuthentication mesh-config strict"):
        wait_acknowledged(kube, istioctl(), sidecars(kube), timeout=3, clock=FakeClock(), pages=pages)


def test_objects_of_other_revisions_and_namespaces_are_not_awaited() -> None:
    kube = cluster()
    pages = FakePages(kube)
    wait_acknowledged(kube, istioctl(), sidecars(kube), clock=FakeClock(), pages=pages)
    pages.frozen.add("istiod-1")
    for name, namespace, labels in (("a", "default", {"istio.io/rev": "canary"}), ("b", "elsewhere", {})):
        meta = {"name": name, "namespace": namespace, "labels": labels, "resourceVersion": "9"}
        kube.put({"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": meta})
    wait_acknowledged(kube, istioctl(), sidecars(kube), timeout=3, clock=FakeClock(), pages=pages)


def test_a_gateway_of_gateway_api_is_not_taken_for_istios() -> None:
    """Istiod's store tells of it, too, and Istio's kind of the same name is not there."""
    kube = cluster()
    meta = {"name": "edge", "namespace": "default", "resourceVersion": "9"}
    kube.put({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": meta})
    found = wait_acknowledged(
        kube, istioctl(), sidecars(kube), timeout=3, clock=FakeClock(), pages=FakePages(kube)
    )
    assert len(found.proxies) == len(PODS)


def test_a_proxy_that_does_not_take_the_push_is_named_and_the_sentinel_goes() -> None:
    kube = cluster()
    pages = FakePages(kube)
    pages.frozen.add("productpage-1")
    with pytest.raises(WaitTimeout, match=r"not yet: productpage-1\.default\n"):
        wait_acknowledged(kube, istioctl(), sidecars(kube), timeout=3, clock=FakeClock(), pages=pages)
    assert remove_sentinels(kube) == ()
    assert kube.calls[-1][0] == "delete"


def test_a_proxy_that_has_not_answered_or_rejected_is_no_success() -> None:
    kube = cluster()
    with pytest.raises(WaitTimeout, match=r"sleep-1\.default: LDS STALE"):
        wait_acknowledged(
            kube, istioctl("STALE"), sidecars(kube), timeout=3, clock=FakeClock(), pages=FakePages(kube)
        )


def test_a_listener_that_goes_on_warming_is_named() -> None:
    kube = cluster()
    pages = FakePages(kube)
    pages.warming["sleep-1"] = 10_000
    with pytest.raises(WaitTimeout, match="warming: sleep-1: virtualInbound"):
        wait_acknowledged(kube, istioctl(), sidecars(kube), timeout=3, clock=FakeClock(), pages=pages)


def test_it_takes_a_proxy_and_an_istiod() -> None:
    kube = cluster()
    bare = make_pod("bare")
    del bare["spec"]["initContainers"]
    kube.put(bare)
    with pytest.raises(IstioError, match=r"none of these pods has a proxy: .*/bare"):
        wait_acknowledged(
            kube, istioctl(), [pod for pod in sidecars(kube) if pod.name == "bare"], pages=FakePages(kube)
        )
    del kube.store["v1", "Pod", "istio-system", "istiod-1"]
    with pytest.raises(IstioError, match="no istiod is Ready"):
        wait_acknowledged(kube, istioctl(), sidecars(kube), clock=FakeClock(), pages=FakePages(kube))


def test_a_sentinel_that_a_killed_run_left_is_found_by_its_label() -> None:
    kube = cluster()
    kube.put(sentinel_filter("meshlab-sentinel-1", "default"))
    assert remove_sentinels(kube) == ("meshlab-sentinel-1",)
    assert remove_sentinels(kube) == ()
