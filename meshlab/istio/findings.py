"""What `istioctl analyze` finds, as values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One message of `istioctl analyze`.

    level: Info, Warning or Error. origin: the object, as `Kind namespace/name`.
    """

    code: str
    level: str
    origin: str
    message: str
    documentation_url: str = ""


def concerns(finding: Finding, namespaces: Sequence[str]) -> bool:
    """Tell whether a finding is about an object of some namespaces, or about one of no namespace.

    Args:
        finding: The finding.
        namespaces: The namespaces.

    Returns:
        True where it is.
    """
    kind, _, name = finding.origin.partition(" ")
    namespace, slash, _ = name.partition("/")
    if kind == "Namespace":
        return name in namespaces
    return not slash or namespace in namespaces


def findings_of(told: Sequence[Mapping[str, Any]], *, twice: str | None = None) -> tuple[Finding, ...]:
    """Read the messages of `istioctl analyze`, each once.

    A cluster that istioctl was given twice, as its own and under the name of a context, is told of twice, but not evenly:
    an analyzer that gathers objects in a map tells a finding once only, and by chance under either name; what it
    lists in brackets stands there twice (pkg/config/analysis/analyzers/injection/injection-image.go in istio/istio).

    Args:
        told: The messages, as its JSON has them.
        twice: The context's name, where the cluster was given twice.

    Returns:
        The findings. Of those under the context's name, the ones that are not told of the same object anyway.
    """
    own = {_about(each) for each in told if each.get("cluster") != twice}
    found = []
    for each in told:
        if twice is not None and each.get("cluster") == twice and _about(each) in own:
            continue
        message = each.get("message", "")
        found.append(
            Finding(
                code=each.get("code", ""),
                level=each.get("level", ""),
                origin=each.get("origin", ""),
                message=message if twice is None else re.sub(r"\[[^\[\]]*\]", _once, message),
                documentation_url=each.get("documentationUrl", ""),
            )
        )
    return tuple(dict.fromkeys(found))


def _about(told: Mapping[str, Any]) -> tuple[object, object]:
    return told.get("code"), told.get("origin")


def _once(listed: re.Match[str]) -> str:
    """A list that has each of its words twice has each once; any other text in brackets stays as it is."""
    words = listed[0][1:-1].split(" ")
    return f"[{' '.join(dict.fromkeys(words))}]" if set(Counter(words).values()) == {2} else listed[0]
