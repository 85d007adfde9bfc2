"""The lab's own policies: understood to the last field, and every rule met by the table."""

from __future__ import annotations

from collections import Counter

from meshlab.app.deployment import with_images
from meshlab.config.settings import LabConfig
from meshlab.istio.mesh import Mesh as Facts
from meshlab.kube.pods import summarise
from meshlab.security.authorization import parse
from meshlab.security.authorization.cases import SERVICES, Client, cases
from meshlab.security.authorization.cluster import Target, request_of
from meshlab.security.authorization.evaluate import decide_all
from meshlab.security.authorization.lab import STAND_INS, client_documents, policy_documents
from meshlab.security.authorization.model import Identity, Mesh, Outcome
from meshlab.security.authorization.table import coverage
from meshlab.security.authorization.tokens import Issuer, run_tokens
from tests.fakes.kube import FakeKube, make_pod

NOW = 1_800_000_000.0


def whole_mesh(issuer: Issuer) -> Mesh:
    found = policy_documents(
        Facts("shop"), issuer=issuer.name, jwks=issuer.jwks(), api_version="security.istio.io/v1"
    )
    assert {each["metadata"]["namespace"] for each in found} == {"shop"}
    kinds = ("AuthorizationPolicy", "RequestAuthentication")
    return parse.mesh(*([each for each in found if each["kind"] == kind] for kind in kinds))


def test_every_rule_is_met_and_every_cell_is_known() -> None:
    issuer = Issuer()
    mesh = whole_mesh(issuer)
    accounts = {"sleep": "sleep", **STAND_INS}
    clients = {name: Client(name, "", Identity("cluster.local", "shop", account), "10.0.0.1")
               for name, account in accounts.items()}  # fmt: skip
    gateway = Identity("cluster.local", "istio-system", "gateway")
    clients["gateway"] = Client("gateway", "", gateway, through="gate.svc")
    clients["outside"] = Client("outside", "", None)
    targets = {
        one.name: Target(
            one, "shop", (summarise(make_pod(one.name, namespace="shop", labels={"app": one.name})),)
        )
        for one in SERVICES
    }
    tokens = {name: issued.token for name, issued in run_tokens(issuer, now=NOW).items()}
    found = {
        case: decide_all(mesh, targets[case.service].workloads,
                         request_of(case, clients[case.client], targets[case.service], tokens), now=NOW)
        for case in cases(clients.values())
    }  # fmt: skip
    counted = Counter(decision.outcome for decision in found.values())
    assert not counted[Outcome.UNKNOWN]
    assert min(counted[Outcome.ALLOW], counted[Outcome.DENY], counted[Outcome.UNAUTHENTICATED]) > 20
    workloads = [one for target in targets.values() for one in target.workloads]
    untouched = [rule for rule, cells in coverage(mesh, workloads, list(found.values())).items() if not cells]
    assert untouched == []
    denies = {decision.policy for decision in found.values() if decision.outcome is Outcome.DENY}
    assert "shop/reviews-no-admin" in denies


def test_stand_ins_run_under_the_accounts_of_those_they_stand_for() -> None:
    found = client_documents("shop")
    assert {each["spec"]["template"]["spec"]["serviceAccountName"] for each in found} == set(
        STAND_INS.values()
    )
    assert all(each["spec"]["selector"]["matchLabels"]["app"].startswith("authz-as-") for each in found)
    ours = LabConfig.model_validate({"images": "embedded"})
    [replaced, *_] = with_images(FakeKube(), ours, found, ["localhost/meshlab/curl:abc"])  # type: ignore[arg-type]
    image = replaced["spec"]["template"]["spec"]
    assert image["containers"][0]["image"] == "localhost/meshlab/curl:abc"
