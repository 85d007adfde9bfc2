"""AuthorizationPolicies by chance, from all that the evaluator claims to know."""

from __future__ import annotations

import random
from typing import Any

SERVICES = ("productpage", "details", "reviews", "ratings")
METHODS = ("GET", "POST", "DELETE", "P*", "*ET", "*")
PATHS = ("/health", "/details/*", "/ratings*", "*/0", "*/health", "*", "/{**}", "/details/{*}", "/details/{**}",
         "/{*}/0", "/reviews/{*}/{*}", "/reviews/admin/{**}", "/reviews/{*}/users", "/{*}/{*}", "/productpage",
         "/reviews/0/../admin/users", "/details/{**}/")  # fmt: skip


def values(namespace: str, issuer: str) -> dict[str, tuple[str, ...]]:
    """Field of a source or an operation → values that meet some of the table's requests, and some that meet none."""
    prefix = f"cluster.local/ns/{namespace}/sa"
    return {
        "principals": (
            f"{prefix}/sleep",
            f"{prefix}/bookinfo-productpage",
            f"{prefix}/*",
            "*/bookinfo-reviews",
            "*",
        ),
        "namespaces": (namespace, f"{namespace[:3]}*", "istio-system", "*", "nowhere"),
        "serviceAccounts": (f"{namespace}/sleep", "bookinfo-reviews", "elsewhere/sleep"),
        "requestPrincipals": (f"{issuer}/*", f"{issuer}/editor", "*/reader", "*", f"{issuer[:6]}*"),
        "ipBlocks": ("10.0.0.0/8", "10.191.16.0/24", "10.191.17.0/24", "10.181.18.0/24", "192.0.2.1"),
        "methods": METHODS,
        "paths": PATHS,
        "hosts": ("details*", "REVIEWS*", "*:9080", f"ratings.{namespace}.svc:9080", "*", "other"),
        "ports": ("9080", "80"),
    }


def conditions(namespace: str, issuer: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Keys of `when` with values."""
    return (
        ("request.auth.claims[groups]", ("editors", "read*")),
        ("request.auth.claims[iss]", (issuer,)),
        ("request.auth.principal", (f"{issuer}/*",)),
        ("request.headers[x-nobody]", ("*",)),
        ("source.namespace", (namespace,)),
        ("source.principal", ("*/sleep", "*")),
        ("source.ip", ("10.0.0.0/8",)),
        ("destination.port", ("9080",)),
        ("connection.sni", (f"*.details.{namespace}.svc.cluster.local", "outbound*")),
    )


def fields(
    chance: random.Random, known: dict[str, tuple[str, ...]], names: tuple[str, ...]
) -> dict[str, list[str]]:
    """One to three fields, some of them negated. serviceAccounts stand alone: the API refuses them beside others."""
    chosen = chance.sample(names, chance.choice((1, 1, 2, 3)))
    if "serviceAccounts" in chosen:
        chosen = [name for name in chosen if name not in ("principals", "namespaces")]
    found = {}
    for name in chosen:
        key = f"not{name[0].upper()}{name[1:]}" if chance.random() < 0.3 else name
        found[key] = chance.sample(known[name], chance.choice((1, 2)))
    return found


def random_policies(seed: int, count: int, namespace: str, issuer: str) -> list[dict[str, Any]]:
    """`count` policies: mostly ALLOW, of one service or of all, with up to two rules."""
    chance = random.Random(seed)
    known, keys = values(namespace, issuer), conditions(namespace, issuer)
    found = []
    for number in range(count):
        rules = []
        for _ in range(chance.choice((0, 1, 1, 1, 2))):
            rule: dict[str, Any] = {}
            sources = ("principals", "namespaces", "serviceAccounts", "requestPrincipals", "ipBlocks")
            operations = ("methods", "paths", "hosts", "ports")
            if chance.random() < 0.7:
                rule["from"] = [
                    {"source": fields(chance, known, sources)} for _ in range(chance.choice((1, 1, 2)))
                ]
            if chance.random() < 0.8:
                rule["to"] = [
                    {"operation": fields(chance, known, operations)} for _ in range(chance.choice((1, 1, 2)))
                ]
            if chance.random() < 0.4:
                key, some = chance.choice(keys)
                rule["when"] = [{"key": key, chance.choice(("values", "notValues")): [chance.choice(some)]}]
            rules.append(rule)
        action = chance.choice(("ALLOW", "ALLOW", "ALLOW", "DENY", "AUDIT"))
        if action == "DENY":  # narrow, else nothing is left to be told apart
            rules = [rule for rule in rules if rule.get("from") and rule.get("to")]
        if not rules:
            action = "ALLOW"  # of the others Istio refuses one that says nothing
        spec: dict[str, Any] = {"action": action, "rules": rules}
        if chance.random() < 0.8:
            spec["selector"] = {"matchLabels": {"app": chance.choice(SERVICES)}}
        meta: dict[str, Any] = {"name": f"by-chance-{number}", "namespace": namespace}
        if action != "AUDIT" and chance.random() < 0.1:
            meta["annotations"] = {"istio.io/dry-run": "true"}
        found.append(
            {
                "apiVersion": "security.istio.io/v1",
                "kind": "AuthorizationPolicy",
                "metadata": meta,
                "spec": spec,
            }
        )
    return found
