"""Applies the mend that a finding shows, as a reader would: read from its text alone."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import yaml

from meshlab.security.audit.inventory import KINDS, Inventory
from meshlab.security.audit.workloads import workload_of

Path = tuple[str, ...]
MERGE_KEYS = {"containers": "name", "initContainers": "name", "env": "name", "ports": "containerPort"}
SERVER_SIDE = ("resourceVersion", "uid", "managedFields", "creationTimestamp", "generation")
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True)
class Change:
    """A leaf that differs after a mend: of which object, where, and both values (None: not there)."""

    resource: str
    path: str
    before: Any
    after: Any


def documents(fix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(comment, document) of each part of a mend."""
    for part in re.split(r"^---\n", fix, flags=re.MULTILINE):
        comment = "\n".join(line for line in part.splitlines() if line.startswith("#"))
        yield comment, yaml.safe_load(part) or {}


def apply(fix: str, resource: str, inventory: Inventory, *, merge: bool) -> Inventory:
    """The inventory after a mend.

    Args:
        fix: Its text.
        resource: What the finding names.
        inventory: Before it.
        merge: Whole objects are merged into what is there, as a JSON merge patch is; else they take its place.

    Returns:
        The inventory.
    """
    objects = {kind: [copy.deepcopy(dict(o)) for o in found] for kind, found in inventory.objects.items()}
    mesh = copy.deepcopy(dict(inventory.mesh))
    for comment, document in documents(fix):
        if "kind" in document:
            _whole(objects, document, merge=merge)
        elif "meshConfig" in document:
            mesh = _merged(mesh, document["meshConfig"])
        elif found := re.search(r"kubectl delete (\w+) (\S+) -n (\S+)", comment):
            kind, name, namespace = found.groups()
            there = objects[kind.capitalize()]
            there[:] = [o for o in there if _named(o) != (namespace, name)]
        elif found := re.search(r"kubectl patch httproute (\S+) -n (\S+) --type=merge", comment):
            there = objects["HTTPRoute"]
            there[:] = [_merged(o, document) if _named(o) == found.groups()[::-1] else o for o in there]
        else:
            assert not document or re.search("kubectl patch|merge into", comment), fix
            _patched(objects["Pod"], document, resource)
    kept = {kind: tuple(found) for kind, found in objects.items()}
    return replace(inventory, objects=kept, facts=replace(inventory.facts, config=mesh))


def _whole(objects: dict[str, list[dict[str, Any]]], document: dict[str, Any], *, merge: bool) -> None:
    kind = next(
        name
        for name, version in KINDS.items()
        if (name.partition(".")[0], version) == (document["kind"], document["apiVersion"])
    )
    there = objects.setdefault(kind, [])
    place = next((i for i, o in enumerate(there) if _named(o) == _named(document)), None)
    if place is None:
        there.append(document)
    else:
        there[place] = _merged(there[place], document) if merge else document


def _named(document: Mapping[str, Any]) -> tuple[str | None, str]:
    return document["metadata"].get("namespace"), document["metadata"]["name"]


def _patched(pods: list[dict[str, Any]], document: dict[str, Any], resource: str) -> None:
    """A strategic merge into the pods of a workload, by way of its template."""
    body = document if resource.startswith("Pod ") else (document.get("spec") or {}).get("template", {})
    for index, pod in enumerate(pods):
        if workload_of(pod) == resource:
            pods[index] = _strategic(pod, body)
            if (body.get("spec") or {}).get("automountServiceAccountToken") is False:
                _without_token(pods[index])


def _without_token(pod: dict[str, Any]) -> None:
    for container in pod["spec"]["containers"]:
        container["volumeMounts"] = [
            m for m in container.get("volumeMounts", []) if "serviceaccount" not in m["mountPath"]
        ]


def _merged(there: Any, new: Any) -> Any:
    """A JSON merge patch: maps key by key, everything else whole."""
    if not (isinstance(there, dict) and isinstance(new, dict)):
        return copy.deepcopy(new)
    return {**there, **{key: _merged(there.get(key), value) for key, value in new.items()}}


def _strategic(there: Any, new: Any, key: str = "") -> Any:
    """A strategic merge patch, as far as pods need it."""
    if isinstance(there, dict) and isinstance(new, dict):
        return {**there, **{k: _strategic(there.get(k), v, k) for k, v in new.items()}}
    if isinstance(there, list) and isinstance(new, list) and key in MERGE_KEYS:
        by, found = MERGE_KEYS[key], list(there)
        for item in new:
            at = next((i for i, each in enumerate(found) if each[by] == item[by]), None)
            if item.get("$patch") == "delete":
                found = [each for each in found if each[by] != item[by]]
            elif at is None:
                found.append(item)
            else:
                found[at] = _strategic(found[at], item)
        return found
    return new


def changes(before: Inventory, after: Inventory) -> list[Change]:
    """Every leaf that is another, by object; what the API server fills in is left out."""
    return sorted(_changes(before, after), key=lambda each: (each.resource, each.path))


def _changes(before: Inventory, after: Inventory) -> Iterator[Change]:
    yield from _leaves_that_differ("MeshConfig", {"mesh": before.mesh}, {"mesh": after.mesh})
    for kind in sorted({*before.objects, *after.objects}):
        old = {_named(o): o for o in before.objects.get(kind, ())}
        new = {_named(o): o for o in after.objects.get(kind, ())}
        for name in sorted({*old, *new}, key=str):
            if name not in new:
                yield Change(f"{kind} {name}", "", "there", None)
            elif name not in old:
                yield Change(f"{kind} {name}", "", None, "there")
            else:
                yield from _leaves_that_differ(f"{kind} {name[1]}", old[name], new[name])


def _leaves_that_differ(resource: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    one, two = dict(_leaves(old)), dict(_leaves(new))
    for path in {*one, *two}:
        if one.get(path) != two.get(path):
            yield Change(resource, ".".join(path), one.get(path), two.get(path))


def _leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if path[:1] == ("status",) or (path[:1] == ("metadata",) and path[-1] in (*SERVER_SIDE, LAST_APPLIED)):
        return
    if isinstance(value, Mapping) and value:
        for key, each in value.items():
            yield from _leaves(each, (*path, str(key)))
    elif isinstance(value, list | tuple) and value:
        for index, each in enumerate(value):
            key = (
                str(each.get("name", each.get("containerPort", index)))
                if isinstance(each, Mapping)
                else str(index)
            )
            yield from _leaves(each, (*path, key))
    else:
        yield path, value
