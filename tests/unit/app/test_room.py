"""On a closed mesh the run allows exactly its own calls; on any other it makes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from meshlab.app import room
from meshlab.app.metrics_server import MetricsServer
from meshlab.config.settings import LabConfig
from meshlab.istio.mesh import Mesh, Provider
from tests.fakes.kube import FakeExecStream, FakeKube

NIGHT = LabConfig(cluster="existing")
MESH = Mesh(
    "meshlab",
    trust_domain="corp.example",
    cluster_domain="corp.local",
    root_namespace="mesh-config",
    providers=(
        Provider("jaeger", "opentelemetry", "jaeger-collector.istio-system.svc.corp.local", 4317),
        Provider("zipkin", "zipkin", "istio-system/zipkin.istio-system.svc", 9411),
        Provider("elsewhere", "zipkin", "spans.example.com", 9411),
        Provider("prometheus", "prometheus"),
    ),
)
ASKED = MetricsServer("istio-system", "prometheus", 9090)
SIDECAR = {"apiVersion": "networking.istio.io/v1", "kind": "Sidecar"}
POLICY = {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy"}
PEER = {"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication"}


def cluster(*objects: dict[str, Any]) -> FakeKube:
    kube = FakeKube()
    for kind in (SIDECAR, POLICY, PEER):
        kube.kinds[kind["apiVersion"], kind["kind"]] = True
    for each in objects:
        kube.put(each)
    return kube


def made(
    kind: dict[str, str], namespace: str, spec: dict[str, Any], name: str = "theirs", **meta: Any
) -> dict:
    return {**kind, "metadata": {"name": name, "namespace": namespace, **meta}, "spec": spec}


def test_on_an_open_mesh_nothing_is_made() -> None:
    assert room.before_pods(cluster(), MESH, NIGHT, ASKED) == []  # type: ignore[arg-type]
    assert room.for_plaintext(cluster(), MESH, NIGHT) == []  # type: ignore[arg-type]
    assert room.own_policies(cluster(), "meshlab") == ()  # type: ignore[arg-type]
    assert room.before_pods(FakeKube(), MESH, NIGHT, ASKED) == []  # type: ignore[arg-type]  # no Istio is there


EACH = (
    "productpage-v1",
    "details-v1",
    "ratings-v1",
    "reviews-v1",
    "reviews-v2",
    "reviews-v3",
    "tcp-echo",
)


@pytest.mark.parametrize(
    ("namespace", "spec", "meta", "closed"),
    [
        ("mesh-config", {}, {}, EACH),
        ("meshlab", {"rules": [{"to": [{"operation": {"methods": ["GET"]}}]}]}, {}, EACH),
        ("mesh-config", {"selector": {"matchLabels": {"app": "ratings"}}}, {}, ("ratings-v1",)),
        ("meshlab", {"selector": {"matchLabels": {"app": "reviews"}}}, {}, EACH[3:6]),
        ("meshlab", {"selector": {"matchLabels": {"version": "v2"}}}, {}, ("reviews-v2",)),
        ("mesh-config", {"selector": {"matchLabels": {"app": "payroll"}}}, {}, ()),
        ("meshlab", {"selector": {"matchLabels": {"app": "sleep"}}}, {}, ()),  # nobody calls it
        ("mesh-config", {"action": "DENY", "rules": [{}]}, {}, ()),
        ("mesh-config", {"targetRefs": [{"kind": "Gateway", "name": "web"}]}, {}, ()),
        ("mesh-config", {}, {"annotations": {"istio.io/dry-run": "true"}}, ()),
        ("istio-system", {}, {}, ()),  # not the root namespace of this mesh
        ("shop", {}, {}, ()),
    ],
)
def test_only_what_refuses_our_calls_is_answered(
    namespace: str, spec: dict[str, Any], meta: dict[str, Any], closed: tuple[str, ...]
) -> None:
    kube = cluster(made(POLICY, namespace, spec, **meta))
    assert tuple(each.name for each in room.closed_workloads(kube, MESH, NIGHT)) == closed  # type: ignore[arg-type]
    found = room.before_pods(kube, MESH, NIGHT, ASKED)  # type: ignore[arg-type]
    assert [each["metadata"]["name"] for each in found] == [f"{room.CALLS}-{name}" for name in closed]


def test_labels_that_are_demanded_of_everybody_are_labels_of_our_pods() -> None:
    kube = cluster(made(POLICY, "meshlab", {"selector": {"matchLabels": {"team": "payments"}}}))
    demanded = LabConfig.model_validate({"cluster": "existing", "app": {"labels": {"team": "payments"}}})
    assert len(room.before_pods(kube, MESH, demanded, ASKED)) == len(EACH)  # type: ignore[arg-type]
    assert room.before_pods(kube, MESH, NIGHT, ASKED) == []  # type: ignore[arg-type]


def test_our_policies_select_our_own_closed_pods_alone() -> None:
    """The first ALLOW policy that selects a pod refuses everybody else's calls to it."""
    theirs = made(POLICY, "meshlab", {"selector": {"matchLabels": {"app": "ratings"}}})
    kube = cluster(theirs, pod("caller", "plaintext-caller", "10.1.2.3"))
    [calls] = room.before_pods(kube, MESH, NIGHT, ASKED)  # type: ignore[arg-type]
    [plaintext] = room.for_plaintext(kube, MESH, NIGHT)  # type: ignore[arg-type]
    for each in (calls, plaintext):
        assert each["spec"]["selector"] == {"matchLabels": {"app": "ratings", "version": "v1"}}
    open_to_all = cluster(made(POLICY, "mesh-config", {}), pod("caller", "plaintext-caller", "10.1.2.3"))
    wanted = [
        *room.before_pods(open_to_all, MESH, NIGHT, ASKED),  # type: ignore[arg-type]
        *room.for_plaintext(open_to_all, MESH, NIGHT),  # type: ignore[arg-type]
    ]
    assert len(wanted) == 2 * len(EACH)
    assert all(each["spec"]["selector"]["matchLabels"]["app"] for each in wanted)


def test_our_calls_are_allowed_by_account_and_port_of_this_mesh() -> None:
    found = room.before_pods(cluster(made(POLICY, "mesh-config", {})), MESH, NIGHT, ASKED)  # type: ignore[arg-type]
    policies = {each["spec"]["selector"]["matchLabels"]["app"]: each for each in found}
    assert all(each["metadata"]["namespace"] == "meshlab" for each in found)
    ours = "corp.example/ns/meshlab/sa/"
    http = [f"{ours}{name}" for name in ("sleep", "bookinfo-productpage", "bookinfo-reviews")]
    for app in ("productpage", "details", "reviews", "ratings"):
        [rule] = policies[app]["spec"]["rules"]
        assert rule["from"] == [{"source": {"principals": http}}]
        assert rule["to"] == [{"operation": {"ports": ["9080"]}}]
    [rule] = policies["tcp-echo"]["spec"]["rules"]
    assert rule["from"] == [{"source": {"principals": [f"{ours}sleep"]}}]
    assert rule["to"] == [{"operation": {"ports": ["9000"]}}]


def test_our_own_policies_close_nothing_so_a_run_that_goes_on_finds_the_same() -> None:
    kube = cluster(made(POLICY, "mesh-config", {}))
    policies = room.before_pods(kube, MESH, NIGHT, ASKED)  # type: ignore[arg-type]
    for each in policies:
        kube.put(each)
    assert room.before_pods(kube, MESH, NIGHT, ASKED) == policies  # type: ignore[arg-type]
    assert {ref.name for ref in room.own_policies(kube, "meshlab")} == {
        f"{room.CALLS}-{name}" for name in EACH
    }  # type: ignore[arg-type]
    alone = cluster(*policies)
    assert room.before_pods(alone, MESH, NIGHT, ASKED) == []  # type: ignore[arg-type]


@pytest.mark.parametrize("hosts", [["./*", "istio-system/*"], ["*/*"]])
def test_a_root_sidecar_that_shows_what_we_call_is_left_alone(hosts: list[str]) -> None:
    kube = cluster(made(SIDECAR, "mesh-config", {"egress": [{"hosts": hosts}]}))
    assert room.before_pods(kube, MESH, NIGHT, ASKED) == []  # type: ignore[arg-type]
    assert room.before_pods(cluster(made(SIDECAR, "mesh-config", {})), MESH, NIGHT, ASKED) == []  # type: ignore[arg-type]


def test_what_a_narrow_root_sidecar_hides_is_shown_and_all_else_of_it_is_kept() -> None:
    spec = {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}, "egress": [{"hosts": ["./*"]}]}
    [scope] = room.before_pods(cluster(made(SIDECAR, "mesh-config", spec)), MESH, NIGHT, ASKED)  # type: ignore[arg-type]
    assert scope["metadata"] == {"name": room.SCOPE, "namespace": "meshlab"}
    assert scope["spec"]["outboundTrafficPolicy"] == {"mode": "REGISTRY_ONLY"}  # a Sidecar inherits nothing
    assert scope["spec"]["egress"] == [
        {
            "hosts": [
                "./*",
                "istio-system/prometheus.istio-system.svc.corp.local",
                "istio-system/jaeger-collector.istio-system.svc.corp.local",
                "istio-system/zipkin.istio-system.svc.corp.local",
            ]
        }
    ]


def test_a_listener_of_one_port_shows_nothing_elsewhere() -> None:
    listener = {"port": {"number": 3306}, "hosts": ["*/*"]}
    root = made(SIDECAR, "mesh-config", {"egress": [listener]})
    [scope] = room.before_pods(cluster(root), MESH, NIGHT, ASKED)  # type: ignore[arg-type]
    kept, added = scope["spec"]["egress"]
    assert kept == listener and added["hosts"][0] == "./*" and len(added["hosts"]) == 4


def test_a_sidecar_of_the_namespace_itself_counts_and_is_not_touched() -> None:
    root = made(SIDECAR, "mesh-config", {"egress": [{"hosts": ["./*"]}]})
    own = made(SIDECAR, "meshlab", {"egress": [{"hosts": ["./*"]}]})
    assert room.before_pods(cluster(root, own), MESH, NIGHT, ASKED) == []  # type: ignore[arg-type]
    one_pod = made(
        SIDECAR, "meshlab", {"workloadSelector": {"labels": {"app": "x"}}, "egress": [{"hosts": ["./*"]}]}
    )
    assert len(room.before_pods(cluster(root, one_pod), MESH, NIGHT, ASKED)) == 1  # type: ignore[arg-type]


def pod(name: str, app: str, ip: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "meshlab", "labels": {"app": app}, "uid": name},
        "spec": {"containers": [{"name": "curl", "image": "curl"}]},
        "status": {
            "podIP": ip,
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [
                {"name": "curl", "ready": True, "restartCount": 0, "image": "curl", "state": {}}
            ],
        },
    }


def test_plaintext_is_allowed_from_the_callers_address_only() -> None:
    kube = cluster(made(POLICY, "mesh-config", {}), pod("caller", "plaintext-caller", "10.1.2.3"))
    found = room.for_plaintext(kube, MESH, NIGHT)  # type: ignore[arg-type]
    assert [each["metadata"]["name"] for each in found] == [f"{room.PLAINTEXT}-{name}" for name in EACH]
    for each in found:
        [rule] = each["spec"]["rules"]
        echo = each["spec"]["selector"]["matchLabels"]["app"] == "tcp-echo"
        assert rule["from"] == [{"source": {"notPrincipals": ["*"], "ipBlocks": ["10.1.2.3"]}}]
        assert rule["to"] == [{"operation": {"ports": ["9000" if echo else "9080"]}}]


@pytest.mark.parametrize(
    ("answer", "kinds"),
    [("000 0.001 56", ["PeerAuthentication"]), ("403 0.001 0", []), ("200 0.001 0", [])],
    ids=["reset, as STRICT does", "refused by a policy only", "served"],
)
def test_whether_plaintext_must_be_let_in_is_asked_by_a_request(answer: str, kinds: list[str]) -> None:
    strict = made(PEER, "mesh-config", {"mtls": {"mode": "STRICT"}})
    kube = cluster(strict, pod("caller", "plaintext-caller", "10.1.2.3"))
    kube.streams = [FakeExecStream([(1, f"R 1 {answer} 0\n".encode())])]
    found = room.for_plaintext(kube, MESH, NIGHT)  # type: ignore[arg-type]
    assert [each["kind"] for each in found] == kinds
    assert [each["spec"] for each in found] == [{"mtls": {"mode": "PERMISSIVE"}}] * len(kinds)
    assert {each["metadata"]["namespace"] for each in found} <= {"meshlab"}


def test_a_namespace_with_a_peer_authentication_of_its_own_is_not_asked_and_stays_as_it_is() -> None:
    strict = made(PEER, "mesh-config", {"mtls": {"mode": "STRICT"}})
    own = made(PEER, "meshlab", {"mtls": {"mode": "STRICT"}})
    assert room.for_plaintext(cluster(strict, own), MESH, NIGHT) == []  # type: ignore[arg-type]


def test_another_prometheus_is_shown_by_its_own_name_and_none_where_there_is_none() -> None:
    root = made(SIDECAR, "mesh-config", {"egress": [{"hosts": ["./*"]}]})
    theirs = MetricsServer("monitoring", "prometheus-operated", 9090)
    for prometheus, wanted in (
        (theirs, ["monitoring/prometheus-operated.monitoring.svc.corp.local"]),
        (None, []),
    ):
        [scope] = room.before_pods(cluster(root), MESH, NIGHT, prometheus)  # type: ignore[arg-type]
        [listener] = scope["spec"]["egress"]
        assert [each for each in listener["hosts"] if "prometheus" in each] == wanted
