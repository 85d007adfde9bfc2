"""AuthorizationPolicy, RequestAuthentication and PeerAuthentication as values, and the request that they judge.

Istio's reference pages: "Authorization Policy", "Authorization Policy Conditions", "RequestAuthentication",
"PeerAuthentication". What a policy says that this model does not know is kept by name (`unknown`), and
every answer that hangs on it is unknown too: nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from meshlab.istio.mesh import Mesh as Facts

NOBODY_CHOSE = Facts("")  # the names that Istio takes where nobody chose others
Answer = bool | None  # of a question to a rule; None: not known


class Action(StrEnum):
    """What a policy does with a request that matches."""

    ALLOW = "ALLOW"
    DENY = "DENY"
    AUDIT = "AUDIT"
    CUSTOM = "CUSTOM"


class Outcome(StrEnum):
    """What becomes of a request."""

    ALLOW = "allow"  # it reaches the application
    DENY = "deny"  # 403, "RBAC: access denied"
    UNAUTHENTICATED = "unauthenticated"  # 401: a token that is not good
    FORBIDDEN_TOKEN = "forbidden-token"  # 403 of the token's own: it is meant for another audience
    UNREACHABLE = "unreachable"  # 503 of the caller's own proxy: the two sides disagree about mutual TLS
    REFUSED = "refused"  # the connection is ended: plaintext where mutual TLS is wanted
    UNKNOWN = "unknown"  # the policies say something that the evaluator does not know


@dataclass(frozen=True)
class Values:
    """A field and its negation. An empty tuple: not set, so any value will do."""

    wanted: tuple[str, ...] = ()
    unwanted: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.wanted or self.unwanted)


@dataclass(frozen=True)
class Source:
    """`from[].source`: fields are ANDed, by their names in the API. unknown: what is not understood in it."""

    fields: Mapping[str, Values] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Operation:
    """`to[].operation`: fields are ANDed, by their names in the API."""

    fields: Mapping[str, Values] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Condition:
    """One entry of `when`."""

    key: str
    values: Values
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rule:
    """A rule matches when one source (or none is given), one operation and every condition match."""

    sources: tuple[Source, ...] = ()
    operations: tuple[Operation, ...] = ()
    conditions: tuple[Condition, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Target:
    """Which workloads an object is for. labels: of its selector, empty for all of the namespace.

    refs: kind/name of its targetRefs, which are gateways and waypoints. unknown: what else it says about that.
    """

    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    refs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Policy:
    """An AuthorizationPolicy. action: None when it is none that we know. dry_run: it is not enforced."""

    name: str
    target: Target
    action: Action | None = Action.ALLOW
    rules: tuple[Rule, ...] = ()
    dry_run: bool = False
    unknown: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """namespace/name, as findings call it."""
        return f"{self.target.namespace}/{self.name}"


@dataclass(frozen=True)
class JwtRule:
    """One entry of a RequestAuthentication's jwtRules. issuer, audiences: empty for any.

    key_ids: of its inline keys; None where the keys are fetched, from `uri` or as the issuer tells. spaced:
    claims that are lists with spaces in between.
    """

    issuer: str
    audiences: tuple[str, ...] = ()
    key_ids: tuple[str, ...] | None = None
    spaced: tuple[str, ...] = ("scope", "permission")
    unknown: tuple[str, ...] = ()
    uri: str = ""


@dataclass(frozen=True)
class Authentication:
    """A RequestAuthentication. created: its creationTimestamp; rules of one issuer are asked by age."""

    name: str
    target: Target
    rules: tuple[JwtRule, ...] = ()
    unknown: tuple[str, ...] = ()
    created: str = ""


@dataclass(frozen=True)
class PeerMode:
    """A PeerAuthentication. mode: STRICT, PERMISSIVE, DISABLE or UNSET; ports: the same by port.

    created: its creationTimestamp; of several the oldest is in force.
    """

    name: str
    target: Target
    mode: str = "UNSET"
    ports: Mapping[int, str] = field(default_factory=dict)
    created: str = ""


@dataclass(frozen=True)
class DestinationRule:
    """Of a DestinationRule, how callers send: mode of its TLS (empty: not set), and by port where that differs.

    unknown: what else may decide that (subsets and workload selectors with TLS of their own).
    """

    name: str
    namespace: str
    host: str
    mode: str = ""
    ports: Mapping[int, str] = field(default_factory=dict)
    export_to: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mesh:
    """All that decides: the policies, and of the mesh's configuration what their meaning hangs on.

    normalization: meshConfig.pathNormalization (DEFAULT is BASE). aliases: meshConfig.trustDomainAliases.
    auto_mtls: meshConfig.enableAutoMtls. fetched: jwksUri, or issuer where a rule has none → whether istiod
    has its keys; where it says nothing that is not known.
    """

    policies: tuple[Policy, ...] = ()
    authentications: tuple[Authentication, ...] = ()
    peers: tuple[PeerMode, ...] = ()
    root_namespace: str = NOBODY_CHOSE.root_namespace
    trust_domain: str = NOBODY_CHOSE.trust_domain
    normalization: str = "DEFAULT"
    aliases: tuple[str, ...] = ()
    cluster_domain: str = NOBODY_CHOSE.cluster_domain
    auto_mtls: bool = True
    destinations: tuple[DestinationRule, ...] = ()
    fetched: Mapping[str, bool] = field(default_factory=dict)

    @property
    def domains(self) -> tuple[str, ...]:
        """The trust domain and its aliases."""
        return (self.trust_domain, *self.aliases)


@dataclass(frozen=True)
class Workload:
    """Who is called: a pod's namespace and labels."""

    namespace: str
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Identity:
    """A peer's SPIFFE identity, from its certificate."""

    trust_domain: str
    namespace: str
    service_account: str

    @property
    def principal(self) -> str:
        """As policies write it: without the scheme."""
        return f"{self.trust_domain}/ns/{self.namespace}/sa/{self.service_account}"


@dataclass(frozen=True)
class Token:
    """What a JWT says, without the JWT: no key or signature is kept. signed: by a key of its issuer.

    claims: exp in seconds since the epoch.
    """

    name: str
    claims: Mapping[str, Any]
    signed: bool = True


@dataclass(frozen=True)
class Request:
    """One HTTP request as the called workload's proxy sees it. None: not known.

    host: the authority as sent, its port included. path: as sent. peer: None for plaintext. source_ip: of
    the connection; remote_ip: of the client that proxies in between tell of. sni: empty without TLS. service:
    name.namespace of the service that is called, against which a DestinationRule's host is held.
    """

    method: str
    path: str
    host: str
    port: int
    peer: Identity | None = None
    token: Token | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    source_ip: str | None = None
    remote_ip: str | None = None
    destination_ip: str | None = None
    sni: str | None = None
    service: str = ""


@dataclass(frozen=True)
class Decision:
    """What becomes of a request, and which policy's rule decided.

    policy, rule: namespace/name and index; empty and None where no rule did (then `why` tells). matched:
    every rule that matched, deciding or not. unknown: what was not understood and matters.
    """

    outcome: Outcome
    why: str
    policy: str = ""
    rule: int | None = None
    matched: tuple[tuple[str, int], ...] = ()
    unknown: tuple[str, ...] = ()
