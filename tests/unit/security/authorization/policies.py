"""Policies and requests for tests: short to write, in the API's own words."""

from __future__ import annotations

from typing import Any

import yaml

from meshlab.security.authorization import parse
from meshlab.security.authorization.evaluate import decide
from meshlab.security.authorization.model import Decision, Identity, Mesh, Request, Token, Workload

NOW = 1_800_000_000.0
FOO = Workload("foo", {"app": "httpbin", "version": "v1"})


def policy(text: str = "{}", *, name: str = "p", namespace: str = "foo", dry_run: str = "") -> dict[str, Any]:
    """An AuthorizationPolicy whose spec is this YAML."""
    meta: dict[str, Any] = {"name": name, "namespace": namespace}
    if dry_run:
        meta["annotations"] = {"istio.io/dry-run": dry_run}
    return {"metadata": meta, "spec": yaml.safe_load(text)}


def peer(name: str = "default/sleep", *, trust_domain: str = "cluster.local") -> Identity:
    """namespace/account."""
    namespace, _, account = name.partition("/")
    return Identity(trust_domain, namespace, account)


def request(
    line: str = "GET /", caller: str | None = "default/sleep", token: Token | None = None, **more: Any
) -> Request:
    """METHOD path, as namespace/account (None: in plaintext)."""
    method, _, path = line.partition(" ")
    fixed = {"host": "httpbin.foo:8000", "port": 8000, "source_ip": "10.1.2.3", **more}
    return Request(method, path, peer=peer(caller) if caller else None, token=token, **fixed)


def token(name: str = "t", *, signed: bool = True, **claims: Any) -> Token:
    """A token of testing@secure.istio.io, as Istio's JWT samples have it."""
    said = {"iss": "testing@secure.istio.io", "sub": "testing@secure.istio.io", "exp": NOW + 60, **claims}
    return Token(name, said, signed)


def jwt(namespace: str = "foo", **rule: Any) -> dict[str, Any]:
    """A RequestAuthentication of that issuer."""
    rules = [{"issuer": "testing@secure.istio.io", "jwks": '{"keys": [{"kid": "k"}]}', **rule}]
    return {"metadata": {"name": "jwt", "namespace": namespace}, "spec": {"jwtRules": rules}}


def mesh(*policies: dict[str, Any], **more: Any) -> Mesh:
    """The policies in a mesh. more: authentications, peers, mesh_config."""
    return parse.mesh(policies, **more)


def answer(found: Mesh, wanted: Request, workload: Workload = FOO) -> Decision:
    """The decision at httpbin in foo."""
    return decide(found, workload, wanted, now=NOW)


def source(text: str) -> str:
    """The spec of a policy with one source."""
    return f"rules: [{{from: [{{source: {text}}}]}}]"


def operation(text: str) -> str:
    """The spec of a policy with one operation."""
    return f"rules: [{{to: [{{operation: {text}}}]}}]"


def when(key: str, values: str) -> str:
    """The spec of a policy with one condition."""
    return f"rules: [{{when: [{{key: '{key}', {values}}}]}}]"
