"""What policies do to traffic: whom they let pass, and whom they refuse."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from meshlab.causes.effects import Does, Told, World, labels_of, targets_of
from meshlab.causes.objects import Found

# How the paths begin that the checks ask for; one of them may stand for all below it.
ASKED = (
    "/productpage",
    "/details",
    "/reviews",
    "/ratings",
    "/api",
    "/health",
    "/static",
    "/login",
    "/logout",
)


def of_peer_authentication(found: Found, world: World) -> Told:
    """Tell what a PeerAuthentication does."""
    whose = world.selected(found, labels_of(found))
    modes = {"": (found.spec.get("mtls") or {}).get("mode")}
    modes |= {
        f" on port {port}": (each or {}).get("mode")
        for port, each in (found.spec.get("portLevelMtls") or {}).items()
    }
    for where, mode in modes.items():
        if mode in ("PERMISSIVE", "DISABLE"):
            yield Does.PLAINTEXT, whose, f"mode {mode}{where} takes plaintext"
        if mode == "DISABLE":
            yield Does.NO_MTLS, whose, f"mode DISABLE{where}: the server offers no mutual TLS"


def _whose(found: Found, world: World) -> frozenset[str]:
    """Whose requests a policy judges: those of what it names, or else of what it selects."""
    return targets_of(found) or world.selected(found, labels_of(found))


def of_authorization_policy(found: Found, world: World) -> Told:
    """Tell what an AuthorizationPolicy does."""
    whose, rules = _whose(found, world), found.spec.get("rules") or []
    if str(found.annotations.get("istio.io/dry-run", "")).lower() == "true":
        yield Does.TRIAL, whose, "istio.io/dry-run: it enforces nothing"
        return
    action = found.spec.get("action", "ALLOW")
    if action == "DENY" and rules:
        does = Does.REFUSES if any(map(_of_our_paths, rules)) else Does.REFUSES_OTHERS
        yield does, whose, "action DENY refuses what its rules name"
    elif action == "CUSTOM":
        yield Does.REFUSES, whose, "action CUSTOM asks an authorizer of its own"
    elif action == "ALLOW" and any(not rule for rule in rules):
        yield Does.ALLOWS, whose, "a rule without conditions allows everything to everybody"
    elif action == "ALLOW":
        named = f"{len(rules)} rules" if rules else "no rule"
        yield Does.REFUSES, whose, f"action ALLOW with {named} refuses all that they do not name"
        if rules:
            yield Does.ALLOWS, whose, "action ALLOW lets pass what its rules name"


def _of_our_paths(rule: Mapping[str, Any]) -> bool:
    """Whether a rule can be about a request of the checks, as far as its paths tell."""
    operations: Iterable[Any] = [each.get("operation") or {} for each in (rule or {}).get("to") or ()]
    listed = [each.get("paths") for each in operations]
    return not listed or any(not paths or any(_may_match(str(path)) for path in paths) for paths in listed)


def _may_match(pattern: str) -> bool:
    """Whether a path of the checks may match: where a wildcard or a template stands in front of it, all may."""
    begin = pattern.partition("*")[0].partition("{")[0]
    return begin in ("", "/") or any(begin.startswith(path) or path.startswith(begin) for path in ASKED)


def of_request_authentication(found: Found, world: World) -> Told:
    """Tell what a RequestAuthentication does."""
    issuers = ", ".join(str(rule.get("issuer")) for rule in found.spec.get("jwtRules") or ())
    yield (
        Does.TOKENS,
        _whose(found, world),
        f"tokens that {issuers or 'nobody'} did not issue are refused",
    )


def of_network_policy(found: Found, world: World) -> Told:
    """Tell what a NetworkPolicy does."""
    selector = (found.spec.get("podSelector") or {}).get("matchLabels") or {}
    types = found.spec.get("policyTypes") or ["Ingress", *(["Egress"] if "egress" in found.spec else [])]
    types = [each for each in types if {} not in (found.spec.get(each.lower()) or ())]
    if not types:
        return  # a rule without conditions lets everything pass
    yield Does.CUTS, world.selected(found, selector), f"only what it names may pass ({', '.join(types)})"
