"""Trust domains in policies: what istiod makes of them before a proxy sees them.

`cluster.local` in a principal points at the mesh's own trust domain; a domain of the mesh stands for its
aliases too (meshConfig.trustDomainAliases). A bare `*` in the domain's place is left as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from meshlab.istio.names import TRUST_POINTER

PARTS = 5  # of a principal: domain/ns/NAMESPACE/sa/ACCOUNT


def principals(value: str, domains: Sequence[str]) -> tuple[str, ...]:
    """Name every principal that a policy's value stands for.

    Args:
        value: As the policy has it.
        domains: The mesh's trust domain, then its aliases.

    Returns:
        Values in the policy's own form, wildcards included.
    """
    domain, *rest = value.split("/")
    if len(rest) != PARTS - 1 or domain == "*":
        return (value,)
    if domain != TRUST_POINTER and not any(_meets(domain, own) for own in domains):
        return (value,)
    # A domain that is a suffix pattern (`*-td`) already means each of the mesh's that it matches.
    return tuple(
        dict.fromkeys(
            value if domain.startswith("*") and own.endswith(domain[1:]) else "/".join((own, *rest))
            for own in domains
        )
    )


def trust_domains(value: str, domains: Sequence[str]) -> tuple[str, ...]:
    """Name every trust domain that a policy's value stands for.

    Args:
        value: As the policy has it.
        domains: The mesh's trust domain, then its aliases.

    Returns:
        The mesh's own where the value is one of them, else the value.
    """
    return tuple(domains) if value in domains else (value,)


def _meets(one: str, other: str) -> bool:
    """Equal, or one of them is a pattern that the other matches."""
    return one == other or other == "*" or _matches(one, other) or _matches(other, one)


def _matches(text: str, pattern: str) -> bool:
    return (pattern.endswith("*") and text.startswith(pattern[:-1])) or (
        pattern.startswith("*") and text.endswith(pattern[1:])
    )
