"""Which objects explain a red check: those that do to its traffic what it saw, the closest first.

An explanation rests on what an object does, never on its being new; who changed it last and when, and whether it is as
the last green run saw it, stand beside it and decide only between two that explain equally well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meshlab.causes.effects import Does, Effect, World
from meshlab.causes.kinds import effects
from meshlab.causes.objects import Found
from meshlab.causes.snapshot import Baseline

MOST = 5  # causes of one check
NAMED, OF_ITS_TRAFFIC, OF_SOME = (
    200,
    80,
    40,
)  # what a name in the evidence counts, and whose traffic it concerns
# A check's traffic: the services that its requests go to. Those of the document; a check of other names takes them from
# its evidence.
PAGE = frozenset({"productpage", "details", "reviews", "ratings", "sleep"})
# These look at other traffic, or at objects themselves.
OTHERS = ("ingress.", "gateway.", "egress.", "audit.", "istio.", "kiali.")
AT_THE_EDGE, POLICIES = ("ingress.", "gateway."), ("AuthorizationPolicy", "RequestAuthentication")
# The evidence of these lists all that was asked, whatever became of it; the reason alone names what went wrong.
LISTS_ALL = (
    "grafana.",
    "audit.",
    "istio.injection",
)  # queries; accepted findings; pods that want no sidecar, too
OF_PODS = "istio.injection"  # the pods that it names are its traffic
# What a pod or its Service does for its own traffic only: no addon or gateway of the control plane's explains the app's.
OF_ITS_PODS = (Does.NO_SIDECAR, Does.PROTOCOL)
_LATE = (Does.ABORTS, Does.GIVES_UP, Does.DELAYS, Does.LIMITS, Does.REROUTES)
_LOST = (
    Does.REROUTES,
    Does.HIDES,
    Does.REFUSES,
    Does.CUTS,
    Does.NO_PODS,
    Does.ABORTS,
    Does.LIMITS,
    Does.PROTOCOL,
)
_TOKENS = (Does.TRIAL, Does.TOKENS, Does.REFUSES, Does.EDGE, Does.ABORTS, Does.REROUTES)
_COUNTED = (Does.METRICS, Does.REPEATS, *_LOST, Does.NO_SIDECAR, Does.NO_MTLS, Does.FILTERS)
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
    "grafana": _COUNTED,
    "graph.agreement": (Does.NO_TRACES, *_COUNTED),
    "graph": _COUNTED,
    "kiali": _COUNTED,
    "jaeger": (Does.NO_TRACES, *_LOST),
    # A proxy that does not know a service passes its requests through as they are: in clear, and counted nowhere.
    "mtls": (Does.NO_MTLS, Does.PLAINTEXT, Does.HIDES, Does.NO_SIDECAR),
    "mtls.counter": (Does.NO_MTLS, Does.PLAINTEXT, Does.REPEATS, Does.HIDES, Does.NO_SIDECAR),
    "mtls.refusal": (Does.PLAINTEXT, Does.NO_SIDECAR),
    "authz": (Does.ALLOWS, Does.REFUSES, Does.TOKENS, Does.NO_MTLS, Does.PLAINTEXT, *_LATE),
    "ingress": (Does.CONFLICTS, Does.EDGE, Does.REFUSES, Does.ABORTS, Does.REROUTES),
    "ingress.jwt": _TOKENS,
    "gateway": (Does.REFUSES, Does.EDGE),
    "gateway.jwt": _TOKENS,
    "egress": (Does.OPENS, Does.REROUTES, Does.HIDES, Does.NO_MTLS),
    "audit.strict-mtls": (Does.PLAINTEXT,),
    "audit.default-deny": (Does.ALLOWS,),
    "audit.allow-all": (Does.ALLOWS,),
    "audit.destination-rule-tls": (Does.NO_MTLS,),
    "audit.gateway": (Does.EDGE,),
    "audit.egress-policy": (Does.OPENS,),
    "audit.sidecars": (Does.NO_SIDECAR,),
    "audit.analyze": (Does.REROUTES, Does.NO_MTLS, Does.EDGE, Does.PROTOCOL),
}


@dataclass(frozen=True)
class Cause:
    """An object that explains a red check, as `result.json` holds it.

    Attributes:
        check: The check's id.
        object: Kind namespace/name.
        change: Who changed it last and when, and that it is not as the last green run saw it; "" where nobody knows.
        why: What in it explains the check.
    """

    check: str
    object: str
    change: str
    why: str


def explain(
    checks: Iterable[Mapping[str, Any]],
    objects: Sequence[Found],
    *,
    namespace: str,
    root: str,
    green: Baseline | None = None,
) -> tuple[Cause, ...]:
    """Name the objects that explain red checks, of each check at most MOST, the best first.

    Args:
        checks: Checks as `result.json` holds them; those that are not red are passed over.
        objects: The mesh's configuration, as `causes.objects.read` gives it.
        namespace: The app's.
        root: The mesh's root namespace.
        green: The configuration of the last green run, where one is known.

    Returns:
        The causes; none for a check that nothing explains.
    """
    known = [each for each in effects(World(objects, root)) if _concerns(each, namespace, root)]
    news = {str(each): news for each in objects if green and (news := green.news_of(each))}
    since = f" since the green run {green.run_id}" if green else ""
    return tuple(
        Cause(check["id"], str(each.source), _change(each.source, news, since), f"{each.does}: {each.why}")
        for check in checks
        if check["verdict"] == "fail"
        for each in _causes(check, known, namespace, news)
    )


def _change(source: Found, news: Mapping[str, str], since: str) -> str:
    told = news.get(str(source))
    return ", ".join(filter(None, (source.changed, f"{told}{since}" if told else "")))


def _concerns(effect: Effect, namespace: str, root: str) -> bool:
    """Whether the object can touch the traffic that is checked: its own namespace's, or the whole mesh's."""
    own = effect.source.kind in ("Deployment", "Pod", "Service", "NetworkPolicy")
    return effect.source.namespace == namespace or effect.source.namespace == root or not own


def _causes(
    check: Mapping[str, Any], known: Sequence[Effect], namespace: str, news: Mapping[str, str]
) -> list[Effect]:
    wanted = _explained_by(check["id"])
    evidence = {} if check["id"].startswith(LISTS_ALL) else check["evidence"]
    said = json.dumps([check["summary"], check.get("reason"), evidence], default=str)
    words = frozenset(re.findall(r"[a-z0-9][a-z0-9.-]*", said.lower()))
    if check["id"] == OF_PODS:  # of a pod's name one part is made up, or two
        words |= {word.rsplit("-", parts)[0] for word in words for parts in (1, 2)}
    guards = _gateways(known, words) if check["id"].startswith(AT_THE_EDGE) else frozenset()
    found: dict[str, tuple[tuple[int, bool, str], Effect]] = {}
    for effect in known:
        elsewhere = check["id"].startswith(OTHERS) and check["id"] != OF_PODS
        if effect.whose and not elsewhere and not effect.whose & (PAGE | words):
            continue  # of somebody else's traffic
        if effect.does in OF_ITS_PODS and not elsewhere and effect.source.namespace not in ("", namespace):
            continue
        named = effect.source.name in words and effect.source.kind.lower() in said.lower()
        if effect.does not in wanted and not (named and check["id"].startswith(("audit.", "istio.analyze"))):
            continue
        source = str(effect.source)
        policy = (
            effect.source.kind in POLICIES
        )  # one that selects the gateway selects what comes in through it
        score = _score(effect, wanted, words | guards if policy else words, named, namespace)
        rank = (score, source in news, effect.source.changed.partition(" ")[2])
        if source not in found or rank > found[source][0]:
            found[source] = (rank, effect)
    best = sorted(found.values(), key=lambda each: each[0], reverse=True)[:MOST]
    return [effect for _, effect in best]


def _gateways(known: Iterable[Effect], words: frozenset[str]) -> frozenset[str]:
    """The workloads that serve the hosts of which a check speaks."""
    edges = (each for each in known if each.does is Does.EDGE and each.source.kind == "Gateway")
    return frozenset(name for each in edges if each.whose & words for name in each.whose)


def _explained_by(check_id: str) -> Sequence[Does]:
    """The most exact entry: the check's own, else that of its family."""
    fitting = [key for key in EXPLAINED_BY if check_id == key or check_id.startswith((f"{key}.", f"{key}-"))]
    wanted = EXPLAINED_BY[max(fitting, key=len)] if fitting else ()
    return (*wanted, Does.REFUSES_OTHERS) if Does.REFUSES in wanted else wanted


def _score(effect: Effect, wanted: Sequence[Does], words: frozenset[str], named: bool, namespace: str) -> int:
    # Twice, so that the app's own namespace decides only between two that do the same.
    score = 2 * (len(wanted) - wanted.index(effect.does)) if effect.does in wanted else 0
    if named:
        score += NAMED
    if effect.does is Does.REFUSES_OTHERS:  # of the very workload, maybe, but not of what was asked
        return score
    if effect.whose & words:
        score += OF_ITS_TRAFFIC  # the evidence speaks of the very workload
    elif effect.whose & PAGE:
        score += OF_SOME
    if effect.source.namespace == namespace:
        score += 1
    return score
