"""Each kind of pod is known for what it is: objects as clusters with ambient, native sidecars and gateways have them."""

from __future__ import annotations

from typing import Any

import pytest

from meshlab.security.audit.workloads import Place, asks_for, place_of
from tests.unit.security.audit.samples import examine, namespace, pod, thing, told

CAPTURED = {"ambient.istio.io/redirection": "enabled"}
AMBIENT = {"istio.io/dataplane-mode": "ambient"}
INJECTED = namespace("shop", istio_injection="enabled")


def ambient() -> dict[str, Any]:
    return thing("Namespace", "shop", None, labels=AMBIENT)


HOST = pod("agent", spec={"hostNetwork": True})
JOB = pod("nightly-x", owner=("Job", "nightly"))
WAYPOINT = pod(
    "waypoint-x", proxy="waypoint", labels={"gateway.istio.io/managed": "istio.io-mesh-controller"}
)
API_GATEWAY = pod("edge-istio-x", proxy="router", labels={"gateway.networking.k8s.io/gateway-name": "edge"})
ZTUNNEL = pod(
    "ztunnel-x", "istio-system", proxy="ztunnel", owner=("DaemonSet", "ztunnel"), labels={"app": "ztunnel"}
)
CNI = pod("istio-cni-x", "istio-system", labels={"k8s-app": "istio-cni-node"}, spec={"hostNetwork": True})


@pytest.mark.parametrize(
    ("made", "place"),
    [
        (pod("x", proxy="sidecar"), Place.SIDECAR),
        (pod("x", proxy="native"), Place.NATIVE),
        (pod("x", spec={"initContainers": [{"name": "istio-proxy"}]}), Place.OUTSIDE),
        (API_GATEWAY, Place.GATEWAY),
        (WAYPOINT, Place.WAYPOINT),
        (ZTUNNEL, Place.ZTUNNEL),
        (CNI, Place.NODE_AGENT),
        (pod("x", annotations=CAPTURED), Place.CAPTURED),
        (pod("x", annotations={"ambient.istio.io/redirection": "pending"}), Place.OUTSIDE),
        (HOST, Place.HOST_NETWORK),
        (JOB, Place.OUTSIDE),
    ],
)
def test_what_a_pod_is(made: dict[str, Any], place: Place) -> None:
    assert place_of(made) is place


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [
        ({"istio-injection": "enabled"}, "sidecars"),
        ({"istio.io/rev": "prod"}, "sidecars"),
        ({"istio-injection": "disabled", "istio.io/rev": "prod"}, ""),
        (AMBIENT, "ambient"),
        ({**AMBIENT, "istio-injection": "disabled"}, "ambient"),
        ({**AMBIENT, "istio-injection": "enabled"}, "sidecars"),
        ({"istio.io/dataplane-mode": "none"}, ""),
        ({}, ""),
    ],
)
def test_what_a_namespace_asks_for(labels: dict[str, str], wanted: str) -> None:
    assert asks_for({"metadata": {"name": "shop", "labels": labels}}) == wanted


def test_pods_that_ztunnel_captured_are_in_the_mesh() -> None:
    found = examine("sidecars", ambient(), pod("web", annotations=CAPTURED), WAYPOINT, API_GATEWAY)
    assert told(found) == [] and found.looked == 3 and "1 captured by ztunnel" in found.notes[1]


def test_a_pod_of_an_ambient_namespace_that_is_not_captured() -> None:
    plain = pod("web", owner=("StatefulSet", "web"))
    out = pod("cart", owner=("StatefulSet", "cart"), labels={"istio.io/dataplane-mode": "none"})
    first, second = examine("sidecars", ambient(), plain, out).findings
    assert "not captured by ztunnel" in first.why and "opted out" in second.why
    assert "istio.io/dataplane-mode: ambient" in second.fix and "sidecar.istio.io" not in second.fix


def test_pods_on_their_nodes_network_are_never_injected() -> None:
    for home in (INJECTED, ambient()):
        found = examine("sidecars", home, HOST, pod("web", proxy="native"))
        assert told(found) == [] and "1 on its node's network" in found.notes[1]


def test_a_job_without_a_sidecar_is_told_how_its_own_is_mended() -> None:
    (finding,) = examine("sidecars", INJECTED, JOB).findings
    assert finding.resource == "Job shop/nightly" and "a Job can't be changed" in finding.fix
    assert told(examine("sidecars", INJECTED, pod("j", proxy="native", owner=("Job", "nightly")))) == []


@pytest.mark.parametrize(
    ("made", "open_"),
    [
        (pod("web", annotations=CAPTURED), True),
        (pod("web", proxy="native"), True),
        (API_GATEWAY, False),
        (WAYPOINT, False),
        (HOST, False),
        (JOB, False),
    ],
)
def test_default_deny_is_for_namespaces_with_applications(made: dict[str, Any], open_: bool) -> None:
    found = told(examine("default-deny", made, ZTUNNEL, CNI))
    assert found == ([("warning", "Namespace shop")] if open_ else [])
    closed = thing("AuthorizationPolicy", "nothing", "shop", {})
    assert told(examine("default-deny", made, closed)) == []


def test_a_namespace_whose_pods_ask_for_themselves_need_not_ask() -> None:
    plain = namespace("shop")
    assert told(examine("injection", plain, API_GATEWAY)) == []
    assert told(examine("injection", plain, HOST)) == []
    assert told(examine("injection", ambient(), pod("web"))) == []
    assert told(examine("injection", plain, API_GATEWAY, pod("web"))) == [("warning", "Namespace shop")]


def test_the_nodes_agents_of_istio_are_told_and_fail_nothing() -> None:
    strong = {"securityContext": {"runAsUser": 0, "capabilities": {"add": ["NET_ADMIN", "SYS_ADMIN"]}}}
    container = {"name": "istio-proxy", "args": ["proxy", "ztunnel"], **strong}
    agent = pod("z", "istio-system", proxy="ztunnel", spec={"containers": [container]})
    for rule in ("privileged", "run-as-root"):
        assert told(examine(rule, agent)) == [("info", "Pod istio-system/z")]
    other = pod("x", spec={"containers": [{"name": "main", **strong}]})
    for rule in ("privileged", "run-as-root"):
        assert told(examine(rule, other)) == [("warning", "Pod shop/x")]


def test_an_init_container_is_mended_among_the_init_containers() -> None:
    made = pod("x", spec={"initContainers": [{"name": "migrate"}], "containers": []})
    (finding,) = examine("limits", made).findings
    assert "initContainers:\n  - name: migrate" in finding.fix and "\n  containers:" not in finding.fix


def test_a_limit_is_never_below_what_is_requested() -> None:
    main = {"name": "main", "resources": {"requests": {"memory": "2Gi"}, "limits": {"cpu": "1"}}}
    (finding,) = examine("limits", pod("x", spec={"containers": [main]})).findings
    assert "memory: 2Gi" in finding.fix and "cpu" not in finding.fix
