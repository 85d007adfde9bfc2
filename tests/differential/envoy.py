"""A model of two HTTP filters of Envoy: jwt_authn and rbac, on the configuration that istiod makes.

It reads that configuration and nothing of Istio's objects, and shares no code with `meshlab`. Real Envoys hold
it: tests/differential/test_real_envoy.py.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin

Json = Mapping[str, Any]
JWT = "envoy.filters.http.jwt_authn"
ALLOW, DENY, UNAUTHENTICATED, FORBIDDEN_TOKEN = "allow", "deny", "unauthenticated", "forbidden-token"
OK, MISSED, UNKNOWN_ISSUER, AUDIENCE, OTHER = "ok", "missed", "unknown issuer", "audience", "bad"
SEGMENT = r"[A-Za-z0-9\-._~%!$&'()+,;:@=*]"


@dataclass(frozen=True)
class Wire:
    """A request as a proxy receives it. san: of the client's certificate, empty in plaintext."""

    method: str
    path: str
    authority: str
    port: int
    source: str
    remote: str
    destination: str
    san: str = ""
    sni: str = ""
    headers: Json = field(default_factory=dict)
    claims: Json | None = None
    signed: bool = True


def answer(filters: Sequence[Json], wire: Wire, *, now: float, merge_slashes: bool = False) -> str:
    """Say what becomes of a request: allow, deny, unauthenticated or forbidden-token."""
    path, _, query = wire.path.partition("?")
    # Two slashes at the start would be a host to urljoin; `/.` before them changes nothing.
    path = urljoin("http://x", f"/.{path}").removeprefix("http://x")
    if merge_slashes:
        path = re.sub("/+", "/", path)
    seen = _Seen(wire, path, f"{path}?{query}" if "?" in wire.path else path)
    for each in filters:
        config = each["typedConfig"]
        if each["name"] == JWT:
            status, payload = _jwt(config, wire, now)
            if status != OK:
                return FORBIDDEN_TOKEN if status == AUDIENCE else UNAUTHENTICATED
            seen.metadata = {JWT: payload}
        elif not _rbac(config, seen):
            return DENY
    return ALLOW


@dataclass
class _Seen:
    wire: Wire
    path: str
    full_path: str
    metadata: Json = field(default_factory=dict)

    def header(self, name: str) -> str | None:
        wire = self.wire
        first = {
            ":method": wire.method,
            ":path": self.full_path,
            ":authority": wire.authority,
            "host": wire.authority,
        }
        return first.get(name.lower(), {k.lower(): v for k, v in wire.headers.items()}.get(name.lower()))


# ── rbac


def _rbac(config: Json, seen: _Seen) -> bool:
    rules = config.get("rules")
    if rules is None:
        return True
    matched = any(
        any(_rule(one, seen, "andRules", "orRules", "notRule", "rules") for one in policy["permissions"])
        and any(_rule(one, seen, "andIds", "orIds", "notId", "ids") for one in policy["principals"])
        for policy in rules.get("policies", {}).values()
    )
    return {"ALLOW": matched, "DENY": not matched, "LOG": True}[rules.get("action", "ALLOW")]


def _rule(rule: Json, seen: _Seen, every: str, some: str, negated: str, listed: str) -> bool:
    [(kind, value)] = rule.items()

    def again(one: Json) -> bool:
        return _rule(one, seen, every, some, negated, listed)

    if kind == every:
        return all(map(again, value[listed]))
    if kind == some:
        return any(map(again, value[listed]))
    if kind == negated:
        return not again(value)
    return LEAVES[kind](value, seen)


def _header(value: Json, seen: _Seen) -> bool:
    held = seen.header(value["name"])
    if held is None:
        return False
    return True if value.get("presentMatch") else _string(value["stringMatch"], held)


def _template(value: Json, seen: _Seen) -> bool:
    parts = value["typedConfig"]["pathTemplate"].split("/")
    words = {"*": f"{SEGMENT}+", "**": f"(?:{SEGMENT}|/)*"}
    return re.fullmatch("/".join(words.get(one, re.escape(one)) for one in parts), seen.path) is not None


def _authenticated(value: Json, seen: _Seen) -> bool:
    return bool(seen.wire.san) and _string(value["principalName"], seen.wire.san)


def _metadata(value: Json, seen: _Seen) -> bool:
    found: Any = seen.metadata.get(value["filter"], {})
    for step in value["path"]:
        found = found.get(step["key"]) if isinstance(found, dict) else None
    return _value(value["value"], found)


def _value(matcher: Json, found: Any) -> bool:
    [(kind, value)] = matcher.items()
    if kind == "orMatch":
        return any(_value(one, found) for one in value["valueMatchers"])
    if kind == "listMatch":
        return isinstance(found, (list, tuple)) and any(_value(value["oneOf"], one) for one in found)
    assert kind == "stringMatch", kind
    return isinstance(found, str) and _string(value, found)


def _cidr(address: Callable[[Wire], str]) -> Callable[[Json, _Seen], bool]:
    def leaf(value: Json, seen: _Seen) -> bool:
        block = ipaddress.ip_network(f"{value['addressPrefix']}/{value.get('prefixLen', 0)}", strict=False)
        return ipaddress.ip_address(address(seen.wire)) in block

    return leaf


LEAVES: Mapping[str, Callable[[Any, _Seen], bool]] = {
    "any": lambda value, seen: True,
    "header": _header,
    "urlPath": lambda value, seen: _string(value["path"], seen.path),
    "uriTemplate": _template,
    "destinationPort": lambda value, seen: value == seen.wire.port,
    "destinationIp": _cidr(lambda wire: wire.destination),
    "requestedServerName": lambda value, seen: _string(value, seen.wire.sni),
    "directRemoteIp": _cidr(lambda wire: wire.source),
    "remoteIp": _cidr(lambda wire: wire.remote),
    "authenticated": _authenticated,
    "metadata": _metadata,
}


def _string(matcher: Json, value: str) -> bool:
    fold = matcher.get("ignoreCase", False)
    [(kind, wanted)] = [(key, one) for key, one in matcher.items() if key != "ignoreCase"]
    if kind == "safeRegex":
        return re.fullmatch(wanted["regex"], value) is not None
    if fold:
        wanted, value = wanted.lower(), value.lower()
    return {"exact": value == wanted, "prefix": value.startswith(wanted), "suffix": value.endswith(wanted)}[
        kind
    ]


# ── jwt_authn


def _jwt(config: Json, wire: Wire, now: float) -> tuple[str, dict[str, Any]]:
    sent = {name.lower() for name in wire.headers}
    preflight = wire.method == "OPTIONS" and {"origin", "access-control-request-method"} <= sent
    if preflight and config.get("bypassCorsPreflight"):
        return OK, {}
    payload: dict[str, Any] = {}
    providers = config["providers"]
    return _requires(config["rules"][0]["requires"], providers, wire, now, payload, tuple(providers)), payload


def _requires(
    wanted: Json, providers: Json, wire: Wire, now: float, payload: dict[str, Any], beside: tuple[str, ...]
) -> str:
    [(kind, value)] = wanted.items()
    if kind == "providerName":
        return _provider(providers[value], wire, now, payload)
    if kind == "allowMissing":
        asked = [_provider(providers[name], wire, now, {}) for name in beside]
        known = [one for one in asked if one != UNKNOWN_ISSUER]
        status = (known or asked)[0]
        return OK if status == MISSED else status
    if kind == "requiresAll":
        for one in value["requirements"]:
            status = _requires(one, providers, wire, now, payload, beside)
            if status != OK:
                return status
        return OK
    assert kind == "requiresAny", kind
    final = MISSED
    own = tuple(one["providerName"] for one in value["requirements"] if "providerName" in one)
    for one in value["requirements"]:
        status = _requires(one, providers, wire, now, payload, own)
        if status == OK:
            return OK
        if status not in (MISSED, UNKNOWN_ISSUER) or final == MISSED:
            final = status
    return final


def _provider(provider: Json, wire: Wire, now: float, payload: dict[str, Any]) -> str:
    claims = wire.claims
    if claims is None:
        return MISSED
    if not _readable(claims):
        return OTHER
    issuer = provider.get("issuer", "")
    if issuer and issuer != claims.get("iss", ""):
        return UNKNOWN_ISSUER
    begins, ends = int(claims.get("nbf", 0)), int(claims.get("exp", 0))
    if int(now) + 60 < begins or (ends and int(now) > ends + 60):
        return OTHER
    said = claims.get("aud", [])
    found = {_audience(one) for one in ([said] if isinstance(said, str) else said)}
    if provider.get("audiences") and not found & {_audience(one) for one in provider["audiences"]}:
        return AUDIENCE
    if not wire.signed:
        return OTHER
    spaced = provider["normalizePayloadInMetadata"]["spaceDelimitedClaims"]
    payload[provider["payloadInMetadata"]] = {
        name: one.split() if name in spaced and isinstance(one, str) and " " in one else one
        for name, one in claims.items()
    }
    return OK


def _readable(claims: Json) -> bool:
    for name in ("iss", "sub", "jti"):
        if not isinstance(claims.get(name, ""), str):
            return False
    for name in ("iat", "nbf", "exp"):
        value = claims.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            return False
    said = claims.get("aud", "")
    return isinstance(said, str) or (isinstance(said, list) and all(isinstance(one, str) for one in said))


def _audience(text: str) -> str:
    return re.sub(r"^https?://", "", text).removesuffix("/")
