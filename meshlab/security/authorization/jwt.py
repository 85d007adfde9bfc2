"""What a proxy makes of a token: issuer, times, audience, then the signature, rule by rule (Envoy's jwt_authn).

A request without a token goes on; a token that is not good ends it. With several rules one that takes the
token is enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meshlab.security.authorization.model import Decision, JwtRule, Outcome, Request, Token

LEEWAY = 60  # seconds by which clocks may differ: what Envoy grants on exp and nbf
STRINGS = ("iss", "sub", "jti")  # claims that must be texts where they are there
TIMES = ("iat", "nbf", "exp")  # and numbers: seconds since the epoch
PREFLIGHT = ("origin", "access-control-request-method")  # headers of a CORS preflight, which needs no token
TAKEN, NO_RULE, UNCLEAR = "taken", "no rule for its issuer", "unclear"
AUDIENCE = "meant for another audience"
# What a token's keys are in doubt for: `fetched` of a rule whose keys are not in the policy.
FETCHED_KEYS = "whether istiod has the keys of {} is not known"


@dataclass(frozen=True)
class Verified:
    """What policies may ask of a token. claims: None without one; spaced: those that hold lists with spaces."""

    claims: Mapping[str, Any] | None = None
    spaced: tuple[str, ...] = ()


def judge(
    rules: Sequence[JwtRule], request: Request, fetched: Mapping[str, bool], *, now: float
) -> Verified | Decision:
    """Judge a request's token.

    Args:
        rules: Of every RequestAuthentication for the workload: its namespace's before the root's, the oldest first.
        request: The request.
        fetched: jwksUri, or issuer where there is none → whether istiod has its keys.
        now: Seconds since the epoch.

    Returns:
        The claims, or the decision that ends the request here.
    """
    token = request.token
    if token is None or not rules or _preflight(request):
        return Verified()
    if flaw := malformed(token.claims):
        return _ended(token, flaw)
    ordered = sorted(rules, key=lambda rule: rule.issuer)
    said = [_asked(rule, token, fetched, now) for rule in ordered]
    for rule, answer in zip(ordered, said, strict=True):
        if answer == UNCLEAR:
            why = FETCHED_KEYS.format(rule.uri or rule.issuer)
            return Decision(Outcome.UNKNOWN, why, unknown=(f"token {token.name}: {why}",))
        if answer == TAKEN:
            return Verified(token.claims, rule.spaced)
    met = [answer for answer in said if answer != NO_RULE]
    if not met:
        return _ended(token, NO_RULE)
    if said[0] != NO_RULE and len({answer == AUDIENCE for answer in met}) > 1:
        why = "the rules for its issuer refuse it for different reasons: 401 or 403"
        return Decision(Outcome.UNKNOWN, why, unknown=(f"token {token.name}: {why}",))
    return _ended(token, met[-1])


def malformed(claims: Mapping[str, Any]) -> str:
    """Say what makes a token unreadable; empty where nothing does."""
    for name in STRINGS:
        if name in claims and not isinstance(claims[name], str):
            return f"{name} is no text"
    for name in TIMES:
        if name in claims and not _is_time(claims[name]):
            return f"{name} is no time"
    audience = claims.get("aud", "")
    listed = audience if isinstance(audience, (list, tuple)) else [audience]
    return "" if all(isinstance(one, str) for one in listed) else "aud is neither a text nor a list of texts"


def bare(audience: str) -> str:
    """An audience as it is compared: without http:// or https:// and without a slash at its end."""
    for scheme in ("http://", "https://"):
        if audience.startswith(scheme):
            audience = audience.removeprefix(scheme)
            break
    return audience.removesuffix("/")


def _asked(rule: JwtRule, token: Token, fetched: Mapping[str, bool], now: float) -> str:
    claims = token.claims
    if rule.issuer and rule.issuer != claims.get("iss", ""):
        return NO_RULE
    if _too_early(claims, now):
        return "not valid yet"
    if _too_late(claims, now):
        return "expired"
    if not _meant_for(rule, claims):
        return AUDIENCE
    if not token.signed:
        return "badly signed"
    if rule.key_ids is None:
        has_keys = fetched.get(rule.uri or rule.issuer)
        if has_keys is None:
            return UNCLEAR
        if not has_keys:
            return "istiod could not fetch the keys"
    return TAKEN


def _too_early(claims: Mapping[str, Any], now: float) -> bool:
    return int(now) + LEEWAY < int(claims.get("nbf", 0))


def _too_late(claims: Mapping[str, Any], now: float) -> bool:
    ends = int(claims.get("exp", 0))
    return ends != 0 and int(now) > ends + LEEWAY


def _meant_for(rule: JwtRule, claims: Mapping[str, Any]) -> bool:
    found = claims.get("aud", ())
    audiences = (found,) if isinstance(found, str) else tuple(found)
    wanted = {bare(one) for one in rule.audiences}
    return not wanted or any(bare(one) in wanted for one in audiences)


def _is_time(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 2**63


def _preflight(request: Request) -> bool:
    sent = {name.lower() for name, value in request.headers.items() if value}
    return request.method == "OPTIONS" and all(name in sent for name in PREFLIGHT)


def _ended(token: Token, why: str) -> Decision:
    outcome = Outcome.FORBIDDEN_TOKEN if why == AUDIENCE else Outcome.UNAUTHENTICATED
    return Decision(outcome, f"token {token.name}: {why}")
