"""The user's IstioOperator file: reading it, and what can be wrong with it before Istio is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from meshlab.core.errors import InputError, Problem
from meshlab.istio import operator_shape
from meshlab.istio.names import SYSTEM_NAMESPACE as SYSTEM_NAMESPACE  # others import it from here

KIND = "IstioOperator"
API_VERSION = "install.istio.io/v1alpha1"
# What components need that the embedded distribution does not compile.
CNI = "cni"
NOT_EMBEDDED = {CNI: "Istio's CNI node agent", "ztunnel": "ztunnel"}


def read(path: Path) -> dict[str, Any]:
    """Return the IstioOperator in a file. Raises InputError that names everything wrong with it."""
    document, found = _parse(path)
    if found:
        raise InputError(found)
    return document


def problems(path: Path, *, embedded: bool, cni: bool = False) -> list[Problem]:
    """Find what is wrong with an IstioOperator file.

    Args:
        path: The file.
        embedded: Also find what the embedded distribution can't run.
        cni: Istio's CNI node agent is compiled for this cluster.

    Returns:
        The problems.
    """
    document, found = _parse(path)
    if found or not embedded:
        return found
    return list(_not_embeddable(document, f"--operator-file {path}", {CNI} if cni else set()))


def _parse(path: Path) -> tuple[dict[str, Any], list[Problem]]:
    where = f"--operator-file {path}"
    try:
        documents, twice = operator_shape.load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as wrong:
        reason = (wrong.strerror or str(wrong)) if isinstance(wrong, OSError) else "it is not UTF-8 text"
        return {}, [Problem(where, f"can't be read: {reason}", "name a readable YAML file")]
    except yaml.YAMLError as wrong:
        mark = getattr(wrong, "problem_mark", None)
        at = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        return {}, [Problem(where, f"is not valid YAML{at}", "correct the file")]
    if len(documents) != 1 or not isinstance(documents[0], dict):
        what = f"holds {len(documents)} YAML documents" if len(documents) != 1 else "is not a mapping"
        return {}, [Problem(where, what, f"one {KIND} per file, as `istioctl install -f` takes it")]
    repeated = [
        Problem(where, f"{key} stands twice in one mapping, at line {line} again", "keep one of the two")
        for key, line in twice
    ]
    return documents[0], [*repeated, *_malformed(documents[0], where)]


def _malformed(document: Mapping[str, Any], where: str) -> Iterator[Problem]:
    if document.get("kind") != KIND or document.get("apiVersion") != API_VERSION:
        given = f"{document.get('apiVersion')} {document.get('kind')}"
        yield Problem(where, f"is a {given}, not an {KIND}", f"write apiVersion: {API_VERSION}, kind: {KIND}")
        return
    spec = document.get("spec") or {}
    if not isinstance(spec, dict):
        yield Problem(where, "spec is not a mapping", "write settings as `key: value` under spec")
        return
    yield from operator_shape.problems(spec, where)
    asked = {
        at(document, "metadata.namespace"),
        spec.get("namespace"),
        at(document, "spec.values.global.istioNamespace"),
    }
    for namespace in sorted(str(n) for n in asked if n and n != SYSTEM_NAMESPACE):
        yield Problem(
            where,
            f"puts Istio into namespace {namespace}",
            f"this lab installs Istio into {SYSTEM_NAMESPACE}: leave the namespace out; one that is there may be anywhere",
        )


def _not_embeddable(document: Mapping[str, Any], where: str, compiled: set[str]) -> Iterator[Problem]:
    remedy = "leave it out, or use a release: --set istio.distribution=release --istioctl PATH"
    for component, what in NOT_EMBEDDED.items():
        ask = "on the local cluster ask for it: --set local.cni=true; else " if component == CNI else ""
        if component not in compiled and at(document, f"spec.components.{component}.enabled") is True:
            yield Problem(where, f"enables {component}: {what} is not compiled here", ask + remedy)
    if at(document, "spec.installPackagePath"):
        yield Problem(where, "spec.installPackagePath names other charts than the embedded ones", remedy)


def at(document: Mapping[str, Any], path: str) -> Any:
    """Find the value at a dotted path.

    Args:
        document: The document.
        path: The path.

    Returns:
        The value; None where the path does not exist.
    """
    value: Any = document
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
