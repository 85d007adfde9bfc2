"""Whether a rule matches a request: true, false, or None where it says something that is not known.

Fields that are missing in the request (a peer without a certificate, no token) match nothing; so their
negation matches (Istio's page "Authorization Policy Conditions").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from meshlab.istio.names import TRUST_POINTER
from meshlab.security.authorization import trust
from meshlab.security.authorization.model import Answer, Condition, Operation, Request, Rule, Source, Values
from meshlab.security.authorization.values import (
    CONDITION_KEYS,
    account_matches,
    address_matches,
    all_of,
    any_of,
    claim_values,
    namespace_matches,
    negate,
    path_matches,
    request_principal_matches,
    string_matches,
)

# Headers that curl, the proxies or a token bring along: what they hold is not known unless the request tells it.
PSEUDO = (":method", ":path", ":authority", ":scheme", "host")
BROUGHT = ("accept", "authorization", "b3", "content-", "traceparent", "tracestate", "user-agent",
           "x-b3-", "x-envoy-", "x-forwarded-", "x-mesh-peer", "x-request-id")  # fmt: skip
Question = Callable[[str], Answer]  # does this one value match?


@dataclass(frozen=True)
class Facts:
    """A request as a policy judges it.

    path: normalised, None where that is not known. claims: of the verified token, None without one.
    spaced: claims that hold lists with spaces in between. policy_namespace: the judging policy's own. domains:
    the mesh's trust domain and its aliases.
    """

    request: Request
    path: str | None
    claims: Mapping[str, Any] | None
    spaced: tuple[str, ...] = ()
    policy_namespace: str = ""
    domains: tuple[str, ...] = (TRUST_POINTER,)


def rule_matches(rule: Rule, facts: Facts) -> Answer:
    """One source, one operation and every condition. A rule that says nothing matches everything."""
    return all_of(
        [
            _either(rule.sources, lambda one: _fields(one, facts)),
            _either(rule.operations, lambda one: _fields(one, facts)),
            *(_condition(one, facts) for one in rule.conditions),
            None if rule.unknown else True,
        ]
    )


def _either(options: tuple[Any, ...], matches: Callable[[Any], Answer]) -> Answer:
    return any_of(matches(one) for one in options) if options else True


def _fields(part: Source | Operation, facts: Facts) -> Answer:
    answers = [_values(values, _question(name, facts)) for name, values in part.fields.items()]
    return all_of([*answers, None if part.unknown else True])


def _values(values: Values, question: Question) -> Answer:
    wanted = any_of(question(one) for one in values.wanted) if values.wanted else True
    unwanted = negate(any_of(question(one) for one in values.unwanted)) if values.unwanted else True
    return all_of([wanted, unwanted])


def _question(field: str, facts: Facts) -> Question:
    """What a value of this field asks of the request."""
    request, peer, claims = facts.request, facts.request.peer, facts.claims
    match field:
        case "principals":
            return lambda value: (
                peer is not None
                and any(string_matches(one, peer.principal) for one in trust.principals(value, facts.domains))
            )
        case "namespaces":
            return lambda value: peer is not None and namespace_matches(value, peer)
        case "serviceAccounts":
            return lambda value: peer is not None and account_matches(value, peer, facts.policy_namespace)
        case "trustDomains":
            return lambda value: (
                peer is not None
                and any(
                    string_matches(one, peer.trust_domain)
                    for one in trust.trust_domains(value, facts.domains)
                )
            )
        case "requestPrincipals":
            return lambda value: claims is not None and request_principal_matches(value, claims)
        case "ipBlocks":
            return _address(request.source_ip)
        case "remoteIpBlocks":
            return _address(request.remote_ip)
        case "hosts":
            return lambda value: string_matches(value, request.host, ignore_case=True)
        case "ports":
            return lambda value: int(value) == request.port
        case "methods":
            return lambda value: string_matches(value, request.method)
        case "paths":
            return lambda value: None if facts.path is None else path_matches(value, facts.path)
    return lambda value: None


def _address(address: str | None) -> Question:
    return lambda value: None if address is None else address_matches(value, address)


def _condition(condition: Condition, facts: Facts) -> Answer:
    if condition.unknown:
        return None
    return _values(condition.values, _condition_question(condition.key, facts))


def _condition_question(key: str, facts: Facts) -> Question:
    request, claims = facts.request, facts.claims
    match key:
        case "destination.ip":
            return _address(request.destination_ip)
        case "connection.sni":
            return lambda value: None if request.sni is None else string_matches(value, request.sni)
        case "request.auth.audiences":
            return _claim(claims, "[aud]", facts.spaced)
        case "request.auth.presenter":
            return _claim(claims, "[azp]", facts.spaced)
    if field := CONDITION_KEYS.get(key):
        return _question(field, facts)
    if key.startswith("request.auth.claims["):
        return _claim(claims, key.removeprefix("request.auth.claims"), facts.spaced)
    if key.startswith("request.headers["):
        return _header(facts, key.removeprefix("request.headers[").removesuffix("]").lower())
    return lambda value: None


def _header(facts: Facts, name: str) -> Question:
    if name in PSEUDO:
        return _pseudo(facts, name)
    held = {key.lower(): value for key, value in facts.request.headers.items()}.get(name)
    if held is None:
        return lambda value: None if name.startswith(BROUGHT) else False
    # Presence is of the header, even of one that is empty.
    return lambda value: value == "*" or string_matches(value, held)


def _pseudo(facts: Facts, name: str) -> Question:
    """What HTTP/1 has in its first line, and `host`, which Envoy keeps as :authority."""
    request = facts.request
    query = "?" + request.path.partition("?")[2] if "?" in request.path else ""
    path = None if facts.path is None or "#" in request.path else facts.path + query
    held = {":method": request.method, ":path": path, ":authority": request.host, "host": request.host}.get(
        name
    )
    return lambda value: None if held is None else value == "*" or string_matches(value, held)


def _claim(claims: Mapping[str, Any] | None, key: str, spaced: tuple[str, ...]) -> Question:
    values = claim_values(claims or {}, key, spaced)
    return lambda value: any(string_matches(value, one) for one in values)
