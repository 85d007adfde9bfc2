"""How a policy's values match: exact, prefix, suffix and presence, path templates, address blocks.

Istio's page "Authorization Policy", sections Rule, Source and Operation.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any

from meshlab.security.authorization.model import Answer, Identity, Values

ONE, ANY = "{*}", "{**}"  # path templates: one segment, and any number of them
LITERAL = re.compile(r"[A-Za-z0-9\-._~%!$&'()+,;:@=]+")  # RFC 3986 pchar, as Istio's validation has it
SEGMENT = r"[A-Za-z0-9\-._~%!$&'()+,;:@=*]"  # what Envoy's templates take for a path's characters
NO_WILDCARD = ("serviceAccounts",)
ADDRESSES = ("ipBlocks", "remoteIpBlocks")
# Key of a condition → the field of a source or an operation whose values match alike (the page "Authorization Policy
# Conditions"); empty where there is none.
CONDITION_KEYS = {
    "source.ip": "ipBlocks",
    "remote.ip": "remoteIpBlocks",
    "source.namespace": "namespaces",
    "source.serviceAccount": "serviceAccounts",
    "source.trustDomain": "trustDomains",
    "source.principal": "principals",
    "request.auth.principal": "requestPrincipals",
    "request.auth.audiences": "",
    "request.auth.presenter": "",
    "destination.ip": "ipBlocks",
    "destination.port": "ports",
    "connection.sni": "",
}


def string_matches(pattern: str, value: str, *, ignore_case: bool = False) -> bool:
    """Exact, prefix (`abc*`), suffix (`*abc`) or presence (`*`: anything that is not empty) match."""
    if ignore_case:
        pattern, value = pattern.lower(), value.lower()
    if pattern == "*":
        return value != ""
    if pattern.startswith("*"):
        return value.endswith(pattern[1:])
    if pattern.endswith("*"):
        return value.startswith(pattern[:-1])
    return value == pattern


def path_matches(pattern: str, path: str) -> bool:
    """A path without its query against a pattern: a template when it has `{*}` or `{**}`, else a string."""
    if not has_template(pattern):
        return string_matches(pattern, path)
    parts = [
        f"{SEGMENT}+" if part == ONE else f"(?:{SEGMENT}|/)*" if part == ANY else re.escape(part)
        for part in pattern.split("/")
    ]
    return re.fullmatch("/".join(parts), path) is not None


def namespace_matches(pattern: str, peer: Identity) -> bool:
    """The namespace of a peer's identity. A `*` stands for any text, an empty one too."""
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))
    return re.fullmatch(f".*/ns/{expression}/.*", f"spiffe://{peer.principal}") is not None


def account_matches(pattern: str, peer: Identity, policy_namespace: str) -> bool:
    """`namespace/account`, or an account in the policy's own namespace."""
    namespace, slash, account = pattern.partition("/")
    if not slash:
        namespace, account = policy_namespace, pattern
    return (namespace, account) == (peer.namespace, peer.service_account)


def address_matches(block: str, address: str) -> bool:
    """A single address or a CIDR block."""
    return ipaddress.ip_address(address) in ipaddress.ip_network(block, strict=False)


def request_principal_matches(pattern: str, claims: Mapping[str, Any]) -> bool:
    """`<iss>/<sub>`, cut at the last slash because an issuer may be a URL; with a wildcard in either part."""
    issuer, subject = claims.get("iss"), claims.get("sub")
    if not (isinstance(issuer, str) and isinstance(subject, str)):
        return False
    wanted_issuer, slash, wanted_subject = pattern.rpartition("/")
    if pattern == "*":
        wanted_issuer = wanted_subject = "*"
    elif not slash:  # one part only: a suffix is the subject's, anything else the issuer's
        suffix = pattern.startswith("*")
        wanted_issuer, wanted_subject = ("*", pattern) if suffix else (pattern, "*")
        if not suffix and not pattern.endswith("*"):
            wanted_subject = ""
    return string_matches(wanted_issuer, issuer) and string_matches(wanted_subject, subject)


def claim_values(claims: Mapping[str, Any], key: str, spaced: Iterable[str] = ()) -> tuple[str, ...]:
    """The strings of a claim: `[a]` or nested `[a][b]`; a list's strings one by one.

    spaced: claims whose text is a list with spaces in between. Numbers and truth values match no string.
    """
    names = re.findall(r"\[([^\[\]]+)\]", key) if re.fullmatch(r"(\[[^\[\]]+\])+", key) else [key[1:-1]]
    value: Any = claims
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    if isinstance(value, str):
        return tuple(value.split()) if len(names) == 1 and names[0] in spaced else (value,)
    if isinstance(value, (list, tuple)):
        return tuple(one for one in value if isinstance(one, str))
    return ()


def has_template(pattern: str) -> bool:
    """Whether a path is a template."""
    return ONE in pattern or ANY in pattern


def bad_values(field: str, values: Values) -> tuple[str, ...]:
    """Values of a field that Istio's documentation gives no meaning, with why. Nothing is guessed of them."""
    found = []
    for value in (*values.wanted, *values.unwanted):
        flaw = _flaw(field, value)
        if flaw:
            found.append(f"{value!r}: {flaw}")
    return tuple(found)


def _flaw(field: str, value: str) -> str:
    if not value:
        return "is empty"
    if field in ADDRESSES:
        try:
            ipaddress.ip_network(value, strict=False)
        except ValueError:
            return "is no address and no CIDR block"
        return ""
    if field == "ports":
        return "" if value.isascii() and value.isdigit() and int(value) <= 65535 else "is no port"
    if field in NO_WILDCARD:
        return "takes no wildcard" if "*" in value or value.count("/") > 1 else ""
    if field == "paths" and (has_template(value) or "{" in value or "}" in value):
        return _template_flaw(value)
    if "*" in value.strip("*") or value.count("*") > 1:
        return "a wildcard stands at the beginning or the end, and once"
    return ""


def _template_flaw(value: str) -> str:
    ended = False
    for part in value.strip("/").split("/"):
        if ended and part in (ONE, ANY):
            return "{**} is not the last operator"
        ended = ended or part == ANY
        if part not in (ONE, ANY) and not LITERAL.fullmatch(part):
            return "holds more than {*}, {**} and literal segments"
    return ""


def any_of(answers: Iterable[Answer]) -> Answer:
    """Kleene's OR: true when one is, unknown when none is and one is unknown."""
    known = True
    for answer in answers:
        if answer:
            return True
        known = known and answer is not None
    return False if known else None


def all_of(answers: Iterable[Answer]) -> Answer:
    """Kleene's AND: false when one is, unknown when none is and one is unknown."""
    return negate(any_of(negate(answer) for answer in answers))


def negate(answer: Answer) -> Answer:
    """Kleene's NOT."""
    return None if answer is None else not answer
