"""The ways around the egress gateway: whether policies are kept at all is asked, and a stopped connection is told from others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from meshlab.config.settings import Machine
from meshlab.core.errors import KubeError, NotHereError
from meshlab.istio.mesh import EGRESS, Gateway, Mesh
from meshlab.kube.changes import Changes
from meshlab.run.journal import create
from meshlab.run.ledger import Ledger
from meshlab.security.gateways.bypass import TAKES, BypassProbe, made
from meshlab.security.gateways.exit import EgressProbe
from meshlab.security.gateways.trials import Answer
from tests.fakes.clock import FakeClock
from tests.fakes.kube import FakeExecStream, FakeKube, make_pod

MESH = Mesh("shop", gateways=(Gateway("istio-egressgateway", "edge", EGRESS),))
POLICY = ("networking.k8s.io/v1", "NetworkPolicy")
PODS = (("plain-1", "shop", "plaintext-caller"), ("bypass-1", "shop", "meshlab-bypass"))


class Nodes(FakeKube):
    """A cluster whose pods get 200, or this line while a NetworkPolicy is there."""

    def __init__(self, line: str) -> None:
        beyond = make_pod("beyond-1", namespace="beyond", labels={"app": "meshlab-outside"})
        pods = [make_pod(name, namespace=home, labels={"app": app}) for name, home, app in PODS]
        super().__init__([*pods, beyond])
        self.kinds[POLICY] = True
        self.line = line

    def open_exec(
        self, namespace: str, pod: str, container: str | None, argv: Sequence[str], *, stdin: bool
    ) -> Any:
        line = self.line if self.objects(*POLICY) else "200 0.01 0 1"
        self.opened.append((pod, argv[-1]))
        said = "".join(f"R {i + 1} {line}\n" for i in range(int(argv[4])))
        return FakeExecStream([(1, said.encode())])


@pytest.fixture
def changes(tmp_path: Path) -> Iterator[Any]:
    run = create(tmp_path, "test")
    ledger = Ledger.open(Machine.here({"HOME": str(tmp_path)}), run)
    yield lambda kube: Changes(kube, ledger, run, clock=FakeClock())
    assert ledger.entries() == ()


def probe(kube: FakeKube, changes: Any, **options: Any) -> BypassProbe:
    unused: Any = None
    egress = EgressProbe(kube, unused, unused, MESH, "beyond")  # type: ignore[arg-type]
    return BypassProbe(
        kube, unused, changes(kube), changes(kube), egress, images=lambda found: [dict(each) for each in found],
        clock=FakeClock(), **options,
    )  # type: ignore[arg-type]  # fmt: skip


@pytest.mark.parametrize("line", ["000 3.00 28 0", "000 0.01 7 0"], ids=["dropped", "rejected"])
def test_a_policy_that_lets_nothing_out_is_enforced_where_it_stops_a_pod(line: str, changes: Any) -> None:
    kube = Nodes(line)
    assert probe(kube, changes).enforced()
    assert kube.objects(*POLICY) == [], "the probe's policy is gone"
    assert [call for call in kube.calls if call[0] == "apply"] == [
        ("apply", "NetworkPolicy", "meshlab-bypass-probe")
    ]


def test_where_a_pod_is_served_all_the_same_the_check_is_skipped_with_the_reason(changes: Any) -> None:
    kube = Nodes("200 0.01 0 1")
    its = probe(kube, changes)
    with pytest.raises(NotHereError, match="not enforced"):
        its.begin()
    assert ("apply", "Deployment", "meshlab-bypass") not in kube.calls
    its._changes.restore()


def test_a_pod_that_is_refused_without_a_policy_tells_nothing(changes: Any) -> None:
    kube = Nodes("000 3.00 28 0")
    kube.put(
        {"apiVersion": POLICY[0], "kind": POLICY[1], "metadata": {"name": "theirs", "namespace": "shop"}}
    )
    with pytest.raises(KubeError, match="even without a policy"):
        probe(kube, changes).enforced()


@pytest.mark.parametrize(
    ("line", "passes", "answer"),
    [
        ("000 3.00 28 0", False, Answer("stopped: no answer in time", True)),
        ("000 0.01 7 0", False, Answer("stopped: no connection", True)),
        ("503 2.00 0 0", False, Answer("stopped: 503", True)),
        ("000 0.01 6 0", False, Answer("000, curl ended with 6", False)),
        ("404 0.01 0 0", False, Answer("404", False)),
        ("200 0.01 0 1", False, Answer("200", False)),
        ("200 0.01 0 1", True, Answer("200", True)),
        ("200 0.01 0 0", True, Answer("200", False)),
        ("000 3.00 28 0", True, Answer("stopped: no answer in time", False)),
    ],
)
def test_what_stops_a_connection_is_told_from_other_answers(
    line: str, passes: bool, answer: Answer, changes: Any
) -> None:
    kube = Nodes(line)
    kube.put({"apiVersion": POLICY[0], "kind": POLICY[1], "metadata": {"name": "it", "namespace": "shop"}})
    its = probe(kube, changes)
    assert [trial.ask() for trial in its._around(passes)] == [answer] * 4
    assert [(pod, url) for pod, url in kube.opened] == [
        ("bypass-1", "http://undeclared.beyond.svc.cluster.local/"),
        ("plain-1", "http://undeclared.beyond.svc.cluster.local/"),
        ("bypass-1", "http://excluded.beyond.svc.cluster.local:8081/"),
        ("bypass-1", "http://10.0.0.1:8080/"),
    ]


def test_the_policy_is_waited_for_and_what_it_never_keeps_is_asked_all_the_same(changes: Any) -> None:
    kube = Nodes("200 0.01 0 1")
    its = probe(kube, changes)
    its.close()
    assert its._clock is not None and its._clock.now() >= TAKES
    assert [each["metadata"]["name"] for each in kube.objects(*POLICY)] == ["meshlab-bypass"]
    its.open()
    assert kube.objects(*POLICY) == []


def test_the_policy_lets_out_to_the_gateway_the_control_plane_and_dns_only() -> None:
    objects = made(MESH, "beyond")
    spec = objects["policy"]["spec"]
    gateway, plane, names = spec["egress"]
    assert gateway["to"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "edge"}
    assert gateway["to"][0]["podSelector"]["matchLabels"] == {"istio": "egressgateway"}
    assert plane["to"][0]["podSelector"]["matchLabels"] == {"app": "istiod"}
    assert {each["port"] for each in names["ports"]} == {53}
    assert spec["policyTypes"] == ["Egress"]
    [chosen] = spec["podSelector"]["matchExpressions"]
    assert chosen["values"] == ["meshlab-bypass", "plaintext-caller"]


def test_the_caller_has_a_container_of_the_proxys_user_and_an_excluded_port() -> None:
    template = made(MESH, "beyond")["caller"]["spec"]["template"]
    assert template["metadata"]["annotations"] == {"traffic.sidecar.istio.io/excludeOutboundPorts": "8081"}
    users = {
        each["name"]: each.get("securityContext", {}).get("runAsUser")
        for each in template["spec"]["containers"]
    }
    assert users == {"curl": None, "proxy-user": 1337}
    [port] = made(MESH, "beyond")["service"]["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (8081, 8080)
