"""Each of the four checks fails on what it is there for, and is broken where its control does not trip."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from meshlab.app.once import RoundResult
from meshlab.checks import mtls
from meshlab.core.errors import KubeError
from meshlab.run.results import Verdict, settle_skips
from meshlab.security.mtls.capture import Seen
from meshlab.security.mtls.certificates import Held
from meshlab.security.mtls.outside import Round
from tests.unit.security.mtls import fixtures as made
from tests.unit.security.mtls.authority import Authority

INSIDE = (made.asked("200", 0),)
PERMISSIVE = made.plain("200", 0, heard=3, handed=6)
REFUSED = made.plain("000", 56, heard=0, handed=0)
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_refusal_passes_with_its_numbers() -> None:
    found = mtls.refusal(PERMISSIVE, REFUSED, INSIDE)
    assert found.verdict is Verdict.PASS
    assert found.summary.startswith("12 of 12 plaintext requests refused over 4 paths, 0 reached")
    assert len(found.evidence["plaintext"]) == 8


@pytest.mark.parametrize(
    ("strict", "why"),
    [
        (made.plain("200", 0, heard=3, handed=3), "plaintext to details by service was not refused: 3 × 200"),
        (made.plain("000", 28, heard=0, handed=0), "was not refused: 3 × curl exit 28"),
        (made.plain("403", 0, heard=0, handed=0), "was not refused: 3 × 403"),
        (made.plain("000", 56, heard=1, handed=0), "1 plaintext requests to details by service reached"),
        (made.plain("000", 56, heard=0, handed=2), "handed 2 requests to its application"),
    ],
)
def test_plaintext_that_is_served_times_out_or_is_heard_is_a_failure(strict, why: str) -> None:
    found = mtls.refusal(PERMISSIVE, strict, INSIDE)
    assert found.verdict is Verdict.FAIL
    assert why in (found.reason or "")


@pytest.mark.parametrize(
    ("permissive", "inside", "why"),
    [
        (made.plain("000", 56, heard=0, handed=0), INSIDE, "under PERMISSIVE"),
        (made.plain("200", 0, heard=0, handed=0), INSIDE, "no count at details by service moved"),
        (PERMISSIVE, (made.asked("503", 0),), "not served inside the mesh either"),
    ],
)
def test_refusal_is_broken_without_its_controls(permissive, inside, why: str) -> None:
    found = mtls.refusal(permissive, REFUSED, inside)
    assert found.verdict is Verdict.BROKEN
    assert why in (found.reason or "")


def denied(*, only: str = "") -> Round:
    """Every request, or those to one server, refused before STRICT by a policy of others."""
    served, refused = PERMISSIVE, made.plain("403", 0, heard=0, handed=0)
    chosen = {path.name for path, _ in served.paths if path.server.startswith(only)}
    pods = {pod for path, _ in served.paths if path.name in chosen for pod in path.pods}
    return Round(
        paths=tuple(
            next(pair for pair in (refused if path.name in chosen else served).paths if pair[0] == path)
            for path, _ in served.paths
        ),
        heard={name: 0 if name in chosen else count for name, count in served.heard.items()},
        handed={pod: 0 if pod in pods else count for pod, count in served.handed.items()},
        denied=dict.fromkeys(chosen, "mesh-config/who-are-you"),
    )


@pytest.mark.parametrize("only", ["", "details"])
def test_what_a_mesh_denies_before_strict_too_is_skipped_with_the_policy_and_the_requests(only: str) -> None:
    found = mtls.refusal(denied(only=only), REFUSED, INSIDE)
    assert found.verdict is Verdict.SKIPPED and "mesh-config/who-are-you" in (found.reason or "")
    assert len(found.evidence["plaintext"]) == 8
    assert any("403" in row["answers"] for row in found.evidence["plaintext"])
    assert settle_skips([found], []) == [found]  # a night on this mesh is not red


@pytest.mark.parametrize(
    ("permissive", "strict", "inside", "verdict"),
    [
        (replace(denied(), denied={}), REFUSED, INSIDE, Verdict.BROKEN),  # refused, and no policy says so
        (denied(), REFUSED, (made.asked("503", 0),), Verdict.BROKEN),
        (denied(), made.plain("000", 28, heard=0, handed=0), INSIDE, Verdict.BROKEN),
        (denied(), made.plain("403", 0, heard=0, handed=0), INSIDE, Verdict.FAIL),  # it was not reset
        (denied(), made.plain("200", 0, heard=3, handed=3), INSIDE, Verdict.FAIL),
        (denied(only="details"), made.plain("200", 0, heard=3, handed=3), INSIDE, Verdict.FAIL),
    ],
)
def test_a_policy_that_denies_plaintext_excuses_nothing_else(
    permissive: Round, strict: Round, inside: tuple[RoundResult, ...], verdict: Verdict
) -> None:
    assert mtls.refusal(permissive, strict, inside).verdict is verdict


def test_what_is_denied_was_in_clear_on_the_wire_all_the_same() -> None:
    window = replace(made.window(), probe_sent=made.sent(3, status="403"), probe_denied="mesh-config/x")
    assert mtls.packets(made.edges(), window).verdict is Verdict.PASS
    unseen = replace(window.probe, wire={"10.0.0.9": replace(made.CLEAR, marker=2)})
    assert mtls.packets(made.edges(), replace(window, probe=unseen)).verdict is Verdict.BROKEN
    assert mtls.packets(made.edges(), replace(window, probe_denied="")).verdict is Verdict.BROKEN


def test_an_odd_answer_proves_nothing_of_a_caller_that_was_never_served() -> None:
    unresolved = made.plain("000", 6, heard=0, handed=0)
    assert mtls.refusal(unresolved, unresolved, INSIDE).verdict is Verdict.BROKEN
    served = made.plain("200", 0, heard=3, handed=3)
    assert mtls.refusal(unresolved, served, INSIDE).verdict is Verdict.FAIL


def test_a_servers_log_or_its_sidecar_is_enough_of_a_count() -> None:
    assert mtls.refusal(made.plain("200", 0, heard=0, handed=6), REFUSED, INSIDE).verdict is Verdict.PASS


def test_packets_pass_with_the_evidence_of_run_and_controls() -> None:
    found = mtls.packets(made.edges(), made.window())
    assert found.verdict is Verdict.PASS
    assert found.summary == (
        "2 edges: 24 TLS records in 18000 bytes on the wire, 0 markers; at the applications 6, without mTLS 3"
    )
    assert [row["edge"] for row in found.evidence["wire"]][-1] == "control: a pair without mTLS"


def altered(**capture) -> object:
    window, first = made.window(), made.edges()[0]
    changed = {**window.captured, first.target_pod.name: made.captured(first, **capture)}
    return replace(window, captured=changed)


def test_a_marker_or_http_on_the_wire_is_a_failure() -> None:
    for wire in (replace(made.TLS, marker=1), replace(made.TLS, http=1), Seen()):
        found = mtls.packets(made.edges(), altered(wire=wire))
        assert found.verdict is Verdict.FAIL


def test_packets_are_broken_without_their_controls() -> None:
    window, edges = made.window(), made.edges()
    unseen = replace(window.probe, wire={"10.0.0.9": replace(made.CLEAR, marker=2)})
    idle = tuple(replace(each, sent=0.0) if each.edge == edges[1].name else each for each in window.counted)
    for found, why in (
        (altered(app_side=Seen()), "no marker on lo of productpage-v1-0"),
        (altered(drops=4), "4 packets of productpage-v1-0 were not captured"),
        (altered(to_the_end=False), "the capture in productpage-v1-0 ended before the requests did"),
        (replace(window, probe=unseen), "2 of 3 markers on eth0 of the pair without mTLS"),
        (replace(window, probe=replace(window.probe, wire={})), "0 of 3 markers on eth0"),
        (replace(window, probe=None), "the pair without mTLS was not captured"),
        (replace(window, probe_sent=made.sent(3, status="503")), "answered {'503': 3}"),
        (replace(window, counted=idle), "productpage-v1 → details-v1 was not used"),
    ):
        result = mtls.packets(edges, found)
        assert result.verdict is Verdict.BROKEN
        assert why in (result.reason or "")


def test_packets_are_skipped_where_the_cluster_forbids_captures() -> None:
    window = replace(made.window(), captured={}, no_capture=KubeError("PodSecurity says no", status=403))
    found = mtls.packets(made.edges(), window)
    assert found.verdict is Verdict.SKIPPED
    assert "PodSecurity says no" in found.summary


def test_captures_that_something_else_prevents_are_no_skip() -> None:
    window = replace(made.window(), captured={}, no_capture=KubeError("no such image"))
    with pytest.raises(KubeError, match="image"):
        mtls.packets(made.edges(), window)


def test_the_counter_must_rise_by_exactly_the_requests() -> None:
    edges = made.edges()
    found = mtls.counter(edges, made.window(5))
    assert found.verdict is Verdict.PASS
    assert "5 pages, 10 requests over 2 edges: 10" in found.summary
    first = made.counted(edges[0], 5)
    for changed, why in (
        (replace(first, received={"mutual_tls": 4.0}), "5 sent, 4 counted as mutual_tls, 0 otherwise"),
        (replace(first, received={"mutual_tls": 5.0, "none": 1.0}), "1 otherwise"),
        (
            made.counted(edges[0], 4),
            "5 requests sent over sleep → productpage-v1, its sidecar counted 4",
        ),
    ):
        window = replace(made.window(5), counted=(changed, made.counted(edges[1], 5)))
        result = mtls.counter(edges, window)
        assert result.verdict is Verdict.FAIL
        assert why in (result.reason or "")


def test_a_counter_that_fell_or_an_idle_edge_proves_nothing() -> None:
    edges = made.edges()
    fell = replace(made.counted(edges[0], 3), falls=("destination: x fell by 4",))
    idle = replace(made.counted(edges[1], 0), received={})
    for one in ((fell, made.counted(edges[1], 3)), (made.counted(edges[0], 3), idle)):
        assert mtls.counter(edges, replace(made.window(), counted=one)).verdict is Verdict.BROKEN


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def identity(authority: Authority, **altered):
    edges = made.edges()
    held = {}
    for edge in edges:
        for pod in (edge.source_pod, edge.target_pod):
            leaf = authority.issue(f"{made.SPIFFE}{pod.service_account}", NOW)
            held.setdefault(pod.name, Held(pod.name, (leaf,), (authority.root,), NOW))
    shown = {f"{e.target_pod.ip}:{e.target.port}": held[e.target_pod.name].leaf for e in edges}
    parts = {"counted": made.window().counted, "held": held, "shown": shown} | {
        name: change(value) for name, change in altered.items() for value in [
            {"counted": made.window().counted, "held": held, "shown": shown}[name]
        ]
    }  # fmt: skip
    return mtls.identity(
        edges, parts["counted"], parts["held"], parts["shown"], trust_domain="cluster.local", now=NOW
    )


def test_identity_passes_with_chain_expiry_and_rotation(authority: Authority) -> None:
    found = identity(authority)
    assert found.verdict is Verdict.PASS
    row = next(r for r in found.evidence["certificates"] if r["pod"] == "details-v1-0")
    assert (row["identity"], row["hours_left"], row["shown"]) == (
        f"{made.SPIFFE}bookinfo-details",
        24.0,
        "the same",
    )
    assert row["rotation_due"] == (NOW + timedelta(hours=12)).isoformat()
    assert "PRIVATE" not in str(found.evidence) and "BEGIN" not in str(found.evidence)


def test_without_a_handshake_of_our_own_the_sessions_still_prove(authority: Authority) -> None:
    found = identity(authority, shown=lambda _: None)
    assert found.verdict is Verdict.PASS
    assert "handshake" in found.summary
    assert {row["shown"] for row in found.evidence["certificates"]} == {"not asked: the cluster forbids it"}


def test_another_identity_another_root_or_another_time_is_a_failure(authority: Authority) -> None:
    other = Authority()
    name = "details-v1-0"
    principal = f"{made.SPIFFE}bookinfo-details"

    def leaf(certificate: x509.Certificate):
        return lambda held: held | {name: replace(held[name], chain=(certificate,))}

    for altered, why in (
        (
            {"counted": lambda c: (replace(c[0], identities=(("spiffe://x", "spiffe://y"),)), c[1])},
            "spiffe://x",
        ),
        ({"counted": lambda c: (replace(c[0], identities=()), c[1])}, "no identity"),
        ({"held": leaf(other.issue(principal, NOW))}, "does not trust details-v1's certificate"),
        ({"held": leaf(authority.issue(f"{made.SPIFFE}wrong", NOW))}, "holds a certificate of"),
        ({"held": leaf(authority.issue(principal, NOW - timedelta(days=3)))}, "is not valid now"),
        ({"shown": lambda s: {k: "timed out" for k in s}}, "shows no certificate: timed out"),
        (
            {"shown": lambda s: {k: authority.issue(principal, NOW) for k in s}},
            "not the certificate that it holds",
        ),
    ):
        found = identity(authority, **altered)
        assert found.verdict is Verdict.FAIL
        assert why in (found.reason or "")


def test_a_pod_security_standard_that_refuses_captures_is_named_and_no_pod() -> None:
    said = (
        'pods "details-1" is forbidden: violates PodSecurity "restricted:latest": unrestricted capabilities'
    )
    window = replace(made.window(), captured={}, no_capture=KubeError(said, status=403))
    found = mtls.packets(made.edges(), window)
    assert found.verdict is Verdict.SKIPPED
    assert (
        found.reason
        == "refusal only: the namespace's Pod Security Standard restricted refuses raw sockets (NET_RAW)"
    )
