"""The IstioOperator that is installed: the user's, with what the embedded distribution needs merged over it.

What the distribution needs always wins, because without it no proxy becomes Ready; each of the user's settings
that it replaces is reported. Istio itself replaces lists, so lists are merged here: providers by name, plain
values as a union.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Settings that would bring in images which exist in a registry only. Order and meaning:
# operator/pkg/render/manifest.go.
IMAGE_SETTINGS = (
    "hub",
    "tag",
    "values.global.hub",
    "values.global.tag",
    "values.global.variant",
    "values.global.proxy.image",
    "values.global.proxy_init.image",
    "values.pilot.hub",
    "values.pilot.tag",
    "values.pilot.variant",
    "values.pilot.image",
    "values.cni.hub",
    "values.cni.tag",
    "values.cni.variant",
    "values.cni.image",
)


@dataclass(frozen=True)
class Merged:
    """document: the IstioOperator to install. overridden: a line per setting of the user's that was replaced."""

    document: dict[str, Any]
    overridden: tuple[str, ...]


def merge(user: Mapping[str, Any], needed: Mapping[str, Any], *, hub: str, tag: str) -> Merged:
    """Merge what the distribution needs over the user's IstioOperator.

    user, needed: IstioOperators. hub, tag: of the distribution's images. Neither argument is changed.
    """
    document = copy.deepcopy(dict(user))
    spec = document["spec"] = document.get("spec") or {}
    report: list[str] = []
    _fold_mesh_config(spec)
    for path in IMAGE_SETTINGS:
        _drop(spec, path, report)
    for component in _components(spec):
        for key in ("hub", "tag"):
            _drop(component, key, report, "components.…")
    wanted = needed["spec"]
    _drop_environment(spec, wanted["values"]["pilot"]["env"], report)
    # unvalidatedValues are merged over values last, so what is needed must win there too.
    wins = {**wanted["values"], "meshConfig": wanted["meshConfig"]}
    _drop_leaves(spec.get("unvalidatedValues") or {}, wins, "spec.unvalidatedValues", report)
    _over(spec, wanted, "spec", report)
    spec["hub"], spec["tag"] = hub, tag
    return Merged(document, tuple(report))


def _fold_mesh_config(spec: dict[str, Any]) -> None:
    """Keep mesh configuration in one place: Istio merges values.meshConfig over meshConfig."""
    values = spec.get("values")
    if isinstance(values, dict) and isinstance(values.get("meshConfig"), dict):
        inner = values.pop("meshConfig")
        outer = spec.setdefault("meshConfig", {})
        for key, value in inner.items():
            outer[key] = _replaced(outer.get(key), value)


def _replaced(base: Any, value: Any) -> Any:
    if isinstance(base, dict) and isinstance(value, dict):
        return {**base, **{key: _replaced(base.get(key), inner) for key, inner in value.items()}}
    return value


def _components(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for component in (spec.get("components") or {}).values():
        each = component if isinstance(component, list) else [component]
        found += [one for one in each if isinstance(one, dict)]
    return found


def _drop(spec: dict[str, Any], path: str, report: list[str], prefix: str = "spec") -> None:
    *parents, last = path.split(".")
    holder: Any = spec
    for part in parents:
        holder = holder.get(part) if isinstance(holder, dict) else None
    if isinstance(holder, dict) and last in holder:
        report.append(f"{prefix}.{path}: {holder.pop(last)!r} (the embedded images are used)")


def _drop_environment(spec: Mapping[str, Any], needed: Mapping[str, str], report: list[str]) -> None:
    """components.pilot.k8s.env is patched in after the charts ran, over values.pilot.env."""
    k8s = ((spec.get("components") or {}).get("pilot") or {}).get("k8s") or {}
    kept = []
    for variable in k8s.get("env") or []:
        if variable.get("name") in needed:
            name, given = variable["name"], variable.get("value")
            if str(given) != needed[name]:
                report.append(_line(f"spec.components.pilot.k8s.env[{name}]", given, needed[name]))
        else:
            kept.append(variable)
    if "env" in k8s:
        k8s["env"] = kept


def _drop_leaves(user: dict[str, Any], needed: Mapping[str, Any], path: str, report: list[str]) -> None:
    for key, value in needed.items():
        if key not in user:
            continue
        if isinstance(value, Mapping) and isinstance(user[key], dict):
            _drop_leaves(user[key], value, f"{path}.{key}", report)
        else:
            report.append(_line(f"{path}.{key}", user.pop(key), value))


def _over(user: dict[str, Any], needed: Mapping[str, Any], path: str, report: list[str]) -> None:
    for key, value in needed.items():
        here = f"{path}.{key}"
        given = user.get(key)
        if isinstance(value, Mapping) and isinstance(given, dict):
            _over(given, value, here, report)
        elif isinstance(value, list) and isinstance(given, list):
            user[key] = _joined(given, value, here, report)
        else:
            if given is not None and given != value:
                report.append(_line(here, given, value))
            user[key] = copy.deepcopy(value)


def _joined(given: list[Any], needed: list[Any], path: str, report: list[str]) -> list[Any]:
    if not all(isinstance(each, dict) and "name" in each for each in [*given, *needed]):
        return [*given, *(each for each in needed if each not in given)]
    by_name = {each["name"]: each for each in given}
    for each in needed:
        if each["name"] in by_name and by_name[each["name"]] != each:
            report.append(_line(f"{path}[{each['name']}]", by_name[each["name"]], each))
        by_name[each["name"]] = copy.deepcopy(each)
    return list(by_name.values())


def _line(path: str, given: Any, value: Any) -> str:
    return f"{path}: {given!r} became {value!r} (the embedded distribution needs it)"
