"""What becomes of a request by Istio's documented rules. Pure: policies and a request in, a decision out.

In the order of the proxy: mutual TLS (page "PeerAuthentication"), tokens ("RequestAuthentication"), then
CUSTOM, DENY and ALLOW ("Authorization Policy": a DENY that matches denies; without an ALLOW policy the
request is allowed; else one of them must match). AUDIT has no effect on the answer. HTTP only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from meshlab.security.authorization.jwt import Verified, judge
from meshlab.security.authorization.match import Facts, rule_matches
from meshlab.security.authorization.model import (
    Action,
    Answer,
    Authentication,
    Condition,
    Decision,
    Mesh,
    Operation,
    Outcome,
    Policy,
    Request,
    Rule,
    Source,
    Workload,
)
from meshlab.security.authorization.paths import normalised
from meshlab.security.authorization.transport import applies, arrive
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
    arrived = arrive(mesh, workload, request)
    if isinstance(arrived, Decision):
        return arrived
    verified = _token(mesh, workload, arrived, now)
    if isinstance(verified, Decision):
        return verified
    path = normalised(arrived.path, mesh.normalization)
    facts = Facts(arrived, path, verified.claims, verified.spaced, domains=mesh.domains)
    return _authorised(mesh, workload, facts)


def decide_all(mesh: Mesh, workloads: Iterable[Workload], request: Request, *, now: float) -> Decision:
    """Decide where any of some workloads may answer.

    Args:
        mesh: All that decides.
        workloads: Those that may.
        request: The request.
        now: Seconds since the epoch, against a token's exp and nbf.

    Returns:
        The decision; unknown where they would not agree.
    """
    decisions = [decide(mesh, workload, request, now=now) for workload in workloads]
    if not decisions:
        return Decision(Outcome.UNKNOWN, "no workload stands behind the service")
    if len({one.outcome for one in decisions}) > 1:
        told = ", ".join(sorted({str(one.outcome) for one in decisions}))
        return Decision(
            Outcome.UNKNOWN, f"the workloads of this service differ: {told}", unknown=("endpoint",)
        )
    return decisions[0]


def _token(mesh: Mesh, workload: Workload, request: Request, now: float) -> Verified | Decision:
    """The verified token; or the decision that ends it here."""
    applying: list[Authentication] = []
    # Rules of one issuer are asked in istiod's order: the namespace's before the root's, and by age.
    for one in sorted(
        mesh.authentications,
        key=lambda each: (each.target.namespace != workload.namespace, each.created, each.name),
    ):
        meant = applies(one.target, workload, mesh.root_namespace)
        flaws = (*one.target.unknown, *one.unknown, *(flaw for rule in one.rules for flaw in rule.unknown))
        if meant is None or (meant and flaws):
            told = tuple(f"RequestAuthentication {one.target.namespace}/{one.name}: {flaw}" for flaw in flaws)
            return Decision(Outcome.UNKNOWN, f"not understood: {'; '.join(told)}", unknown=told)
        if meant:
            applying.append(one)
    found = judge([rule for one in applying for rule in one.rules], request, mesh.fetched, now=now)
    if isinstance(found, Verified):
        return found
    names = ", ".join(f"RequestAuthentication {one.target.namespace}/{one.name}" for one in applying)
    return replace(found, policy=names)


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
    own = replace(facts, policy_namespace=policy.target.namespace)
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
