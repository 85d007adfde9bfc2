import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from meshlab.checks import ingress
from meshlab.checks.base import run_check
from meshlab.core.errors import KubeError
from meshlab.run.results import CheckResult, Verdict
from meshlab.security.gateways.entry import IngressProbe
from meshlab.security.gateways.ingress import HOSTS
from meshlab.security.gateways.pki import EXPIRED, GatewayKeys, make_keys
from meshlab.security.gateways.tokens import Issuer
from tests.fakes.gateway import FakeGateway

CHECKS: dict[str, Callable[[IngressProbe], CheckResult]] = {
    f"{family}.{name}": partial(check, check_id=f"{family}.{name}")
    for family in ("ingress", "gateway")
    for name, check in (("https", ingress.https), ("mtls", ingress.mtls), ("jwt", ingress.tokens))
}


@pytest.fixture(scope="module")
def keys() -> GatewayKeys:
    return make_keys(*HOSTS)


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


def checked(name: str, keys: GatewayKeys, issuer: Issuer, **faults: Any) -> CheckResult:
    with FakeGateway(keys, issuer, **faults) as gateway:
        apart = gateway.https if name.startswith("gateway.") else None
        entry = IngressProbe(gateway.http, gateway.https, keys, issuer, apart)  # type: ignore[arg-type]
        return run_check(name, CHECKS[name], entry)


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        (f"{family}.{check}", asked)
        for family in ("ingress", "gateway")
        for check, asked in (("https", 15), ("mtls", 9), ("jwt", 18))
    ],
)
def test_a_good_gateway_passes_and_every_request_is_told(
    name: str, asked: int, keys: GatewayKeys, issuer: Issuer
) -> None:
    result = checked(name, keys, issuer)
    assert result.verdict is Verdict.PASS, result.reason
    assert result.summary.startswith(f"{asked} of {asked} as expected")
    rows = result.evidence["requests"]
    negative = [row for row in rows if row["control"]]
    assert negative and all(row["as expected"] == "3 of 3" for row in rows)
    text = json.dumps(result.as_json())
    assert "PRIVATE" not in text and "eyJ" not in text and "BEGIN" not in text


@pytest.mark.parametrize(
    ("name", "fault", "says"),
    [
        ("ingress.https", {"any_name": True}, "another server name: expected refused, got 200"),
        ("ingress.https", {"old_tls": True}, "TLS 1.1 only: expected refused, got 200 over TLSv1.1"),
        ("ingress.https", {"redirects": False}, "plain HTTP: expected 301"),
        ("ingress.mtls", {"anybody": True}, "no client certificate: expected refused, got 200"),
        ("ingress.jwt", {"expects": "another.test"}, "valid token"),
        ("gateway.https", {"any_name": True}, "another server name: expected refused, got 200"),
        ("gateway.mtls", {"anybody": True}, "no client certificate: expected refused, got 200"),
        ("gateway.jwt", {"expects": "another.test"}, "valid token"),
    ],
)
def test_what_the_gateway_leaves_out_turns_its_check_red(
    name: str, fault: dict[str, Any], says: str, keys: GatewayKeys, issuer: Issuer
) -> None:
    result = checked(name, keys, issuer, **fault)
    assert result.verdict is Verdict.FAIL
    assert says in str(result.reason)


@pytest.mark.parametrize("name", CHECKS)
def test_an_expired_certificate_is_a_failure(name: str, issuer: Issuer) -> None:
    result = checked(name, make_keys(*HOSTS, lifetime=EXPIRED), issuer)
    assert result.verdict is Verdict.FAIL
    assert "certificate has expired" in str(result.reason)


def test_tokens_of_another_key_are_refused_all_of_them(keys: GatewayKeys, issuer: Issuer) -> None:
    with FakeGateway(keys, Issuer()) as gateway:
        entry = IngressProbe(gateway.http, gateway.https, keys, issuer)  # type: ignore[arg-type]
        result = ingress.tokens(entry)
    assert result.verdict is Verdict.FAIL
    assert "valid token" in result.summary


def test_a_way_that_broke_is_no_refusal(keys: GatewayKeys, issuer: Issuer) -> None:
    with FakeGateway(keys, issuer) as gateway:
        gateway.https.last_error = KubeError("no pod is Ready", remedy="wait")
        entry = IngressProbe(gateway.http, gateway.https, keys, issuer)  # type: ignore[arg-type]
        result = run_check("ingress.mtls", ingress.mtls, entry)
    assert result.verdict is Verdict.INFRA_ERROR
    assert result.reason == "no pod is Ready"


def test_a_client_that_lacks_the_old_version_breaks_the_check(
    keys: GatewayKeys, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingress, "can_speak", lambda version: "no protocols available")
    result = checked("ingress.https", keys, issuer)
    assert result.verdict is Verdict.BROKEN
    assert "no protocols available" in str(result.reason)
