"""What becomes of a request by Istio's documented rules. Pure: policies and a request in, a decision out.

In the order of the proxy: mutual TLS (page "PeerAuthentication"), tokens ("RequestAuthentication"), then
CUSTOM, DENY and ALLOW ("Authorization Policy": a DENY that matches denies; without an ALLOW policy the
request is allowed; else one of them must match). AUDIT has no effect on the answer. HTTP only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from meshlab.security.authorization.match import Facts, rule_matches
from meshlab.security.authorization.model import (
    Action,
    Answer,
    Authentication,
    Condition,
    Decision,
    JwtRule,
    Mesh,
    Operation,
    Outcome,
    Policy,
    Request,
    Rule,
    Source,
    Target,
    Workload,
)
from meshlab.security.authorization.paths import normalised
from meshlab.security.authorization.values import any_of


def decide(mesh: Mesh, workload: Workload, request: Request, *, now: float) -> Decision:
    """Decide what becomes of a request at a workload.

    Args:
        mesh: All that decides.
        workload: The workload.
        request: The request.
        now: Seconds since the epoch, against a token's exp and nbf.

    Returns:
        The decision, and what decided.
    """
    mode = mutual_tls(mesh, workload, request.port)
    if mode is None:
        return Decision(Outcome.UNKNOWN, "a PeerAuthentication is not understood", unknown=_peer_flaws(mesh))
    if mode == "STRICT" and request.peer is None:
        return Decision(Outcome.REFUSED, "plaintext, and mutual TLS is STRICT")
    claims, spaced, stopped = _token(mesh, workload, request, now)
    if stopped is not None:
        return stopped
    path = normalised(request.path, mesh.normalization)
    facts = Facts(request, path, claims, spaced)
    return _authorised(mesh, workload, facts)


def decide_all(mesh: Mesh, workloads: Iterable[Workload], request: Request, *, now: float) -> Decision:
    """The decision where any of these workloads may answer; unknown where they would not agree."""
    decisions = [decide(mesh, workload, request, now=now) for workload in workloads]
    if not decisions:
        return Decision(Outcome.UNKNOWN, "no workload stands behind the service")
    if len({one.outcome for one in decisions}) > 1:
        told = ", ".join(sorted({str(one.outcome) for one in decisions}))
        return Decision(
            Outcome.UNKNOWN, f"the workloads of this service differ: {told}", unknown=("endpoint",)
        )
    return decisions[0]


def mutual_tls(mesh: Mesh, workload: Workload, port: int) -> str | None:
    """Find the mode of mutual TLS for a workload's port: STRICT, PERMISSIVE or DISABLE.

    Its own PeerAuthentication decides, else its namespace's, else the mesh's, else it is PERMISSIVE. None
    where one that matters is not understood.
    """
    layers: tuple[list[str], list[str], list[str]] = ([], [], [])
    for one in mesh.peers:
        meant = applies(one.target, workload, mesh.root_namespace)
        if meant is None:
            return None
        if meant:
            own = one.target.namespace == workload.namespace
            layer = 0 if own and one.target.labels else 1 if own else 2
            layers[layer].append(one.ports.get(port, "UNSET") if layer == 0 else "UNSET")
            layers[layer].append(one.mode)
    return next((mode for layer in layers for mode in layer if mode != "UNSET"), "PERMISSIVE")


def applies(target: Target, workload: Workload, root_namespace: str) -> Answer:
    """Whether an object is for a workload; None where its target is not understood."""
    if target.namespace not in (workload.namespace, root_namespace):
        return False
    if any(workload.labels.get(key) != value for key, value in target.labels.items() if "*" not in value):
        return False
    return None if target.unknown else True


def _peer_flaws(mesh: Mesh) -> tuple[str, ...]:
    return tuple(f"{one.name}: {flaw}" for one in mesh.peers for flaw in one.target.unknown)


# ── tokens


def _token(
    mesh: Mesh, workload: Workload, request: Request, now: float
) -> tuple[Mapping[str, Any] | None, tuple[str, ...], Decision | None]:
    """The verified token's claims, the claims that hold lists; or the decision that ends it here."""
    applying: list[Authentication] = []
    for one in mesh.authentications:
        meant = applies(one.target, workload, mesh.root_namespace)
        flaws = (*one.target.unknown, *one.unknown, *(flaw for rule in one.rules for flaw in rule.unknown))
        if meant is None or (meant and flaws):
            told = tuple(f"RequestAuthentication {one.target.namespace}/{one.name}: {flaw}" for flaw in flaws)
            return None, (), Decision(Outcome.UNKNOWN, f"not understood: {'; '.join(told)}", unknown=told)
        if meant:
            applying.append(one)
    rules = [rule for one in applying for rule in one.rules]
    names = ", ".join(f"RequestAuthentication {one.target.namespace}/{one.name}" for one in applying)
    if request.token is None or not rules:
        return None, (), None
    token, claims = request.token, request.token.claims
    issued = [rule for rule in rules if rule.issuer == claims.get("iss")]
    fresh = now < float(claims.get("exp", now + 1)) and now >= float(claims.get("nbf", 0))
    if not issued or not token.signed or not fresh:
        why = (
            "no rule for its issuer"
            if not issued
            else "badly signed"
            if not token.signed
            else "not valid now"
        )
        return None, (), Decision(Outcome.UNAUTHENTICATED, f"token {token.name}: {why}", names)
    good = [rule for rule in issued if _meant_for(rule, claims)]
    if not good:
        why = f"token {token.name}: meant for another audience"
        return None, (), Decision(Outcome.FORBIDDEN_TOKEN, why, names)
    return claims, good[0].spaced, None


def _meant_for(rule: JwtRule, claims: Mapping[str, Any]) -> bool:
    found = claims.get("aud", ())
    audiences = (found,) if isinstance(found, str) else tuple(found)
    return not rule.audiences or bool(set(rule.audiences) & set(audiences))


# ── policies


@dataclass(frozen=True)
class _Judged:
    """A rule of an applying policy, and whether it matches."""

    policy: Policy
    index: int
    rule: Rule
    answer: Answer

    @property
    def flaws(self) -> tuple[str, ...]:
        policy, rule = self.policy, self.rule
        parts: list[Source | Operation | Condition] = [*rule.sources, *rule.operations, *rule.conditions]
        said = (*policy.target.unknown, *rule.unknown, *(flaw for part in parts for flaw in part.unknown))
        return tuple(f"AuthorizationPolicy {policy.title}: {flaw}" for flaw in dict.fromkeys(said))


def _authorised(mesh: Mesh, workload: Workload, facts: Facts) -> Decision:
    judged: dict[Action, list[_Judged]] = {action: [] for action in Action}
    allowing: Answer = False  # whether an ALLOW policy is there at all
    odd: list[str] = []
    for policy in mesh.policies:
        meant = applies(policy.target, workload, mesh.root_namespace)
        if meant is False or policy.dry_run:
            continue
        if policy.action is None or policy.unknown:
            odd += [f"AuthorizationPolicy {policy.title}: {flaw}" for flaw in policy.unknown]
            continue
        if policy.action is Action.ALLOW:
            allowing = any_of([allowing, meant])
        judged[policy.action] += _judge(policy, meant, facts)
    matched = tuple((j.policy.title, j.index) for some in judged.values() for j in some if j.answer)
    return _combine(judged, allowing, odd, matched)


def _judge(policy: Policy, meant: Answer, facts: Facts) -> list[_Judged]:
    own = Facts(facts.request, facts.path, facts.claims, facts.spaced, policy.target.namespace)
    found = []
    for index, rule in enumerate(policy.rules):
        answer = rule_matches(rule, own)
        if answer and meant is None:
            answer = None
        found.append(_Judged(policy, index, rule, answer))
    return found


def _combine(
    judged: Mapping[Action, list[_Judged]],
    allowing: Answer,
    odd: list[str],
    matched: tuple[tuple[str, int], ...],
) -> Decision:
    if odd:
        return Decision(Outcome.UNKNOWN, "; ".join(odd), matched=matched, unknown=tuple(odd))
    denies = judged[Action.DENY]
    hit = next((one for one in denies if one.answer), None)
    if hit:
        return _decision(Outcome.DENY, "a DENY rule matches", hit, matched)
    allows = judged[Action.ALLOW]
    granted = any_of(one.answer for one in allows)
    if allowing is True and granted is False:
        return Decision(Outcome.DENY, "no rule of the ALLOW policies matches", matched=matched)
    customs = [one for one in judged[Action.CUSTOM] if one.answer is not False]
    open_denies = [one for one in denies if one.answer is None]
    open_allows = (
        [one for one in allows if one.answer is None] if not granted and allowing is not False else []
    )
    unclear = [*customs, *open_denies, *open_allows]
    if unclear or (allowing is None and not granted):
        said = [flaw for one in unclear for flaw in _reason(one)]
        why = "; ".join(dict.fromkeys(said)) or "a policy's target is not understood"
        return Decision(Outcome.UNKNOWN, why, matched=matched, unknown=tuple(dict.fromkeys(said)))
    if allowing is False:
        return Decision(Outcome.ALLOW, "no ALLOW policy applies", matched=matched)
    return _decision(Outcome.ALLOW, "an ALLOW rule matches", next(a for a in allows if a.answer), matched)


def _reason(one: _Judged) -> tuple[str, ...]:
    if one.policy.action is Action.CUSTOM:
        return (f"AuthorizationPolicy {one.policy.title}: action CUSTOM is not supported", *one.flaws)
    fallback = (
        f"AuthorizationPolicy {one.policy.title}: spec.rules[{one.index}] hangs on what is not known here"
    )
    return one.flaws or (fallback,)


def _decision(outcome: Outcome, why: str, by: _Judged, matched: tuple[tuple[str, int], ...]) -> Decision:
    return Decision(outcome, why, by.policy.title, by.index, matched)
