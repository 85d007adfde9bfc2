"""What Envoy itself said of a request decides which kind of object is named first, beside objects of every kind."""

from __future__ import annotations

from typing import Any

import pytest

from meshlab.causes.explain import explain
from meshlab.causes.objects import Found
from tests.unit.causes.worlds import NAMESPACE, NEWER, ROOT, bookinfo, document, red

BODY = "0 of 20 requests got a 200 with the title 'Simple Bookstore App'; one began "
RESET = "upstream connect error or disconnect/reset before headers. "


def route(name: str, **how: Any) -> Found:
    spec = {"hosts": ["reviews"], "http": [{"route": [{"destination": {"host": "reviews"}}], **how}]}
    return document("VirtualService", name, spec)


REFUSES = document("AuthorizationPolicy", "refuses", {"action": "DENY", "rules": [{}]})
LIMITS = document(
    "DestinationRule", "limits",
    {"host": "reviews", "trafficPolicy": {"connectionPool": {"http": {"http1MaxPendingRequests": 1}}}}, **NEWER,
)  # fmt: skip
NO_TLS = document(
    "DestinationRule", "no-tls", {"host": "reviews", "trafficPolicy": {"tls": {"mode": "DISABLE"}}}
)
ABORTS = route("aborts", fault={"abort": {"httpStatus": 500}})
DELAYS = route("delays", fault={"delay": {"fixedDelay": "9s"}})
ELSEWHERE = route("elsewhere", route=[{"destination": {"host": "nobody"}}])
HEADER_ONLY = route("header-only", match=[{"headers": {"x": {"exact": "1"}}}])
HIDES = document("Sidecar", "hides", {"egress": [{"hosts": ["./details.shop.svc.cluster.local"]}]})
NO_PODS = document("Service", "reviews", {"selector": {"app": "nobody"}, "ports": []})
KINDS = (REFUSES, LIMITS, NO_TLS, ABORTS, DELAYS, ELSEWHERE, HEADER_ONLY, HIDES, NO_PODS)


def first(check: dict[str, Any]) -> str:
    others = [each for each in bookinfo() if str(each) != str(NO_PODS)]
    return explain([check], [*others, *KINDS], namespace=NAMESPACE, root=ROOT)[0].object


@pytest.mark.parametrize(
    ("body", "culprit"),
    [
        ("RBAC: access denied", REFUSES),
        ("no healthy upstream", NO_PODS),
        (f"{RESET}reset reason: overflow", LIMITS),
        (f"{RESET}reset reason: connection termination", NO_TLS),
        (f"{RESET}retried and the latest reset reason: remote connection failure", NO_TLS),
        ("upstream request timeout", DELAYS),
        ("fault filter abort", ABORTS),
    ],
)
def test_the_body_of_its_answer_names_the_kind(body: str, culprit: Found) -> None:
    assert first(red("app.productpage", f"{BODY}{body!r}")) == str(culprit)
    cut = red("app.productpage", BODY, evidence={"odd": body})
    assert first(cut) == str(culprit), "the reason holds its beginning only"


def test_what_a_check_expected_to_be_refused_says_nothing() -> None:
    rows = [{"meant": "403 RBAC: access denied", "observed": "403"}]
    assert first(red("authz.truth-table", evidence={"cells": rows})) == first(red("authz.truth-table"))
    assert first(red("app.productpage", evidence={"cells": rows})) == first(red("app.productpage"))


@pytest.mark.parametrize(
    ("check", "told", "culprit"),
    [
        ("envoy.dashboard", "no cluster leads to reviews.shop.svc.cluster.local", HIDES),
        ("envoy.dashboard", "reviews.shop.svc.cluster.local has no endpoint that may get requests", NO_PODS),
        ("ingress.mtls", "client certificate: expected 200 'x', got 503 without a title (0 of 3)", NO_PODS),
    ],
)
def test_what_a_check_found_in_its_proxy_names_the_kind(check: str, told: str, culprit: Found) -> None:
    assert first(red(check, told)) == str(culprit)


FLAGS = [
    ("UH", NO_PODS),
    ("URX,UF", NO_TLS),
    ("UC", NO_TLS),
    ("NR", HEADER_ONLY),
    ("NC", ELSEWHERE),
    ("UO", LIMITS),
    ("UT", DELAYS),
    ("DI", DELAYS),
    ("FI", ABORTS),
    ("UAEX", REFUSES),
]
MISSED = "productpage-v1 → reviews-v1 (destination) has no fresh series"


def counted(flags: str, *, source: str = "productpage-v1", destination: str = "") -> dict[str, Any]:
    return {"reporter": "source", "source": source, "destination": destination, "response_flags": flags}


@pytest.mark.parametrize(("flags", "culprit"), FLAGS)
@pytest.mark.parametrize("destination", ["", "reviews-v1"])
def test_the_flags_of_an_edge_that_is_missed_name_the_kind(
    flags: str, culprit: Found, destination: str
) -> None:
    evidence = {"series": [counted(flags, destination=destination)]}
    assert first(red("prometheus.requests-total", MISSED, evidence=evidence)) == str(culprit)


@pytest.mark.parametrize(("flags", "culprit"), FLAGS)
def test_the_flags_of_counters_that_rose_meanwhile_name_the_kind(flags: str, culprit: Found) -> None:
    series = f'istio_requests_total{{reporter="source",response_code="503",response_flags="{flags}"}}'

    def evidence(rise: float) -> dict[str, Any]:
        return {"series": [{"reporter": "source", "rise": rise, "series": series}]}

    told = "source reporter counted 0 requests with code 200, 70 were sent"
    assert first(red("prometheus.reconcile", told, evidence=evidence(70.0))) == str(culprit)
    before = first(red("prometheus.reconcile", told))
    assert first(red("prometheus.reconcile", told, evidence=evidence(0.0))) == before, (
        "it is of earlier requests"
    )


@pytest.mark.parametrize(
    "row",
    [
        counted("UO", source="sleep"),
        counted("UO", destination="details-v1"),
        {**counted("UO"), "reporter": "destination"},
        counted("-"),
        counted("DC"),
    ],
    ids=str,
)
def test_flags_of_other_requests_say_nothing(row: dict[str, Any]) -> None:
    told = red("prometheus.requests-total", MISSED, evidence={"series": [row]})
    assert first(told) == first(red("prometheus.requests-total", MISSED))
