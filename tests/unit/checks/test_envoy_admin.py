"""envoy.dashboard: the admin pages as Envoy writes them, and what is wrong when something lacks."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from meshlab.checks.envoy_admin import PAGES, dashboard, parse_dashboard
from meshlab.core.errors import QueryError
from meshlab.run.results import Verdict

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
PRINCIPAL = "spiffe://cluster.local/ns/default/sa/bookinfo-productpage"
DETAILS, REVIEWS = (f"{name}.default.svc.cluster.local" for name in ("details", "reviews"))
PAGE = "<!DOCTYPE html>\n<html lang='en'><head><title>Envoy Admin</title></head></html>"


def socket(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "0.0.0.0", "port_value": port}}


def host(*, eds: str | None = "HEALTHY", **health: bool) -> dict[str, Any]:
    status = ({"eds_health_status": eds} if eds else {}) | health
    stats = [
        {"name": "rq_total", "value": "12"},
        {"name": "rq_error"},
        {"type": "GAUGE", "name": "cx_active", "value": "1"},
    ]
    return {"address": socket(9080), "stats": stats, "health_status": status}


def certificate(
    uri: str = PRINCIPAL, *, begin: str = "2026-05-01T10:00:00Z", end: str = "2026-05-02T10:00:00Z"
) -> dict[str, Any]:
    leaf = {
        "path": "<inline>",
        "serial_number": f"{uri}{end}",
        "subject_alt_names": [{"uri": uri}],
        "days_until_expiration": "0",
        "valid_from": begin,
        "expiration_time": end,
    }
    root = {**leaf, "serial_number": "root", "subject_alt_names": []}
    return {"ca_cert": [root], "cert_chain": [leaf]}


def pages(**changed: Any) -> dict[str, str]:
    """The pages of a sidecar in good order, but for what is given (state, hosts, ports, …)."""
    hosts = changed.get("hosts", {DETAILS: [host()], REVIEWS: [host(), host()]})
    clusters = [{"name": f"outbound|9080||{name}", "host_statuses": found} for name, found in hosts.items()]
    clusters.append({"name": "PassthroughCluster"})
    listeners = [
        {"name": f"on-{port}", "local_address": socket(port)} for port in changed.get("ports", (15001, 15006))
    ]
    listeners.append({"name": "pipe", "local_address": {"pipe": "/etc/x"}})
    documents = {
        "/server_info": {
            "version": "abc/1.40.0/Clean/RELEASE",
            "state": changed.get("state", "LIVE"),
            "uptime_current_epoch": "79s",
        },
        "/clusters?format=json": {"cluster_statuses": clusters},
        "/listeners?format=json": {"listener_statuses": listeners},
        "/certs": {"certificates": changed.get("certificates", [certificate(), certificate()])},
    }
    texts = {page: json.dumps(document) for page, document in documents.items()}
    return {**texts, "/": changed.get("page", PAGE)}


def judge(**changed: Any):
    found = parse_dashboard("productpage-1", pages(**changed))
    return dashboard(found, principal=PRINCIPAL, upstreams=[DETAILS, REVIEWS], now=NOW)


def test_a_sidecar_in_good_order():
    found = parse_dashboard("productpage-1", pages())
    assert set(found.files) == set(PAGES.values()) and found.files["envoy-dashboard.html"] == PAGE
    result = judge()
    assert result.verdict is Verdict.PASS, result.reason
    assert result.summary == (
        f"productpage-1: LIVE, 3 clusters, 3 listeners, {PRINCIPAL} until 2026-05-02T10:00:00+00:00"
    )
    evidence = result.evidence
    assert evidence["server"] == {"version": "abc/1.40.0/Clean/RELEASE", "state": "LIVE", "uptime": "79s"}
    assert evidence["clusters"][2] == {
        "cluster": f"outbound|9080||{REVIEWS}",
        "endpoints": 2,
        "healthy": 2,
        "requests": 24,
        "errors": 0,
    }
    assert {"listener": "pipe", "address": "/etc/x"} in evidence["listeners"]
    assert evidence["certificates"] == [
        {
            "identity": PRINCIPAL,
            "serial": f"{PRINCIPAL}2026-05-02T10:00:00Z",
            "valid_from": "2026-05-01T10:00:00+00:00",
            "expires": "2026-05-02T10:00:00+00:00",
            "hours_left": 22.0,
        }
    ], "one certificate that two secrets share is one"
    json.dumps(result.as_json())


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"state": "PRE_INITIALIZING"}, "productpage-1's Envoy is PRE_INITIALIZING, not LIVE"),
        ({"page": "ok"}, "productpage-1's Envoy shows no page at /"),
        ({"ports": (15001,)}, "no listener on port 15006: inbound traffic is not captured"),
        ({"hosts": {DETAILS: [host()]}}, f"no cluster leads to {REVIEWS}"),
        (
            {"hosts": {DETAILS: [host()], REVIEWS: []}},
            f"{REVIEWS} has no endpoint that may get requests",
        ),
        (
            {"hosts": {DETAILS: [host()], REVIEWS: [host(eds="UNHEALTHY"), host(failed_outlier_check=True)]}},
            f"{REVIEWS} has no endpoint that may get requests",
        ),
        ({"certificates": []}, f"no certificate carries {PRINCIPAL}; identities there: none"),
        (
            {"certificates": [certificate("spiffe://x/y")]},
            f"no certificate carries {PRINCIPAL}; identities there: spiffe://x/y",
        ),
        (
            {"certificates": [certificate(end="2026-05-01T11:59:00Z")]},
            f"no certificate of {PRINCIPAL} is valid now; they are from "
            "2026-05-01T10:00:00+00:00 to 2026-05-01T11:59:00+00:00",
        ),
    ],
)
def test_what_lacks_is_named(changed: dict[str, Any], reason: str):
    result = judge(**changed)
    assert result.verdict is Verdict.FAIL
    assert result.reason == reason


def test_a_new_certificate_beside_an_old_one_is_enough():
    old = certificate(end="2026-05-01T11:59:00Z")
    assert judge(certificates=[old, certificate()]).verdict is Verdict.PASS


@pytest.mark.parametrize("page", [page for page in PAGES if page != "/"])
@pytest.mark.parametrize("text", ["<html>", "{}", "[]"])
def test_a_page_that_is_none_of_envoys(page: str, text: str):
    with pytest.raises(QueryError) as caught:
        parse_dashboard("p", {**pages(), page: text})
    assert page.split("?")[0] in caught.value.message
