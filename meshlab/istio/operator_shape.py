"""Of what kind each part of an IstioOperator must be: what istioctl can't take, or would silently leave out."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from meshlab.core.errors import Problem

# Fields of IstioOperatorSpec and IstioComponentSpec, from operator/pkg/apis/types.go of Istio.
SPEC_FIELDS = (
    "profile",
    "installPackagePath",
    "hub",
    "tag",
    "namespace",
    "revision",
    "compatibilityVersion",
    "meshConfig",
    "components",
    "values",
    "unvalidatedValues",
)
TEXTS = ("profile", "installPackagePath", "hub", "namespace", "revision", "compatibilityVersion")
COMPONENTS = ("base", "pilot", "cni", "ztunnel", "istiodRemote")
GATEWAYS = ("ingressGateways", "egressGateways")
MAPPINGS = (
    "meshConfig",
    "meshConfig.defaultConfig",
    "meshConfig.defaultProviders",
    "components",
    "values",
    "values.global",
    "values.global.proxy",
    "values.meshConfig",
    "values.pilot",
    "values.pilot.env",
    "unvalidatedValues",
)
NAMED_LISTS = ("meshConfig.extensionProviders", "values.meshConfig.extensionProviders")
REVISION = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")  # part of names and a label's value
AS_MAPPING = "write settings as `key: value` under it"


class _Loader(yaml.SafeLoader):
    """Notes keys that stand twice in one mapping: YAML forbids them, and PyYAML keeps the last one silently."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.twice: list[tuple[str, int]] = []

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    self.twice.append((key.value, key.start_mark.line + 1))
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def load(text: str) -> tuple[list[Any], list[tuple[str, int]]]:
    """Parse YAML documents.

    Args:
        text: The text.

    Returns:
        The documents that are not empty; keys that stand twice in one mapping, with the line of the later one.

    Raises:
        yaml.YAMLError: It is not YAML.
    """
    loader = _Loader(text)
    try:
        documents = []
        while loader.check_data():  # type: ignore[no-untyped-call]
            documents.append(loader.get_data())
    finally:
        loader.dispose()
    return [each for each in documents if each is not None], loader.twice


def problems(spec: Mapping[str, Any], where: str) -> Iterator[Problem]:
    """Find every part of a spec that is not of its kind.

    Args:
        spec: Of an IstioOperator.
        where: How the user named the file.

    Yields:
        The problems.
    """
    for field in spec:
        if field not in SPEC_FIELDS:
            yield _unknown(where, f"spec.{field}", str(field), SPEC_FIELDS, "a field of an IstioOperator")
    for field in TEXTS:
        if spec.get(field) is not None and not isinstance(spec[field], str):
            yield Problem(where, f"spec.{field} is not text", f'write it in quotes: {field}: "{spec[field]}"')
    revision = spec.get("revision")
    if isinstance(revision, str) and revision and not REVISION.fullmatch(revision):
        yield Problem(
            where,
            f"spec.revision {revision} can't be part of a name",
            "lower-case letters, digits and - only, as in 1-28-3",
        )
    for path in MAPPINGS:
        value, there = _at(spec, path)
        if there and not isinstance(value, Mapping):
            yield Problem(where, f"spec.{path} is not a mapping", AS_MAPPING)
    for path in NAMED_LISTS:
        value, there = _at(spec, path)
        if there:
            yield from _named_list(value, f"spec.{path}", where)
    components = spec.get("components")
    if isinstance(components, Mapping):
        yield from _components(components, where)


def _components(components: Mapping[str, Any], where: str) -> Iterator[Problem]:
    for name, component in components.items():
        path = f"spec.components.{name}"
        if name in COMPONENTS and component is not None:
            yield from _component(component, path, where)
        elif name in GATEWAYS and component is not None:
            yield from _named_list(component, path, where)
            for at, gateway in enumerate(component if isinstance(component, list) else []):
                if isinstance(gateway, Mapping):
                    yield from _component(gateway, f"{path}[{at}]", where)
        elif component is not None:
            yield _unknown(where, path, str(name), (*COMPONENTS, *GATEWAYS), "a component of Istio")


def _component(component: Any, path: str, where: str) -> Iterator[Problem]:
    if not isinstance(component, Mapping):
        shown = f"{path.rpartition('.')[2]}: {{enabled: {str(component).lower()}}}"
        remedy = f"write {shown}" if isinstance(component, bool) else AS_MAPPING
        yield Problem(where, f"{path} is not a mapping", remedy)
        return
    enabled, k8s = component.get("enabled"), component.get("k8s")
    if enabled is not None and not isinstance(enabled, bool):
        yield Problem(
            where, f"{path}.enabled is {enabled!r}, not true or false", "write true or false, without quotes"
        )
    if k8s is not None and not isinstance(k8s, Mapping):
        yield Problem(where, f"{path}.k8s is not a mapping", AS_MAPPING)
    elif k8s and k8s.get("env") is not None:
        yield from _named_list(k8s["env"], f"{path}.k8s.env", where)


def _named_list(value: Any, path: str, where: str) -> Iterator[Problem]:
    if not isinstance(value, list):
        yield Problem(where, f"{path} is not a list", "write each entry as `- name: …`")
        return
    for at, each in enumerate(value):
        if not isinstance(each, Mapping) or not each.get("name"):
            yield Problem(where, f"{path}[{at}] has no name", "write each entry as `- name: …`")


def _unknown(where: str, path: str, name: str, known: tuple[str, ...], what: str) -> Problem:
    near = difflib.get_close_matches(name, known, n=1)
    remedy = f"did you mean {path.rpartition('.')[0]}.{near[0]}?" if near else f"one of: {', '.join(known)}"
    return Problem(where, f"{path} is not {what}", remedy)


def _at(spec: Mapping[str, Any], path: str) -> tuple[Any, bool]:
    """The value at a path, and whether there is one other than null."""
    value: Any = spec
    for part in path.split("."):
        if not isinstance(value, Mapping):
            return None, False  # told at the part above
        value = value.get(part)
    return value, value is not None
