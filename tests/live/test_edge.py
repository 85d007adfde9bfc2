"""The edge's checks on a living mesh: green as it should be, red for each thing that is wrong, and nothing left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshlab.checks import egress as egress_checks
from meshlab.checks import ingress as ingress_checks
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import NotHereError
from meshlab.istio.distribution import locate
from meshlab.istio.facts import read_facts
from meshlab.istio.istioctl import Istioctl
from meshlab.kube.changes import Changes
from meshlab.kube.client import Kube
from meshlab.run.journal import create
from meshlab.run.ledger import Ledger
from meshlab.run.results import CheckResult, Verdict
from meshlab.security.gateways import egress
from meshlab.security.gateways.bypass import BypassProbe
from meshlab.security.gateways.entry import gateway_pods, opened
from meshlab.security.gateways.exit import EgressProbe
from meshlab.security.gateways.ingress import HOSTS, Document
from meshlab.security.gateways.pki import EXPIRED, make_keys
from tests.live.conftest import NAME, Ran

pytestmark = pytest.mark.live
NAMESPACE = "default"
SYSTEM = "istio-system"  # where the lab's gateways are
KINDS = (
    ("v1", "Secret"), ("v1", "ConfigMap"), ("v1", "Service"), ("v1", "Namespace"), ("apps/v1", "Deployment"),
    *(("networking.istio.io/v1", kind) for kind in ("Gateway", "VirtualService", "DestinationRule", "ServiceEntry")),
    *(("networking.istio.io/v1", kind) for kind in ("Sidecar",)),
    *(("security.istio.io/v1", kind) for kind in ("RequestAuthentication", "AuthorizationPolicy")),
)  # fmt: skip


@pytest.fixture
def kube(kept_lab: Ran, machine: Machine) -> Kube:
    return Kube.connect(machine.state / "clusters" / NAME / "kubeconfig", NAME)


@pytest.fixture
def istioctl(kept_lab: Ran, machine: Machine) -> Istioctl:
    found = locate(LabConfig(), machine=machine, images=("not:asked",))
    return Istioctl(found.istioctl, kubeconfig=machine.state / "clusters" / NAME / "kubeconfig", context=NAME)


@pytest.fixture
def changes(kube: Kube, tmp_path: Path) -> Iterator[Changes]:
    """Changes that are put back; after that the cluster holds what it held before."""
    before = inventory(kube)
    run = create(tmp_path, "test")
    ledger = Ledger.open(Machine.here({"XDG_STATE_HOME": str(tmp_path), "HOME": str(tmp_path)}), run)
    with Changes(kube, ledger, run) as made:
        yield made
    assert ledger.entries() == ()
    assert inventory(kube) == before


def inventory(kube: Kube) -> set[tuple[str, str, str]]:
    return {
        (kind, each["metadata"].get("namespace", ""), each["metadata"]["name"])
        for version, kind in KINDS
        for each in kube.objects(version, kind)
    }


def altered(kind: str, **spec: Any) -> Any:
    """A fault: fields of the spec of every object of a kind are replaced; a None removes the object."""

    def alter(documents: list[Document]) -> list[Document]:
        if not spec:
            return [each for each in documents if each["kind"] != kind]
        return [
            {**each, "spec": {**each["spec"], **spec}} if each["kind"] == kind else each for each in documents
        ]

    return alter


def test_the_kept_lab_s_gateways_passed_all_checks(kept_lab: Ran) -> None:
    for check_id, asked in (("ingress.https", 15), ("ingress.mtls", 9), ("ingress.jwt", 18)):
        check = kept_lab.check(check_id)
        assert check["verdict"] == "pass", check
        assert check["summary"].startswith(f"{asked} of {asked} as expected")
    assert kept_lab.check("egress.blocked")["evidence"]["answered by the destination"] == {
        "ALLOW_ANY": 6,
        "REGISTRY_ONLY": 0,
    }
    through, around = kept_lab.check("egress.gateway")["evidence"]["counted"]
    assert through["gateway's metric"] == through["destination"] == through["sent"] == 5
    assert (around["gateway's metric"], around["destination"]) == (0, 1)


def test_an_expired_certificate_turns_https_red(kube: Kube, istioctl: Istioctl, changes: Changes) -> None:
    keys = make_keys(*HOSTS, lifetime=EXPIRED)
    with opened(kube, istioctl, changes, read_facts(kube, NAMESPACE), keys=keys) as entry:
        found = ingress_checks.https(entry)
    assert found.verdict is Verdict.FAIL
    assert "certificate has expired" in found.summary


def test_another_issuer_turns_the_tokens_red(kube: Kube, istioctl: Istioctl, changes: Changes) -> None:
    def other(documents: list[Document]) -> list[Document]:
        for each in documents:
            for rule in each.get("spec", {}).get("jwtRules", []):
                rule["issuer"] = "somebody.test"
        return documents

    with opened(kube, istioctl, changes, read_facts(kube, NAMESPACE), alter=other) as entry:
        found = ingress_checks.tokens(entry)
        assert ingress_checks.mtls(entry).verdict is Verdict.PASS, "a fault of tokens is one of tokens only"
    assert found.verdict is Verdict.FAIL
    assert "valid token" in found.summary


def test_a_gateway_that_serves_every_name_and_asks_nobody_turns_red(
    kube: Kube, istioctl: Istioctl, changes: Changes
) -> None:
    def open_wide(documents: list[Document]) -> list[Document]:
        for each in documents:
            for server in each["spec"]["servers"] if each["kind"] == "Gateway" else ():
                if server["tls"].get("mode") == "MUTUAL":
                    server["tls"]["mode"] = "SIMPLE"
                elif server["hosts"] == [HOSTS[0]]:
                    server["hosts"] = ["*"]
        return documents

    with opened(kube, istioctl, changes, read_facts(kube, NAMESPACE), alter=open_wide) as entry:
        https, mtls = ingress_checks.https(entry), ingress_checks.mtls(entry)
    assert https.verdict is Verdict.FAIL and "another server name" in https.summary
    assert mtls.verdict is Verdict.FAIL and "no client certificate" in mtls.summary


def leave(kube: Kube, istioctl: Istioctl, changes: Changes, alter: Any) -> tuple[CheckResult, CheckResult]:
    """Both egress checks with a fault."""
    way = EgressProbe(
        kube, istioctl, changes, read_facts(kube, NAMESPACE), egress.OUTSIDE,
        gateways=gateway_pods(kube, egress.GATEWAY, SYSTEM), alter=alter,
    )  # fmt: skip
    way.begin()
    free = egress_checks.ask_open(way)
    way.close()
    held = egress_checks.ask_closed(way)
    declared = egress_checks.ask_declared(way)
    return egress_checks.blocked(free, held), egress_checks.gateway(free, held, declared)


def test_an_open_egress_turns_both_red(kube: Kube, istioctl: Istioctl, changes: Changes) -> None:
    fault = altered("Sidecar", outboundTrafficPolicy={"mode": "ALLOW_ANY"})
    blocked, gateway = leave(kube, istioctl, changes, fault)
    assert blocked.verdict is Verdict.FAIL and "undeclared host" in blocked.summary
    assert gateway.verdict is Verdict.FAIL and "direct, by address" in gateway.summary


def test_a_direct_path_to_the_declared_host_turns_the_gateway_red(
    kube: Kube, istioctl: Istioctl, changes: Changes
) -> None:
    blocked, gateway = leave(kube, istioctl, changes, altered("VirtualService"))
    assert blocked.verdict is Verdict.PASS
    assert gateway.verdict is Verdict.FAIL
    assert "rose by 0, 5 requests were sent" in gateway.summary


def test_where_nothing_enforces_network_policies_ways_around_the_gateway_are_not_judged(
    kube: Kube, istioctl: Istioctl, changes: Changes, tmp_path: Path
) -> None:
    run = create(tmp_path / "fence", "test")
    fence = Changes(kube, Ledger.open(Machine.here({"HOME": str(tmp_path / "fence")}), run), run)
    out = EgressProbe(
        kube, istioctl, changes, read_facts(kube, NAMESPACE), egress.OUTSIDE,
        gateways=gateway_pods(kube, egress.GATEWAY, SYSTEM),
    )  # fmt: skip
    out.begin()
    around = BypassProbe(
        kube, istioctl, changes, fence, out, images=lambda found: [dict(each) for each in found]
    )
    with pytest.raises(NotHereError, match="not enforced"):
        around.begin()
