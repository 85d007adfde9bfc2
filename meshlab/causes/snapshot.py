"""The mesh's configuration as a run saw it: kept in the run's directory, and compared with that of an earlier run.

A file for each moment, named after the step at whose end it was read, so that two runs are compared at the same moments:
what a phase of the run itself applies is no news. Secrets are not read, and values that could be secrets are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meshlab.causes.objects import Found
from meshlab.core.files import write_atomically
from meshlab.core.redaction import redact_value

FOLDER = "configuration"  # below the run's evidence
LEFT_OUT = "(left out)"
MOST = 3  # differences of one object that are told
LONGEST = 60  # characters of a value in a difference
# Pods follow from their Deployments, and have other names in each run.
NOT_KEPT = ("Pod",)
# What the API server decides when the object is made, and the time at which a Deployment was told to restart.
ASSIGNED = frozenset(
    {"clusterIP", "clusterIPs", "healthCheckNodePort", "kubectl.kubernetes.io/restartedAt", "nodePort"}
)
SECRET = re.compile(
    r"(?i)secret|token|passw|credential|api.?key|private.?key|authori[sz]ation|cookie|inline_?(string|bytes)"
)
NAME = re.compile(r"(?i)(names?|resource|path)$")  # of a Secret, or of a file that holds one
IN_ADDRESS = re.compile(r"(?<=://)[^/@\s]+@")  # user and password

Entry = Mapping[str, Any]
Objects = Mapping[str, Entry]  # Kind namespace/name → what is kept of the object


@dataclass(frozen=True)
class Change:
    """An object that two runs saw differently.

    Attributes:
        object: Kind namespace/name.
        what: `new`, `changed` or `gone`.
        how: What differs in it; who changed it last and when, as the later run saw it.
    """

    object: str
    what: str
    how: str = ""


@dataclass(frozen=True)
class Baseline:
    """The configuration of an earlier run that was green. run_id: that run. moments: as `load` gives them."""

    run_id: str
    moments: Mapping[str, Objects] = field(repr=False)

    def news_of(self, found: Found) -> str:
        """Say whether an object is `new` or `changed` since that run; "" where it is as it was, or not kept."""
        if found.kind in NOT_KEPT or not self.moments:
            return ""
        seen = [objects[str(found)] for objects in self.moments.values() if str(found) in objects]
        now = _asked(entry_of(found))
        return "new" if not seen else "" if any(_asked(each) == now for each in seen) else "changed"


def entry_of(found: Found) -> Entry:
    """Take what is kept of an object: what it asks for, without what could be a secret, and who changed it last."""
    annotations = {name: value for name, value in found.annotations.items() if "istio.io/" in name}
    return {
        "changed": found.changed,
        "labels": redact_value(dict(found.labels)),
        "annotations": _clean(annotations),
        "spec": redact_value(_clean(found.spec)),
    }


def keep(evidence: Path, moment: str, objects: Iterable[Found]) -> Path:
    """Write a snapshot into a run's evidence.

    Args:
        evidence: The folder.
        moment: The step at whose end the objects were read.
        objects: As `causes.objects.read` gives them.

    Returns:
        The file.

    Raises:
        OSError: It can't be written.
    """
    kept = {str(each): entry_of(each) for each in objects if each.kind not in NOT_KEPT}
    path = evidence / FOLDER / f"{moment}.json"
    write_atomically(path, json.dumps({"objects": kept}, indent=1, sort_keys=True) + "\n")
    return path


def load(directory: Path) -> dict[str, Objects]:
    """Read the snapshots of a run; a file that is no snapshot is passed over.

    Args:
        directory: The run's.

    Returns:
        Moment → objects; empty where the run kept none, or its directory is gone.
    """
    found: dict[str, Objects] = {}
    for path in sorted((directory / "evidence" / FOLDER).glob("*.json")):
        with suppress(OSError, ValueError, TypeError, AttributeError, KeyError):
            objects = json.loads(path.read_text(encoding="utf-8"))["objects"]
            found[path.stem] = {
                name: {"changed": str(each.get("changed", "")), **_asked(each)}
                for name, each in objects.items()
            }
    return found


def changes(before: Mapping[str, Objects], after: Mapping[str, Objects]) -> tuple[Change, ...] | None:
    """Say what differs between the configurations of two runs.

    Args:
        before: The earlier run's snapshots.
        after: The later run's.

    Returns:
        The differences, by object; None where the two have no moment in common.
    """
    both = [moment for moment in after if moment in before]
    found: dict[str, Change] = {}
    for then, now in ((before[moment], after[moment]) for moment in both):
        for name in sorted({*then, *now}):
            if name not in now:
                found[name] = Change(name, "gone")
            elif name not in then:
                found[name] = Change(name, "new", now[name]["changed"])
            elif _asked(then[name]) != _asked(now[name]):
                told = [*_differences(then[name], now[name]), now[name]["changed"]]
                found[name] = Change(name, "changed", "; ".join(filter(None, told)))
    return tuple(found[name] for name in sorted(found)) if both else None


def _asked(entry: Entry) -> dict[str, Any]:
    return {part: entry.get(part) or {} for part in ("labels", "annotations", "spec")}


def _differences(then: Entry, now: Entry) -> list[str]:
    before, after = dict(_leaves(_asked(then))), dict(_leaves(_asked(now)))
    paths = [path for path in sorted({*before, *after}) if before.get(path) != after.get(path)]
    told = [f"{path}: {before.get(path, '–')} → {after.get(path, '–')}" for path in paths[:MOST]]
    return told + [f"and {len(paths) - MOST} more"] * (len(paths) > MOST)


def _leaves(value: Any, path: str = "") -> Iterable[tuple[str, str]]:
    inner: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, Mapping):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    else:
        text = str(value)
        yield path, text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    for key, each in inner:
        yield from _leaves(each, f"{path}.{key}" if path else str(key))


def _clean(value: Any) -> Any:
    """Leave out what could be a secret: values of variables and of headers, and fields and flags named like one."""
    if isinstance(value, Mapping):
        return {key: _cleaned(str(key), each) for key, each in value.items() if key not in ASSIGNED}
    if isinstance(value, list):
        return [_clean(each) for each in value]
    return IN_ADDRESS.sub(f"{LEFT_OUT}@", value) if isinstance(value, str) else value


def _cleaned(key: str, value: Any) -> Any:
    if key == "env" and isinstance(value, list):
        return [_variable(each) for each in value]
    if key in ("args", "command") and isinstance(value, list):
        return _words(value)
    if key == "headers" and isinstance(value, Mapping) and value.keys() & {"request", "response"}:
        return {side: _header_changes(each) for side, each in value.items()}
    if SECRET.search(key) and not NAME.search(key):
        return _hidden(value)
    return _clean(value)


def _variable(each: Any) -> Any:
    return {**each, "value": LEFT_OUT} if isinstance(each, Mapping) and "value" in each else each


def _header_changes(side: Any) -> Any:
    """Which headers are set or added, without their values; those that are removed are names only."""
    if not isinstance(side, Mapping):
        return side
    return {how: _hidden(each) if how in ("set", "add") else each for how, each in side.items()}


def _words(words: list[Any]) -> list[Any]:
    """A program's words; what stands behind a flag that is named like a secret is left out."""
    kept: list[Any] = []
    hide = False
    for word in words:
        name, equals, _ = str(word).partition("=")
        named = name.startswith("-") and SECRET.search(name) is not None and not NAME.search(name)
        kept.append(LEFT_OUT if hide else f"{name}={LEFT_OUT}" if named and equals else _clean(word))
        hide = named and not equals
    return kept


def _hidden(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _hidden(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_hidden(each) for each in value]
    return LEFT_OUT if isinstance(value, str) else value
