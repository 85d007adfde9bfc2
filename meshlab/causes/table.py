"""Which effects of objects explain which check: a row a check, the likeliest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from meshlab.causes.effects import Does

_LATE = (Does.ABORTS, Does.GIVES_UP, Does.DELAYS)
# What refuses or leads elsewhere does so always; a limit does only while there is load, or errors of something else.
_LOST = (
    Does.REROUTES,
    Does.HIDES,
    Does.REFUSES,
    Does.NO_ROUTE,
    Does.CUTS,
    Does.NO_PODS,
    Does.ABORTS,
    Does.LIMITS,
    Does.PROTOCOL,
)
_TOKENS = (
    Does.TRIAL,
    Does.TOKENS,
    Does.REFUSES,
    Does.NO_ROUTE,
    Does.EDGE,
    Does.ABORTS,
    Does.REROUTES,
)
_UNSEEN = (*_LOST, Does.NO_SIDECAR, Does.NO_MTLS)
# A mirrored request adds an edge and is counted, but takes none away.
_COUNTED = (Does.METRICS, *_UNSEEN, Does.REPEATS, Does.FILTERS)
_MTLS = (Does.NO_MTLS, Does.PLAINTEXT)
# Check, or family of checks → what would explain that it is red, the likeliest first.
EXPLAINED_BY: Mapping[str, Sequence[Does]] = {
    "app.bookinfo": (Does.NO_PODS, Does.CUTS, Does.NO_SIDECAR, Does.FILTERS),
    "app.productpage": (*_LATE, *_LOST, Does.TOKENS, Does.NO_MTLS, Does.FILTERS),
    "envoy.scrape": (Does.METRICS, Does.NO_SIDECAR, Does.FILTERS),
    "envoy.dashboard": (
        Does.HIDES,
        Does.NO_PODS,
        Does.LIMITS,
        Does.CUTS,
        Does.PROTOCOL,
        Does.NO_SIDECAR,
        Does.FILTERS,
    ),
    "istio.injection": (Does.NO_SIDECAR,),
    "istio.control-plane": (Does.NO_PODS,),
    "istio.versions": (Does.NO_PODS,),
    "istio.proxies-synced": (Does.FILTERS, Does.NO_PODS),
    "istio.analyze": (Does.REROUTES, Does.CONFLICTS, Does.HIDES, Does.EDGE, Does.PROTOCOL, Does.NO_MTLS),
    "prometheus.targets": (Does.METRICS, Does.NO_SIDECAR, Does.CUTS, Does.NO_PODS),
    "prometheus": _COUNTED,
    # These two compare what was counted with what was sent: a request that was sent again is one too many.
    "prometheus.reconcile": (Does.METRICS, Does.REPEATS, Does.RETRIES, *_UNSEEN, Does.FILTERS),
    "mtls.counter": (*_MTLS, Does.REPEATS, Does.RETRIES, Does.HIDES, Does.NO_SIDECAR),
    "grafana": _COUNTED,
    "graph.agreement": (Does.NO_TRACES, *_COUNTED),
    "graph": _COUNTED,
    "kiali": _COUNTED,
    "jaeger": (Does.NO_TRACES, *_LOST),
    # A proxy that does not know a service passes its requests through as they are: in clear, and counted nowhere.
    "mtls": (*_MTLS, Does.HIDES, Does.NO_SIDECAR),
    "mtls.refusal": (Does.PLAINTEXT, Does.NO_SIDECAR),
    "authz": (
        Does.ALLOWS,
        Does.REFUSES,
        Does.NO_ROUTE,
        Does.TOKENS,
        *_MTLS,
        *_LATE,
        Does.LIMITS,
        Does.REROUTES,
    ),
    "ingress": (
        Does.CONFLICTS,
        Does.EVERY_NAME,
        Does.EDGE,
        Does.REFUSES,
        Does.NO_ROUTE,
        Does.ABORTS,
        Does.REROUTES,
    ),
    "ingress.jwt": _TOKENS,
    "gateway": (Does.EVERY_NAME, Does.EDGE, Does.REFUSES),
    "gateway.jwt": _TOKENS,
    "egress": (Does.OPENS, Does.AROUND, Does.REROUTES, Does.HIDES, Does.NO_MTLS, Does.DECLARES),
    "audit.strict-mtls": (Does.PLAINTEXT,),
    "audit.default-deny": (Does.ALLOWS,),
    "audit.allow-all": (Does.ALLOWS,),
    "audit.destination-rule-tls": (Does.NO_MTLS,),
    "audit.gateway": (Does.EDGE,),
    "audit.egress-policy": (Does.OPENS, Does.DECLARES),
    "audit.sidecars": (Does.NO_SIDECAR,),
    "audit.analyze": (Does.REROUTES, Does.NO_MTLS, Does.EDGE, Does.PROTOCOL),
}
# Where they stand behind all others they are ordinary, and may do no harm at all.
ORDINARY = (Does.FILTERS, Does.RETRIES, Does.DECLARES, Does.REFUSES_OTHERS)


@dataclass(frozen=True)
class Row:
    """What explains a check.

    Attributes:
        wanted: The effects, the likeliest first.
        last: Those of them that are named behind all others, whatever traffic they concern.
    """

    wanted: tuple[Does, ...]
    last: frozenset[Does]


def row_of(check_id: str, told: Sequence[Does] = ()) -> Row:
    """Find what explains a check: the most exact row, its own or else that of its family.

    Args:
        check_id: The check's id.
        told: Effects of which Envoy's own words tell: they come first, whether the row has them or not.

    Returns:
        The row.
    """
    fitting = [key for key in EXPLAINED_BY if check_id == key or check_id.startswith((f"{key}.", f"{key}-"))]
    row = [*EXPLAINED_BY[max(fitting, key=len)]] if fitting else []
    if Does.REPEATS in row and Does.RETRIES not in row:
        row.append(Does.RETRIES)
    if Does.REFUSES in row:
        row.append(Does.REFUSES_OTHERS)
    last = [*takewhile(ORDINARY.__contains__, reversed(row))][::-1]
    first = [each for each in row[: len(row) - len(last)] if each not in told]
    return Row((*told, *first, *last), frozenset(last))
