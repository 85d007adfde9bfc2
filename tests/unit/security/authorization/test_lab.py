"""The lab's own policies: understood to the last field, and every rule met by the table."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from meshlab.app.deployment import with_images
from meshlab.config.settings import LabConfig
from meshlab.istio.mesh import Mesh as Facts
from meshlab.kube.pods import summarise
from meshlab.security.authorization import parse
from meshlab.security.authorization.cases import SERVICES, Client, cases
from meshlab.security.authorization.cluster import Target, request_of
from meshlab.security.authorization.evaluate import decide_all
from meshlab.security.authorization.lab import STAND_INS, client_documents, find_clients, policy_documents
from meshlab.security.authorization.model import Identity, Mesh, Outcome
from meshlab.security.authorization.table import coverage
from meshlab.security.authorization.tokens import Issuer, run_tokens
from tests.fakes.kube import FakeExecStream, FakeKube, make_pod

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


GATEWAY = {"name": "istio-ingressgateway", "namespace": "istio-system"}
SERVICE: dict[str, Any] = {"apiVersion": "v1", "kind": "Service", "metadata": GATEWAY}
PAGE = "R {} 200 0.1 0 1"
SILENT = "R {} 000 0.1 7 0"


def callers(config: dict[str, Any], answers: list[str], body: str = "", *, service: bool = True) -> set[str]:
    """Who asks, where a pod of the gateway is Ready and answers so; each answer must be taken."""
    apps = ("sleep", "authz-as-productpage", "authz-as-reviews", "plaintext-caller")
    kube = FakeKube([make_pod(app, labels={"app": app}) for app in apps])
    kube.put(make_pod("gateway-1", namespace="istio-system", labels={"app": "istio-ingressgateway"}))
    if service:
        kube.put(SERVICE)
    lines = "".join(f"{answer.format(number + 1)}\n" for number, answer in enumerate(answers))
    kube.streams = [FakeExecStream([(1, lines.encode()), (2, body.encode())])] if answers else []
    settings = LabConfig.model_validate({"app": {"namespace": "default"}, **config})
    clients, sources = find_clients(kube, settings, Mesh(), Facts("default"))  # type: ignore[arg-type]
    assert kube.streams == [] and {each.name for each in clients} == set(sources)
    for pod in kube.opened:
        assert pod[:2] == ("default", "plaintext-caller")
    return set(sources)


INSIDE = {"sleep", "productpage", "reviews", "outside"}
THEIRS = {"cluster": "existing", "allow_changes": True}


def test_our_own_gateway_is_among_the_callers_unasked() -> None:
    """Where it serves nothing, that is a fault of the lab."""
    assert callers({}, []) == {*INSIDE, "gateway"}


@pytest.mark.parametrize(
    ("answers", "body"),
    [
        ([PAGE] * 3, ""),
        ([SILENT, PAGE, PAGE], "connection refused"),
        (["R {} 403 0.1 0 0"] * 3, "RBAC: access denied"),
    ],
    ids=["the page", "the page, after one that failed", "a policy"],
)
def test_a_gateway_of_somebody_else_is_asked_where_it_serves_the_page(answers: list[str], body: str) -> None:
    assert callers(THEIRS, answers, body) == {*INSIDE, "gateway"}


@pytest.mark.parametrize(
    ("answers", "body"),
    [
        ([SILENT] * 3, "Failed to connect"),
        (["R {} 404 0.1 0 0"] * 3, ""),
        (["R {} 200 0.1 0 0"] * 3, "<title>Somebody's shop</title>"),
        (["R {} 403 0.1 0 0"] * 3, "who are you?"),
    ],
    ids=["nothing on port 80", "no route", "another page", "another's refusal"],
)
def test_a_gateway_of_somebody_else_that_does_not_serve_the_page_is_no_caller(
    answers: list[str], body: str
) -> None:
    assert callers(THEIRS, answers, body) == INSIDE


def test_a_gateway_without_its_service_or_without_leave_is_not_asked() -> None:
    assert callers(THEIRS, [], service=False) == INSIDE
    assert callers({"cluster": "existing"}, []) == INSIDE
