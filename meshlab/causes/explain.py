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

from meshlab.causes.effects import Does, Effect, World, name_of
from meshlab.causes.kinds import effects
from meshlab.causes.objects import GATEWAY_API, Found
from meshlab.causes.said import told_by
from meshlab.causes.snapshot import Baseline
from meshlab.causes.table import Row, row_of

MOST = 5  # causes of one check
# What counts: a name in the evidence, that Envoy itself says what the object does, and whose traffic it concerns.
NAMED, SAID_SO, OF_ITS_TRAFFIC, OF_SOME = 200, 100, 80, 40
# A check's traffic: the services that its requests go to. Those of the document; a check of other names takes them from
# its evidence.
PAGE = frozenset({"productpage", "details", "reviews", "ratings", "sleep"})
# These look at other traffic, or at objects themselves.
OTHERS = ("ingress.", "gateway.", "egress.", "audit.", "istio.", "kiali.")
AT_THE_EDGE, POLICIES = ("ingress.", "gateway."), ("AuthorizationPolicy", "RequestAuthentication")
GATEWAYS = ("Gateway", GATEWAY_API)
# The evidence of these lists all that was asked, whatever became of it; the reason alone names what went wrong.
LISTS_ALL = (
    "grafana.",
    "audit.",
    "istio.injection",
)  # queries; accepted findings; pods that want no sidecar, too
OF_PODS = "istio.injection"  # the pods that it names are its traffic
# What a pod or its Service does for its own traffic only: no addon or gateway of the control plane's explains the app's.
OF_ITS_PODS = (Does.NO_SIDECAR, Does.PROTOCOL)
# What changes what is seen of all traffic concerns the application's like an object of its own. A policy for all does not
# count so much: where nothing is allowed by default, that is how it is meant.
OF_ALL = (Does.METRICS, Does.NO_TRACES)
# How the names begin of what a run makes in its namespace where others close the mesh: it allows the run's own calls, and
# the policies of others are what refuses. Planted faults carry the same labels, so the names tell. A test compares them
# with the modules that make these objects.
OWN = ("meshlab-own-calls", "meshlab-own-plaintext", "meshlab-own-scope", "meshlab-own-traffic")


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
    called = _called(objects, namespace)
    news = {str(each): news for each in objects if green and (news := green.news_of(each))}
    since = f" since the green run {green.run_id}" if green else ""
    return tuple(
        Cause(check["id"], str(each.source), _change(each.source, news, since), f"{each.does}: {each.why}")
        for check in checks
        if check["verdict"] == "fail"
        for each in _causes(check, known, called, namespace, news)
    )


def _change(source: Found, news: Mapping[str, str], since: str) -> str:
    told = news.get(str(source))
    return ", ".join(filter(None, (source.changed, f"{told}{since}" if told else "")))


def _concerns(effect: Effect, namespace: str, root: str) -> bool:
    """Whether the object can touch the traffic that is checked, its own namespace's or the whole mesh's, and is not ours."""
    if effect.source.namespace == namespace:
        return not effect.source.name.startswith(OWN)
    local = effect.source.kind in ("Deployment", "Pod", "Service", "NetworkPolicy")
    return effect.source.namespace == root or not local


def _causes(
    check: Mapping[str, Any],
    known: Sequence[Effect],
    called: Mapping[str, str],
    namespace: str,
    news: Mapping[str, str],
) -> list[Effect]:
    told = told_by(check)
    row = row_of(check["id"], told)
    evidence = {} if check["id"].startswith(LISTS_ALL) else check["evidence"]
    said = json.dumps([check["summary"], check.get("reason"), evidence], default=str, ensure_ascii=False)
    words = _words(said) | {called[word] for word in _reason(check) if word in called}
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
        if effect.does not in row.wanted and not (
            named and check["id"].startswith(("audit.", "istio.analyze"))
        ):
            continue
        source = str(effect.source)
        policy = (
            effect.source.kind in POLICIES
        )  # one that selects the gateway selects what comes in through it
        score = _score(effect, row, words | guards if policy else words, named, namespace)
        score += SAID_SO * (effect.does in told)
        rank = (score, source in news, effect.source.changed.partition(" ")[2])
        if source not in found or rank > found[source][0]:
            found[source] = (rank, effect)
    best = sorted(found.values(), key=lambda each: each[0], reverse=True)[:MOST]
    return [effect for _, effect in best]


def _words(text: str) -> frozenset[str]:
    """The words of a text, and for each host in it the wildcard host that covers it."""
    found = re.findall(r"[a-z0-9][a-z0-9.-]*", text.lower())
    return frozenset(found) | {f"*.{word.partition('.')[2]}" for word in found if "." in word}


def _reason(check: Mapping[str, Any]) -> frozenset[str]:
    return _words(f"{check['summary']} {check.get('reason') or ''}")


def _called(objects: Iterable[Found], namespace: str) -> dict[str, str]:
    """Deployment → what its workload is called: a reason speaks of the one, objects of the other."""
    found = {}
    for each in objects:
        if each.kind == "Deployment" and each.namespace == namespace:
            meta = (each.spec.get("template") or {}).get("metadata") or {}
            found[each.name] = name_of(meta.get("labels") or {}) or each.name
    return found


def _gateways(known: Iterable[Effect], words: frozenset[str]) -> frozenset[str]:
    """The workloads that serve the hosts of which a check speaks."""
    edges = (each for each in known if each.does is Does.EDGE and each.source.kind in GATEWAYS)
    return frozenset(name for each in edges if each.whose & words for name in each.whose)


def _score(effect: Effect, row: Row, words: frozenset[str], named: bool, namespace: str) -> int:
    # Twice, so that the app's own namespace decides only between two that do the same.
    score = 2 * (len(row.wanted) - row.wanted.index(effect.does)) if effect.does in row.wanted else 0
    if named:
        score += NAMED
    if effect.does in row.last:  # of the very workload, maybe, but it may do no harm
        return score
    if effect.whose & words:
        score += OF_ITS_TRAFFIC  # the evidence speaks of the very workload
    elif effect.whose & PAGE or (not effect.whose and effect.does in OF_ALL):
        score += OF_SOME
    if effect.source.namespace == namespace:
        score += 1
    return score
