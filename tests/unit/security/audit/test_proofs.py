"""The request that shows a finding: what is asked, and when an answer shows it."""

from __future__ import annotations

from typing import Any

import pytest

from meshlab.app.source import Source
from meshlab.security.audit.inventory import Inventory
from meshlab.security.audit.model import Acceptance, Finding, Proof, Severity
from meshlab.security.audit.proofs import PER_RULE, Prover
from tests.fakes.kube import FakeExecStream, FakeKube, exit_status, make_pod
from tests.unit.security.audit.samples import examine, thing
from tests.unit.security.audit.test_rules import bad

MESHED = Source("shop", "sleep", "sleep", "u1")
BARE = Source("shop", "caller", "curl", "u2")


def answers(*said: str) -> FakeKube:
    """A cluster whose pods answer curl's `-w` line (or another command's output), in order."""
    kube = FakeKube()
    kube.streams = [FakeExecStream([(1, each.encode())]) for each in said]
    return kube


def finding(rule: str, **about: str) -> Finding:
    return Finding(rule, Severity.WARNING, f"Thing shop/{rule}", "why", "", about)


def proof(kube: FakeKube, one: Finding, inventory: Inventory | None = None) -> Proof | None:
    prover = Prover(kube, inventory or bad(), MESHED, BARE)  # type: ignore[arg-type]
    return prover.prove((one,))[0].proof


WEB = {"namespace": "audit-bad"}


@pytest.mark.parametrize(
    ("rule", "about", "said", "shows"),
    [
        ("strict-mtls", WEB, ["404 0 0.001"], True),
        ("strict-mtls", WEB, ["000 56 0.001"], False),
        ("default-deny", WEB, ["200 0 0.001"], True),
        ("default-deny", WEB, ["403 0 0.001"], False),
        ("deny-by-path", {**WEB, "path": "/health"}, ["403 0 0.1", "200 0 0.1"], True),
        ("deny-by-path", {**WEB, "path": "/health"}, ["200 0 0.1", "200 0 0.1"], False),
        ("deny-by-path", {**WEB, "path": "/health"}, ["403 0 0.1", "403 0 0.1"], False),
        ("destination-rule-tls", {**WEB, "host": "web", "mode": "DISABLE"}, ["503 0 0.001"], True),
        ("destination-rule-tls", {**WEB, "host": "web", "mode": "DISABLE"}, ["200 0 0.001"], False),
        ("sidecars", {"ip": "10.0.0.9", "port": "80", "pod": "x"}, ["000 56 0.002"], True),
        ("sidecars", {"ip": "10.0.0.9", "port": "80", "pod": "x"}, ["000 7 0.000000"], False),
        ("debug-ports", {"host": "10.0.0.9", "port": "5005"}, ["000 52 0.002"], True),
        ("debug-ports", {"host": "10.0.0.9", "port": "5005", "meshed": "yes"}, ["000 56 0.002"], False),
        ("debug-ports", {"host": "10.0.0.9", "port": "5005", "meshed": "yes"}, ["503 0 0.002"], False),
        ("debug-ports", {"host": "10.0.0.9", "port": "6060", "meshed": "yes"}, ["200 0 0.002"], True),
        ("run-as-root", {**WEB, "pod": "x", "container": "c"}, ["0\n"], True),
        ("run-as-root", {**WEB, "pod": "x", "container": "c"}, ["1000\n"], False),
    ],
)
def test_when_an_answer_shows_it(rule: str, about: dict[str, str], said: list[str], shows: bool) -> None:
    made = proof(answers(*said), finding(rule, **about))
    assert made is not None and made.shows is shows and made.answer


def test_what_is_asked() -> None:
    kube = answers("403 0 0.1", "200 0 0.1")
    proof(kube, finding("deny-by-path", namespace="audit-bad", path="/health"))
    (first, second) = [each[3] for each in kube.opened]
    assert first[-1].endswith("//web.audit-bad:9080/health") and second[-1].endswith(":9080//health")
    assert "--path-as-is" in second and "/dev/null" in second


def test_a_route_can_not_send_the_request_elsewhere() -> None:
    """What follows an address is a path, and one request is one request."""
    kube = answers("200 0 0.1", "200 0 0.1")
    proof(kube, finding("deny-by-path", namespace="audit-bad", path="/[1-1000000]"))
    assert "--globoff" in kube.opened[0][3]
    for prefix, path in (("@evil.test/", "/"), (".evil.test", "/"), ("/a b", "/"), ("/shop", "/shop")):
        match = [{"uri": {"prefix": prefix}}]
        virtual = thing("VirtualService", "v", "shop", {"gateways": ["edge"], "http": [{"match": match}]})
        server = {"port": {"number": 80, "protocol": "HTTP"}, "hosts": ["*"]}
        gate = thing("Gateway", "edge", "shop", {"selector": {"istio": "edge"}, "servers": [server]})
        found = examine("gateway-hosts", gate, virtual).findings[0]
        assert found.about["path"] == path
        denied = {"action": "DENY", "rules": [{"to": [{"operation": {"paths": [prefix]}}]}]}
        policy = thing("AuthorizationPolicy", "p", "shop", denied)
        (one,) = examine("deny-by-path", policy).findings
        assert one.about["path"] == (prefix if path != "/" else "")


def test_the_token_is_looked_for_and_not_read() -> None:
    kube = FakeKube()
    kube.streams = [FakeExecStream([]), FakeExecStream([], exit_status(1))]
    about = {**WEB, "pod": "x", "container": "c"}
    there = proof(kube, finding("token-mounts", **about))
    gone = proof(kube, finding("token-mounts", **about))
    assert there is not None and there.shows and gone is not None and not gone.shows
    assert kube.opened[0][3][0] == "test"


@pytest.mark.parametrize("rule", ["limits", "certificates", "istio-version"])
def test_no_request_can_show_these(rule: str) -> None:
    assert proof(FakeKube(), finding(rule, **WEB)) is None


def test_without_a_caller_nothing_is_asked() -> None:
    prover = Prover(FakeKube(), bad(), None, None)  # type: ignore[arg-type]
    (one,) = prover.prove((finding("strict-mtls", **WEB),))
    assert one.proof is None


def test_a_request_that_fails_shows_nothing_and_ends_nothing() -> None:
    kube = FakeKube()
    kube.streams = [FakeExecStream([], {"status": "Failure", "message": "executable file not found"})]
    made = proof(kube, finding("run-as-root", **WEB, pod="x", container="c"))
    assert made is not None and not made.shows and "executable file not found" in made.answer


def test_those_that_count_are_shown_first_and_only_a_few() -> None:
    def one(index: int, **more: Any) -> Finding:
        about = {"ip": "10.0.0.9", "port": "80", "pod": f"p{index}"}
        return Finding("sidecars", Severity.WARNING, f"Pod shop/p{index}", "why", "", about, **more)

    taken = Acceptance("sidecars", "*", "known")
    findings = (*(one(i, accepted=taken) for i in range(3)), *(one(i) for i in range(3, 6)))
    kube = answers(*["200 0 0.1"] * PER_RULE)
    shown = Prover(kube, bad(), MESHED, BARE).prove(findings)  # type: ignore[arg-type]
    assert [each.proof is not None for each in shown] == [False] * 3 + [True] * 3


def at_home(kube: FakeKube, home: str) -> FakeKube:
    """The same cluster, with an istiod and a pod of a namespace."""
    kube.put(make_pod("istiod-1", namespace="istio-system", labels={"app": "istiod"}))
    kube.put(make_pod("cart-1", namespace=home))
    return kube


@pytest.mark.parametrize(
    ("home", "asks"),
    [("shop", ("shop", "caller", "curl")), ("cart", ("cart", "cart-1", "istio-proxy"))],
    ids=["a pod without a sidecar", "the proxy's own user"],
)
@pytest.mark.parametrize(("said", "shows"), [("200 0 0.001", True), ("000 28 0.000000", False)])
def test_a_way_around_the_egress_gateway_is_shown_by_who_no_sidecar_holds(
    home: str, asks: tuple[str, ...], said: str, shows: bool
) -> None:
    kube = at_home(answers(said), home)
    found = proof(kube, finding("egress-policy", namespace=home, around="true"))
    assert found is not None and found.shows is shows, found
    assert kube.opened[0][:3] == asks and "10.0.0.1:8080/ready" in found.request
