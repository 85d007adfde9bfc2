"""Objects of the cluster (the API's JSON) as the evaluator's values.

Whatever is not understood is named in the value's `unknown`, with the place where it stands.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from meshlab.security.authorization.model import (
    NOBODY_CHOSE,
    Action,
    Authentication,
    Condition,
    DestinationRule,
    JwtRule,
    Mesh,
    Operation,
    PeerMode,
    Policy,
    Rule,
    Source,
    Target,
    Values,
)
from meshlab.security.authorization.values import CONDITION_KEYS, bad_values

DRY_RUN = "istio.io/dry-run"
TRUE_WORDS = ("1", "t", "T", "TRUE", "true", "True")  # strconv.ParseBool's
# The page "Authorization Policy" lists them under Source and Operation; each has a negation (`notPaths`).
SOURCE_FIELDS = ("principals", "requestPrincipals", "namespaces", "serviceAccounts", "trustDomains", "ipBlocks",
                 "remoteIpBlocks")  # fmt: skip
OPERATION_FIELDS = ("hosts", "ports", "methods", "paths")
# The page "Authorization Policy Conditions": keys that are followed by a name in brackets. The others: `values`.
NAMED_KEYS = ("request.headers[", "request.auth.claims[")
# Fields of a jwtRule that do not change whether a token in the Authorization header is good.
HARMLESS_JWT = {"issuer", "audiences", "jwks", "jwksUri", "jwks_uri", "forwardOriginalToken", "timeout",
                "outputPayloadToHeader", "outputClaimToHeaders", "spaceDelimitedClaims"}  # fmt: skip


def mesh(
    policies: Iterable[Mapping[str, Any]],
    authentications: Iterable[Mapping[str, Any]] = (),
    peers: Iterable[Mapping[str, Any]] = (),
    destinations: Iterable[Mapping[str, Any]] = (),
    *,
    mesh_config: str | Mapping[str, Any] = "",
    cluster_domain: str = NOBODY_CHOSE.cluster_domain,
) -> Mesh:
    """Read everything that decides.

    Args:
        policies: AuthorizationPolicies, as the API gives them.
        authentications: RequestAuthentications.
        peers: PeerAuthentications.
        destinations: DestinationRules.
        mesh_config: The text `mesh` of istiod's ConfigMap, or what it holds.
        cluster_domain: The cluster's DNS domain.

    Returns:
        The values; what is not understood is named in them.
    """
    config = (yaml.safe_load(mesh_config) if isinstance(mesh_config, str) else mesh_config) or {}
    return Mesh(
        tuple(policy(one) for one in policies),
        tuple(authentication(one) for one in authentications),
        tuple(peer_mode(one) for one in peers),
        root_namespace=config.get("rootNamespace") or NOBODY_CHOSE.root_namespace,
        trust_domain=config.get("trustDomain") or NOBODY_CHOSE.trust_domain,
        normalization=(config.get("pathNormalization") or {}).get("normalization") or "DEFAULT",
        aliases=_texts(config.get("trustDomainAliases")),
        cluster_domain=cluster_domain,
        auto_mtls=config.get("enableAutoMtls") is not False,
        destinations=tuple(destination(one) for one in destinations),
    )


def policy(found: Mapping[str, Any]) -> Policy:
    """An AuthorizationPolicy."""
    meta, spec = found["metadata"], found.get("spec") or {}
    word = str(spec.get("action") or "ALLOW")
    action = Action(word) if word in Action.__members__ else None
    unknown = _others("spec", spec, ("selector", "targetRef", "targetRefs", "action", "rules", "provider"))
    if action is None:
        unknown += (f"spec.action {word}",)
    return Policy(
        meta["name"],
        _target(meta, spec),
        action,
        tuple(_rule(f"spec.rules[{index}]", one or {}) for index, one in enumerate(spec.get("rules") or ())),
        dry_run=str((meta.get("annotations") or {}).get(DRY_RUN)) in TRUE_WORDS,
        unknown=unknown,
    )


def authentication(found: Mapping[str, Any]) -> Authentication:
    """A RequestAuthentication."""
    meta, spec = found["metadata"], found.get("spec") or {}
    known = ("selector", "targetRef", "targetRefs", "jwtRules")
    rules = tuple(_jwt(f"spec.jwtRules[{i}]", one) for i, one in enumerate(spec.get("jwtRules") or ()))
    unknown = _others("spec", spec, known)
    return Authentication(meta["name"], _target(meta, spec), rules, unknown, _created(meta))


def peer_mode(found: Mapping[str, Any]) -> PeerMode:
    """A PeerAuthentication."""
    meta, spec = found["metadata"], found.get("spec") or {}
    ports = {
        int(port): (value or {}).get("mode") or "UNSET"
        for port, value in (spec.get("portLevelMtls") or {}).items()
    }
    mode = (spec.get("mtls") or {}).get("mode") or "UNSET"
    return PeerMode(meta["name"], _target(meta, spec), mode, ports, _created(meta))


def destination(found: Mapping[str, Any]) -> DestinationRule:
    """Of a DestinationRule what decides about TLS."""
    meta, spec = found["metadata"], found.get("spec") or {}
    policy = spec.get("trafficPolicy") or {}
    ports = {
        int((one.get("port") or {}).get("number") or 0): (one.get("tls") or {}).get("mode") or ""
        for one in policy.get("portLevelSettings") or ()
    }
    unknown = tuple(
        f"spec.subsets[{one.get('name')}].trafficPolicy.tls"
        for one in spec.get("subsets") or ()
        if "tls" in str(one.get("trafficPolicy") or {})
    )
    if spec.get("workloadSelector"):
        unknown += ("spec.workloadSelector",)
    return DestinationRule(
        meta["name"],
        meta["namespace"],
        str(spec.get("host") or ""),
        (policy.get("tls") or {}).get("mode") or "",
        ports,
        _texts(spec.get("exportTo")),
        unknown,
    )


def _created(meta: Mapping[str, Any]) -> str:
    return str(meta.get("creationTimestamp") or "")


def _target(meta: Mapping[str, Any], spec: Mapping[str, Any]) -> Target:
    selector = spec.get("selector") or {}
    unknown = _others("spec.selector", selector, ("matchLabels",))
    listed = spec.get("targetRefs") or ([spec["targetRef"]] if spec.get("targetRef") else [])
    refs = tuple(f"{one.get('kind')}/{one.get('name')}" for one in listed)
    unknown += tuple(f"spec.targetRefs {one}" for one in refs if not one.startswith("Gateway/"))
    labels = selector.get("matchLabels") or {}
    unknown += tuple(
        f"spec.selector.matchLabels[{key}] {value}" for key, value in labels.items() if "*" in str(value)
    )
    return Target(meta["namespace"], labels, unknown, refs)


def _rule(where: str, found: Mapping[str, Any]) -> Rule:
    return Rule(
        tuple(
            Source(*_fields(f"{where}.from[{i}].source", (one or {}).get("source"), SOURCE_FIELDS))
            for i, one in enumerate(found.get("from") or ())
        ),
        tuple(
            Operation(*_fields(f"{where}.to[{i}].operation", (one or {}).get("operation"), OPERATION_FIELDS))
            for i, one in enumerate(found.get("to") or ())
        ),
        tuple(_condition(f"{where}.when[{i}]", one or {}) for i, one in enumerate(found.get("when") or ())),
        _others(where, found, ("from", "to", "when"))
        + _entries(where, found, "from", "source")
        + _entries(where, found, "to", "operation"),
    )


def _entries(where: str, found: Mapping[str, Any], name: str, only: str) -> tuple[str, ...]:
    return tuple(
        other
        for index, one in enumerate(found.get(name) or ())
        for other in _others(f"{where}.{name}[{index}]", one or {}, (only,))
    )


def _fields(
    where: str, found: Mapping[str, Any] | None, known: Sequence[str]
) -> tuple[dict[str, Values], tuple[str, ...]]:
    spec = found or {}
    fields: dict[str, Values] = {}
    negations = {name: f"not{name[0].upper()}{name[1:]}" for name in known}
    unknown = _others(where, spec, (*known, *negations.values()))
    for name, negation in negations.items():
        values = Values(_texts(spec.get(name)), _texts(spec.get(negation)))
        flaws = bad_values(name, values)
        unknown += tuple(f"{where}.{name} {flaw}" for flaw in flaws)
        if values and not flaws:  # a field that is not understood is no condition, its unknown entry is
            fields[name] = values
    return fields, unknown


def _condition(where: str, found: Mapping[str, Any]) -> Condition:
    key = str(found.get("key") or "")
    values = Values(_texts(found.get("values")), _texts(found.get("notValues")))
    unknown = _others(where, found, ("key", "values", "notValues"))
    if key in CONDITION_KEYS:
        unknown += tuple(f"{where} {key} {flaw}" for flaw in bad_values(CONDITION_KEYS[key], values))
    elif key.startswith(NAMED_KEYS) and key.endswith("]") and not key.endswith("[]"):
        unknown += tuple(f"{where} {key} {flaw}" for flaw in bad_values("", values))
    else:
        unknown += (f"{where}.key {key or '(none)'}",)
    return Condition(key, values, unknown)


def _jwt(where: str, found: Mapping[str, Any]) -> JwtRule:
    unknown = _others(where, found, tuple(HARMLESS_JWT))
    ids: tuple[str, ...] | None = None
    if found.get("jwks"):
        try:
            keys = json.loads(found["jwks"])["keys"]
            ids = tuple(str(key.get("kid", "")) for key in keys)
        except (ValueError, KeyError, TypeError):
            unknown += (f"{where}.jwks",)
    spaced = ("scope", "permission", *_texts(found.get("spaceDelimitedClaims")))
    uri = str(found.get("jwksUri") or found.get("jwks_uri") or "")
    return JwtRule(str(found.get("issuer") or ""), _texts(found.get("audiences")), ids, spaced, unknown, uri)


def _others(where: str, found: Mapping[str, Any], known: Sequence[str]) -> tuple[str, ...]:
    """Names that are set and not known."""
    return tuple(f"{where}.{name}" for name in found if name not in known)


def _texts(found: Any) -> tuple[str, ...]:
    return tuple(str(one) for one in found or ())
