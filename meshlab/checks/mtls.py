"""mtls.refusal, .packets, .identity and .counter: what was seen under STRICT, and the controls that had to trip.

A control that does not trip makes the verdict `broken`: a pass would prove nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from cryptography import x509

from meshlab.app.once import RoundResult
from meshlab.checks.base import broken, failed, judged, passed, skipped
from meshlab.core.address import host_port
from meshlab.core.errors import KubeError
from meshlab.core.text import pluralize
from meshlab.run.results import CheckResult, Table
from meshlab.security.mtls.capture import Captured, Seen
from meshlab.security.mtls.certificates import Held, chain_problem, fingerprint, identities, row
from meshlab.security.mtls.counters import MUTUAL, Counted
from meshlab.security.mtls.edges import Edge, servers
from meshlab.security.mtls.outside import Round
from meshlab.security.mtls.stage import Window

REFUSAL, PACKETS, IDENTITY, COUNTER = "mtls.refusal", "mtls.packets", "mtls.identity", "mtls.counter"
FORBIDDEN = 403
POD_SECURITY = re.compile(r'violates PodSecurity "(\w+)')  # of the API server's refusal
STRICT_REMEDY = "look for a PeerAuthentication that allows plaintext: kubectl get peerauthentication -A"


def refusal(permissive: Round, strict: Round, inside: Sequence[RoundResult]) -> CheckResult:
    """Make mtls.refusal: plain HTTP from outside the mesh is refused over every path, and no application heard of it.

    Evidence: `plaintext` (one row per path and phase), `inside`. Skipped where nothing else is wrong, and a DENY policy of
    others refuses the caller whatever mutual TLS says: then no control can be made.

    Args:
        permissive: The same requests before STRICT, which must be served and heard: the control.
        strict: The requests under STRICT.
        inside: Requests from inside the mesh under STRICT, which must be served: the servers are alive.

    Returns:
        The check.
    """
    evidence = {
        "plaintext": [*_plaintext_rows("PERMISSIVE", permissive), *_plaintext_rows("STRICT", strict)],
        "inside": [{"url": each.url, "answers": str(each)} for each in inside],
    }
    controls = [
        f"under PERMISSIVE {path.url} gave {asked}, not {asked.sent} × 200"
        for path, asked in permissive.paths
        if asked.served != asked.sent and path.name not in permissive.denied
    ]
    controls += [
        f"no count at {path.name} moved under PERMISSIVE, so none can tell under STRICT"
        for path, _ in permissive.paths
        if not permissive.heard[path.name]
        and not permissive.handed_to(path.pods)
        and path.name not in permissive.denied
    ]
    controls += [
        f"under STRICT {each.url} is not served inside the mesh either: {each}"
        for each in inside
        if each.served != each.sent
    ]
    problems = [
        f"plaintext to {path.name} was not refused: {asked}"
        for path, asked in strict.paths
        if asked.refused != asked.sent
    ]
    answered = any(status != "000" for _, asked in strict.paths for status in asked.by_status)
    heard = any((*strict.heard.values(), *strict.handed.values()))
    problems += [
        f"{count} plaintext requests to {name} reached the application"
        for name, count in strict.heard.items()
        if count
    ]
    problems += [
        f"the sidecar of {pod} handed {count} requests to its application"
        for pod, count in sorted(strict.handed.items())
        if count
    ]
    # An answer is proof by itself; an odd refusal is none where the same caller could never be served.
    if permissive.denied and not controls and not problems:
        return _denied(permissive, evidence)
    controls += [
        f"AuthorizationPolicy {policy} denies plaintext to {name}"
        for name, policy in permissive.denied.items()
    ]
    if controls and not answered and not heard:
        return broken(REFUSAL, "; ".join(controls), evidence, remedy="look at the caller and the servers")
    if problems:
        return failed(REFUSAL, problems, evidence, remedy=STRICT_REMEDY)
    refused, sent = sum(a.refused for _, a in strict.paths), sum(a.sent for _, a in strict.paths)
    served = sum(asked.served for _, asked in permissive.paths)
    return passed(
        REFUSAL,
        f"{refused} of {sent} plaintext requests refused over {len(strict.paths)} paths, 0 reached an application "
        f"({served} of {sent} got a 200 under PERMISSIVE)",
        evidence,
    )


def _denied(permissive: Round, evidence: Mapping[str, Any]) -> CheckResult:
    """The skip of a mesh that does not allow the control, with the requests that it refused."""
    policies = ", ".join(sorted(set(permissive.denied.values())))
    reason = (
        f"AuthorizationPolicy {policies} denies plaintext over {len(permissive.denied)} of {len(permissive.paths)} paths "
        "before STRICT too, so it can't be shown that STRICT is what refuses it"
    )
    return replace(skipped(REFUSAL, reason, asked_for=True), evidence=dict(evidence))


def _why(refused: KubeError) -> str:
    """Who refuses captures: a Pod Security Standard by its name, in the same words for every pod."""
    standard = POD_SECURITY.search(refused.message)
    if standard is None:
        return refused.message
    return f"the namespace's Pod Security Standard {standard[1]} refuses raw sockets (NET_RAW)"


def packets(edges: Sequence[Edge], window: Window) -> CheckResult:
    """Make mtls.packets: TLS records and no byte of the requests are on the wire of every edge.

    Control 1: the marker is on the last hop to the application, in the same window. Control 2: it is on the
    wire of a pair for which mutual TLS is switched off. Evidence: `wire` (one row per edge, and the
    pair's), `requests`. Skipped where the cluster forbids captures.

    Args:
        edges: The application's edges.
        window: What was captured.

    Returns:
        The check.
    """
    if window.no_capture is not None:
        if window.no_capture.status != FORBIDDEN:
            raise window.no_capture
        return skipped(PACKETS, f"refusal only: {_why(window.no_capture)}", remedy=window.no_capture.remedy)
    rows, problems, controls = _packet_rows(edges, window)
    evidence = {"wire": rows, "requests": window.sent.sent, "answers": dict(window.sent.by_status)}
    if problems:
        return failed(
            PACKETS,
            problems,
            evidence,
            remedy="look for a DestinationRule or PeerAuthentication that disables mutual TLS",
        )
    if controls:
        return broken(
            PACKETS, "; ".join(controls), evidence, remedy="look at the interfaces that were captured"
        )
    silent = [f"no TLS record on the wire of {each['edge']}" for each in rows[:-1] if not each["tls_records"]]
    if silent:
        return failed(PACKETS, silent, evidence, remedy="look at what the callers send: it is no TLS")
    tls, wire = sum(each["tls_records"] for each in rows[:-1]), sum(each["wire_bytes"] for each in rows[:-1])
    return passed(
        PACKETS,
        f"{len(edges)} edges: {tls} TLS records in {wire} bytes on the wire, 0 markers; at the applications "
        f"{sum(c.app.marker for c in window.captured.values())}, without mTLS {rows[-1]['wire_markers']}",
        evidence,
    )


def identity(
    edges: Sequence[Edge],
    counted: Sequence[Counted],
    held: Mapping[str, Held],
    shown: Mapping[str, x509.Certificate | str] | None,
    *,
    trust_domain: str,
    now: datetime | None = None,
) -> CheckResult:
    """Make mtls.identity: both ends of every edge proved their service account, by certificates that are valid.

    Evidence: `edges`, `certificates`.

    Args:
        edges: The application's edges.
        counted: The window's identities, as the target's sidecar took them from the TLS session.
        held: Pod → what its proxy holds.
        shown: Address → the certificate that a handshake got; None where the cluster forbids the container
            that would ask.
        trust_domain: The mesh's.
        now: None for the present.

    Returns:
        The check.
    """
    now = now or datetime.now(UTC)
    seen = {each.edge: each for each in counted}
    problems: list[str] = []
    edge_rows: Table = []
    for edge in edges:
        expected = tuple(
            f"spiffe://{trust_domain}/ns/{pod.namespace}/sa/{pod.service_account}"
            for pod in (edge.source_pod, edge.target_pod)
        )
        observed = seen[edge.name].identities
        if observed != (expected,):
            told = "; ".join(" → ".join(pair) for pair in observed) or "no identity (no request)"
            problems.append(f"{edge.name}: {told}, expected {' → '.join(expected)}")
        chain = chain_problem(held[edge.target_pod.name].chain, held[edge.source_pod.name].roots)
        if chain:
            problems.append(f"{edge.source.name} does not trust {edge.target.name}'s certificate: {chain}")
        edge_rows.append(
            {
                "edge": edge.name,
                "source": ", ".join(pair[0] for pair in observed),
                "target": ", ".join(pair[1] for pair in observed),
                "chain": chain or "leads to the source's root",
                "requests": sum(seen[edge.name].received.values()),
            }
        )
    rows = []
    for pod in {p.name: p for e in edges for p in (e.source_pod, e.target_pod)}.values():
        leaf = held[pod.name].leaf
        wanted = f"spiffe://{trust_domain}/ns/{pod.namespace}/sa/{pod.service_account}"
        if identities(leaf) != (wanted,):
            problems.append(f"{pod.name} holds a certificate of {identities(leaf)}, expected {wanted}")
        if not leaf.not_valid_before_utc <= now < leaf.not_valid_after_utc:
            problems.append(f"{pod.name}'s certificate is not valid now: it ends {leaf.not_valid_after_utc}")
        rows.append({"pod": pod.name, **row(leaf, now), "in_use_since": held[pod.name].updated.isoformat()})
    unasked = "not asked: the cluster forbids it" if shown is None else "not asked: it serves nothing"
    rows = [{**each, "shown": unasked} for each in rows]
    for edge in servers(edges) if shown is not None else ():
        answer = (shown or {}).get(host_port(edge.target_pod.ip, edge.target.port), "not asked")
        mine = next(each for each in rows if each["pod"] == edge.target_pod.name)
        if isinstance(answer, str):
            mine["shown"] = f"no handshake: {answer}"
            problems.append(f"{edge.target_pod.name} shows no certificate: {answer}")
        elif fingerprint(answer) != mine["fingerprint"]:
            mine["shown"] = "another one"
            problems.append(
                f"{edge.target_pod.name} shows {identities(answer)}, not the certificate that it holds"
            )
        else:
            mine["shown"] = "the same"
    soonest = min((each["expires"] for each in rows), default="")
    return judged(
        IDENTITY,
        problems,
        f"{len(edges)} edges between {len(rows)} identities proved by certificate; the first expires {soonest}"
        + ("; no handshake of our own, the cluster forbids it" if shown is None else ""),
        {"edges": edge_rows, "certificates": rows},
        remedy="istioctl proxy-config secret shows what a proxy holds",
    )


def counter(edges: Sequence[Edge], window: Window) -> CheckResult:
    """Make mtls.counter: every request of the window was counted by its server as mutual_tls, and nothing else was.

    Evidence: `edges`: sent, counted by security policy and response code.

    Args:
        edges: The application's edges.
        window: What was sent and counted.

    Returns:
        The check.
    """
    counted = {each.edge: each for each in window.counted}
    rows: Table = [
        {
            "edge": edge.name,
            "sent": counted[edge.name].sent,
            MUTUAL: counted[edge.name].mutual,
            "other": sum(counted[edge.name].received.values()) - counted[edge.name].mutual,
            "codes": ", ".join(f"{n:g} × {code}" for code, n in sorted(counted[edge.name].codes.items())),
        }
        for edge in edges
    ]
    falls = [f"{each.edge}: {fall}" for each in window.counted for fall in each.falls]
    if falls:
        return broken(
            COUNTER,
            f"counters fell in every window: {'; '.join(falls)}",
            {"edges": rows},
            remedy="no mesh configuration may change meanwhile",
        )
    problems = [
        f"{each['edge']}: {each['sent']:g} sent, {each[MUTUAL]:g} counted as {MUTUAL}, {each['other']:g} otherwise"
        for each in rows
        if each["sent"] != each[MUTUAL] or each["other"]
    ]
    first, total = edges[0].name, window.sent.sent
    if counted[first].sent != total:
        problems.append(
            f"{pluralize(total, 'requests')} sent over {first}, its sidecar counted {counted[first].sent:g}"
        )
    if window.sent.passed != total:
        problems.append(
            f"{total - window.sent.passed} of {total} pages did not come: {window.sent.odd[:200]}"
        )
    idle = [each["edge"] for each in rows if not each["sent"]]
    if idle and not problems:
        return broken(
            COUNTER,
            f"nothing was sent over {', '.join(idle)}",
            {"edges": rows},
            remedy="look at the application: its pages are made without these services",
        )
    return judged(
        COUNTER,
        problems,
        f"{pluralize(total, 'pages')}, {sum(each['sent'] for each in rows):g} requests over {len(rows)} edges: "
        f"{sum(each[MUTUAL] for each in rows):g} counted as {MUTUAL}, 0 otherwise",
        {"edges": rows},
        remedy=STRICT_REMEDY,
    )


def _plaintext_rows(phase: str, found: Round) -> Table:
    return [
        {
            "phase": phase,
            "server": path.server,
            "by": path.by,
            "sent": asked.sent,
            "answers": str(asked),
            "application_log_lines": found.heard[path.name],
            "handed_over_by_sidecar": found.handed_to(path.pods),
        }
        for path, asked in found.paths
    ]


def _packet_rows(edges: Sequence[Edge], window: Window) -> tuple[Table, list[str], list[str]]:
    """The rows of the evidence (the control pair's last), what is wrong, and which controls did not trip."""
    rows: Table = []
    problems: list[str] = []
    controls: list[str] = []
    sent = {each.edge: each.sent for each in window.counted}
    for edge in edges:
        found = window.captured[edge.target_pod.name]
        wire = found.wire.get(edge.source_pod.ip, Seen())
        rows.append(_packet_row(edge.name, edge.nodes, found, wire, sent[edge.name]))
        if wire.marker or wire.http:
            problems.append(
                f"{edge.name}: {wire.marker} markers and {wire.http} HTTP messages in clear on {found.interfaces[0]}"
            )
        if not sent[edge.name]:
            controls.append(f"{edge.name} was not used")
    for pod, found in window.captured.items():
        if not found.app.marker:
            controls.append(f"no marker on {found.interfaces[1]} of {pod}")
        if found.drops:
            controls.append(f"{found.drops} packets of {pod} were not captured")
        if not found.to_the_end:
            controls.append(f"the capture in {pod} ended before the requests did")
    probe, asked = window.probe, window.probe_sent
    if probe is None or asked is None:
        return rows, problems, [*controls, "the pair without mTLS was not captured"]
    wire = next(iter(probe.wire.values()), Seen())
    rows.append(_packet_row("control: a pair without mTLS", window.probe_nodes, probe, wire, asked.sent))
    # What a policy of others denies was on the wire all the same, in clear.
    if asked.by_status.get("200", 0) != asked.sent and not window.probe_denied:
        controls.append(f"the pair without mTLS answered {dict(asked.by_status)}")
    if wire.marker < asked.sent:
        controls.append(
            f"{wire.marker} of {asked.sent} markers on {probe.interfaces[0]} of the pair without mTLS"
        )
    return rows, problems, controls


def _packet_row(name: str, nodes: str, found: Captured, wire: Seen, requests: int) -> dict[str, Any]:
    return {
        "edge": name,
        "nodes": nodes,
        "requests": requests,
        "wire": found.interfaces[0],
        "wire_packets": wire.packets,
        "wire_bytes": wire.bytes,
        "tls_records": wire.tls_records,
        "wire_http": wire.http,
        "wire_markers": wire.marker,
        "app": found.interfaces[1],
        "app_bytes": found.app.bytes,
        "app_markers": found.app.marker,
        "drops": found.drops,
    }
