"""What Envoy itself said, where a red check has written it down: bodies of its answers, and flags of its counters.

Envoy answers in a service's place when it refuses a request, knows no route or cluster, or gets no connection, and says
which: in the body, and in the label `response_flags` of `istio_requests_total`. What does so comes first then.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from meshlab.causes.effects import Does

_NOBODY = (Does.NO_PODS, Does.LIMITS, Does.REROUTES)
_NO_CONNECTION = (Does.NO_MTLS, Does.NO_SIDECAR, Does.CUTS, Does.PROTOCOL)
# Envoy's words (and ours, where a check looked for a cluster or an endpoint itself) → what objects do that is told so, the
# likeliest first.
TEXTS: Mapping[str, Sequence[Does]] = {
    r"rbac: access denied": (Does.REFUSES,),
    r"no healthy upstream|has no endpoint that may get requests": _NOBODY,
    r"no cluster leads to": (Does.HIDES,),
    r"reset reason: overflow": (Does.LIMITS,),
    r"reset reason: (?!overflow)": _NO_CONNECTION,
    r"upstream request timeout": (Does.GIVES_UP, Does.DELAYS),
    r"fault filter abort": (Does.ABORTS,),
    # Of a gateway's answer only the status is kept. It is behind the gateway that something is wrong.
    r"\bgot 503\b": (*_NOBODY, Does.CUTS, Does.NO_MTLS),
}
# Envoy's documentation, "Access logging", command operator RESPONSE_FLAGS.
FLAGS: Mapping[str, Sequence[Does]] = {
    "UH": _NOBODY,
    "UF": _NO_CONNECTION,
    "UC": _NO_CONNECTION,
    "NR": (Does.NO_ROUTE, Does.HIDES),
    "NC": (Does.REROUTES, Does.HIDES),
    "UO": (Does.LIMITS,),
    "UT": (Does.GIVES_UP, Does.DELAYS),
    "FI": (Does.ABORTS,),
    "DI": (Does.DELAYS,),
    "UAEX": (Does.REFUSES,),
}
_FLAGS = re.compile(r'response_flags="([^"]*)"')  # in the text of a series


def told_by(check: Mapping[str, Any]) -> tuple[Does, ...]:
    """Find what a red check heard from Envoy.

    Args:
        check: As `result.json` holds it.

    Returns:
        What objects do that Envoy tells so; empty where it said nothing, or nothing of it was kept.
    """
    evidence = check["evidence"] if isinstance(check["evidence"], Mapping) else {}
    reason = f"{check['summary']} {check.get('reason') or ''}"
    text = f"{reason} {evidence.get('odd', '')}".lower()
    found = [does for pattern, effects in TEXTS.items() if re.search(pattern, text) for does in effects]
    found += [does for flag in _flags(evidence.get("series"), reason) for does in FLAGS.get(flag, ())]
    return tuple(dict.fromkeys(found))


def _flags(series: Any, reason: str) -> Iterator[str]:
    """Flags of requests of this check: counters that rose meanwhile, or of an edge that the check misses.

    Prometheus's own counters say nothing of when: those of other edges may be of anything since the proxies started.
    """
    for row in series if isinstance(series, list) else ():
        if row.get("rise"):
            told = _FLAGS.search(row["series"])
            yield from told[1].split(",") if told else ()
        elif row.get("response_flags") and _is_missed(row, reason):
            yield from row["response_flags"].split(",")


def _is_missed(row: Mapping[str, Any], reason: str) -> bool:
    """Whether the reason speaks of the edge. What Envoy answered itself reached no workload, and has no destination."""
    if row.get("reporter") != "source" or not row.get("source"):
        return False
    edge = f"{row['source']} → "
    where = "" if row.get("destination") == "unknown" else row.get("destination")
    return edge in reason and (not where or f"{edge}{where}" in reason)
