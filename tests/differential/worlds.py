"""Random worlds: policies, a mesh's configuration, a workload; and random requests to it. The same for the same seed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Any

from meshlab.security.authorization import parse
from meshlab.security.authorization.evaluate import decide
from meshlab.security.authorization.model import Identity, Mesh, Outcome, Request, Token, Workload
from tests.differential import envoy

NOW = 1_800_000_000.0
PORTS = (18000, 19000)
DOMAINS = ("cluster.local", "corp.example", "old.example", "third-td")
NAMESPACES, ACCOUNTS = ("foo", "bar"), ("sleep", "web")
ADDRESSES = ("127.1.2.3", "127.1.9.9", "127.2.0.1")
METHODS, PATHS = ("GET", "POST", "OPTIONS"), ("/", "/a", "/a/b", "/a/b/c", "/admin", "/x/../admin", "/a/./b", "//a",
                                              "/a?b=/admin", "/A")  # fmt: skip
ISSUERS = ("one", "two")
VALUES: dict[str, tuple[str, ...]] = {
    "principals": ("*", "cluster.local/ns/foo/sa/web", "old.example/ns/bar/sa/sleep", "corp.example/ns/foo/*",
                   "*/sa/web", "*/ns/foo/sa/sleep", "third-td/ns/bar/sa/*", "*.example/ns/bar/sa/web",
                   "cluster.local/ns/foo*", "cluster.local/ns/foo/sa/*", "cluster.local/ns/bar/sa/*",
                   "*-td/ns/foo/sa/web", "corp*"),
    "namespaces": ("foo", "ba*", "*oo", "bar", "*", "fo"),
    "serviceAccounts": ("web", "foo/sleep", "bar/web", "sleep"),
    "trustDomains": ("cluster.local", "corp.example", "old.example", "*.example", "third*", "*", "example"),
    "requestPrincipals": ("*", "one/alice", "two/*", "*/bob", "on*", "*ice", "one"),
    "ipBlocks": ("127.1.0.0/16", "127.2.0.1", "10.0.0.0/8"),
    "remoteIpBlocks": ("203.0.113.0/24", "127.1.2.3"),
    "hosts": ("httpbin.foo:18000", "HTTPBIN*", "*:19000", "*", "other"),
    "ports": ("18000", "19000", "80"),
    "methods": ("GET", "P*", "*T", "*", "get"),
    "paths": ("/a", "/a*", "*min", "/a/{*}", "/{**}", "/admin", "*", "/a/{*}/c", "/a/b"),
}  # fmt: skip
SOURCES = ("principals", "namespaces", "serviceAccounts", "trustDomains", "requestPrincipals", "ipBlocks",
           "remoteIpBlocks")  # fmt: skip
OPERATIONS = ("hosts", "ports", "methods", "paths")
CONDITIONS: dict[str, tuple[str, ...]] = {
    "source.ip": VALUES["ipBlocks"], "remote.ip": VALUES["remoteIpBlocks"], "destination.port": ("18000", "9"),
    "source.namespace": VALUES["namespaces"], "source.principal": VALUES["principals"],
    "request.auth.principal": VALUES["requestPrincipals"], "request.auth.audiences": ("books", "https://a", "*"),
    "request.auth.presenter": ("shop", "sh*"), "request.auth.claims[groups]": ("editors", "*ers", "*"),
    "request.auth.claims[realm][role]": ("boss", "b*"), "request.auth.claims[scope]": ("read", "read write"),
    "request.headers[x-a]": ("1", "*", "1*", "*2"), "request.headers[:method]": ("GET", "*S"),
    "request.headers[:path]": ("/a?b=/admin", "/a*", "*admin"), "request.headers[:authority]": ("httpbin*", "*0"),
    "connection.sni": ("outbound*", "*.local", "*"), "destination.ip": ("127.77.0.0/16", "10.0.0.1"),
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A request to a world's workload. peer: of a caller with a proxy, None for one without."""

    wire: envoy.Wire
    peer: Identity | None


def world(seed: int) -> dict[str, Any]:
    """One world, as tests/differential/istio.go reads it."""
    chance = Random(seed)
    domain = chance.choice(("cluster.local", "corp.example", "corp.example"))
    aliases = chance.choice(([], [], ["old.example"], ["old.example", "third-td"]))
    if seed % 2:
        objects = [_narrow(chance, seed // 2), *_tokens(chance)]
    else:
        objects = [_policy(chance, number) for number in range(chance.choice((0, 1, 1, 2, 3, 4)))]
        objects += [_authentication(chance, number) for number in range(chance.choice((0, 1, 1, 1, 2)))]
        objects += [_peer(chance, number) for number in range(chance.choice((0, 0, 1, 2, 3)))]
    return {
        "mesh": {"trustDomain": domain, "trustDomainAliases": aliases, "rootNamespace": "istio-system"},
        "slashes": chance.choice(("BASE", "MERGE_SLASHES")),
        "objects": objects,
        "workload": {"namespace": "foo", "labels": {"app": "httpbin"}},
        "ports": list(PORTS),
    }


def requests(seed: int, count: int, *, now: float = NOW) -> list[Case]:
    """Random requests to a workload."""
    chance = Random(f"requests of {seed}")
    return [_request(chance, now) for _ in range(count)]


def expected(found: dict[str, Any], config: dict[str, Any], case: Case, *, now: float = NOW) -> str:
    """What Istio's configuration and the model of Envoy say."""
    mode, wire = config["modes"][str(case.wire.port)], case.wire
    if case.peer is None and mode == "STRICT":
        return str(Outcome.REFUSED)
    if mode == "DISABLE":
        wire = replace(wire, san="", sni="")
    return envoy.answer(config["filters"], wire, now=now, merge_slashes=found["slashes"] == "MERGE_SLASHES")


def mesh_of(found: dict[str, Any]) -> Mesh:
    """The world as the evaluator reads it."""
    kinds = ("AuthorizationPolicy", "RequestAuthentication", "PeerAuthentication")
    parts = [[one for one in found["objects"] if one["kind"] == kind] for kind in kinds]
    config = {**found["mesh"], "pathNormalization": {"normalization": found["slashes"]}}
    return parse.mesh(*parts, mesh_config=config)


def ours(found: dict[str, Any], mesh: Mesh, case: Case, *, now: float = NOW) -> str:
    """What the evaluator says."""
    wire = case.wire
    token = None if wire.claims is None else Token("t", wire.claims, wire.signed)
    sent = Request(
        wire.method, wire.path, wire.authority, wire.port, case.peer, token, wire.headers, wire.source,
        wire.remote, wire.destination, wire.sni, "httpbin.foo",
    )  # fmt: skip
    workload = Workload(found["workload"]["namespace"], found["workload"]["labels"])
    return str(decide(mesh, workload, sent, now=now).outcome)


def _request(chance: Random, now: float) -> Case:
    peer = None
    if chance.random() < 0.8:
        peer = Identity(chance.choice(DOMAINS), chance.choice(NAMESPACES), chance.choice(ACCOUNTS))
    port, method = chance.choice(PORTS), chance.choice(METHODS)
    headers = {"x-a": chance.choice(("1", "12", ""))} if chance.random() < 0.5 else {}
    if method == "OPTIONS" and chance.random() < 0.5:
        headers |= {"origin": "https://a.svc", "access-control-request-method": "GET"}
    wire = envoy.Wire(
        method, chance.choice(PATHS), chance.choice((f"httpbin.foo:{port}", "other")), port,
        chance.choice(ADDRESSES), chance.choice(("203.0.113.7", "127.1.2.3")), "127.77.0.1",
        san=f"spiffe://{peer.principal}" if peer else "",
        sni=f"outbound_.{port}_._.httpbin.foo.svc.cluster.local" if peer else "",
        headers=headers, claims=_claims(chance, now), signed=chance.random() < 0.85,
    )  # fmt: skip
    return Case(wire, peer)


def _claims(chance: Random, now: float) -> dict[str, Any] | None:
    if chance.random() < 0.35:
        return None
    claims: dict[str, Any] = {
        "iss": chance.choice((*ISSUERS, "one", "three")),
        "sub": chance.choice(("alice", "bob")),
    }
    optional = {
        "exp": (now + 600, now - 30, now - 90, None, "abc") if chance.random() < 0.3 else (now + 600,),
        "nbf": (now - 5, now + 30, now + 90),
        "aud": ("books", ["films", "books"], "https://a/", 5, []),
        "azp": ("shop", "ship"), "groups": (["editors", "viewers"], "editors", 7, []),
        "realm": ({"role": "boss"}, {"role": ["boss", "x"]}, "boss"), "scope": ("read write", "read"),
    }  # fmt: skip
    for name, values in optional.items():
        if chance.random() < 0.45:
            value = chance.choice(values)
            claims[name] = int(value) if isinstance(value, float) else value
    if chance.random() < 0.03:
        del claims[chance.choice(("iss", "sub"))]
    elif chance.random() < 0.03:
        claims["sub"] = 5
    return claims


# ── objects


def _meta(chance: Random, number: int) -> dict[str, Any]:
    born = f"2026-0{chance.randint(1, 9)}-01T00:00:00Z"
    namespace = chance.choice(("foo", "foo", "foo", "istio-system", "bar"))
    return {"name": f"n{chance.randint(0, 9)}-{number}", "namespace": namespace, "creationTimestamp": born}


def _selected(chance: Random) -> dict[str, Any]:
    labels = chance.choice((None, None, {"app": "httpbin"}, {"app": "other"}))
    return {"selector": {"matchLabels": labels}} if labels else {}


def _policy(chance: Random, number: int) -> dict[str, Any]:
    meta = _meta(chance, number)
    action = chance.choice(("ALLOW", "ALLOW", "DENY", "DENY", "AUDIT"))
    if action != "AUDIT" and chance.random() < 0.08:
        meta["annotations"] = {"istio.io/dry-run": chance.choice(("true", "false", "1"))}
    target = _selected(chance)
    if chance.random() < 0.05:
        target = {
            "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "httpbin"}]
        }
    fewest = 0 if action == "ALLOW" else 1
    rules = [_rule(chance) for _ in range(max(fewest, chance.choice((0, 1, 1, 2, 3))))]
    spec = {"action": action, **target, **({"rules": rules} if rules else {})}
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": meta,
        "spec": spec,
    }


def _narrow(chance: Random, number: int) -> dict[str, Any]:
    """A policy that hangs on one field or condition; each has its turn."""
    names = (*SOURCES, *OPERATIONS, *CONDITIONS)
    name = names[number % len(names)]
    values = CONDITIONS.get(name) or VALUES[name]
    told = chance.sample(values, min(len(values), chance.choice((1, 2, 3))))
    yes = chance.random() < 0.7
    if name in CONDITIONS:
        rule: dict[str, Any] = {"when": [{"key": name, "values" if yes else "notValues": told}]}
    else:
        field = {name if yes else f"not{name[0].upper()}{name[1:]}": told}
        rule = {"from": [{"source": field}]} if name in SOURCES else {"to": [{"operation": field}]}
    meta = {"name": "narrow", "namespace": "foo", "creationTimestamp": "2026-01-01T00:00:00Z"}
    spec = {"action": chance.choice(("ALLOW", "DENY")), "rules": [rule]}
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": meta,
        "spec": spec,
    }


def _tokens(chance: Random) -> list[dict[str, Any]]:
    found = _authentication(chance, 0)
    found["metadata"]["namespace"] = "foo"
    return [found]


def _rule(chance: Random) -> dict[str, Any]:
    rule: dict[str, Any] = {}
    if chance.random() < 0.6:
        rule["from"] = [{"source": _fields(chance, SOURCES)} for _ in range(chance.choice((1, 1, 2)))]
    if chance.random() < 0.6:
        rule["to"] = [{"operation": _fields(chance, OPERATIONS)} for _ in range(chance.choice((1, 1, 2)))]
    if chance.random() < 0.4:
        keys = chance.sample(sorted(CONDITIONS), chance.choice((1, 1, 2)))
        rule["when"] = [
            {"key": key, chance.choice(("values", "values", "notValues")): _some(chance, CONDITIONS[key])}
            for key in keys
        ]
    return rule


def _fields(chance: Random, names: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in chance.sample(names, chance.choice((1, 1, 2, 3))):
        lone = name == "serviceAccounts" and (
            {"principals", "namespaces"} & {key.removeprefix("not").lower() for key in found}
        )
        taken = name in ("principals", "namespaces") and any("erviceAccounts" in key for key in found)
        if not lone and not taken:  # Istio refuses accounts beside principals or namespaces
            key = name if chance.random() < 0.65 else f"not{name[0].upper()}{name[1:]}"
            found[key] = _some(chance, VALUES[name])
    return found or {names[-1]: [VALUES[names[-1]][0]]}


def _some(chance: Random, values: tuple[str, ...]) -> list[str]:
    return chance.sample(values, min(len(values), chance.choice((1, 1, 2))))


def _authentication(chance: Random, number: int) -> dict[str, Any]:
    rules = []
    for _ in range(chance.choice((1, 1, 2))):
        rule: dict[str, Any] = {"issuer": chance.choice(ISSUERS), "jwks": '{"keys":[]}'}
        if chance.random() < 0.35:
            rule["audiences"] = chance.choice((["books"], ["http://a"], ["films", "https://a/"]))
        if chance.random() < 0.15:
            rule["spaceDelimitedClaims"] = ["groups"]
        rules.append(rule)
    return {"apiVersion": "security.istio.io/v1", "kind": "RequestAuthentication", "metadata": _meta(chance, number),
            "spec": {**_selected(chance), "jwtRules": rules}}  # fmt: skip


def _peer(chance: Random, number: int) -> dict[str, Any]:
    modes = ("STRICT", "PERMISSIVE", "DISABLE", "UNSET")
    spec: dict[str, Any] = {"mtls": {"mode": chance.choice(modes)}, **_selected(chance)}
    if "selector" in spec and chance.random() < 0.6:
        spec["portLevelMtls"] = {str(chance.choice(PORTS)): {"mode": chance.choice(modes)}}
    return {"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": _meta(chance, number),
            "spec": spec}  # fmt: skip
