"""Where a `LabConfig` comes from: defaults, the config file, variables, --set, flags; the later wins.

Every source is read as text, so that one pass of the settings model names all problems of all sources.
"""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from meshlab.config.settings import ENV_PREFIX, LabConfig, variables
from meshlab.core.errors import Problem
from meshlab.core.redaction import HIDDEN

ADDRESS = re.compile(r"\[[0-9a-fA-F:.]+\](?::\d+)?")  # of IPv6: no list, though it begins like one
VARIABLES = "variables"  # as the origin of a value


class _Variables(LabConfig, BaseSettings):
    """The shape that pydantic-settings reads variables for; never instantiated."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, env_nested_delimiter="__", frozen=True)


@dataclass
class Loaded:
    """What loading gave: the configuration, the problems, and the names that a problem touches.

    spoiled: of a section and of what is in it: `gke` and `gke.zone`.
    With problems, `config` holds defaults in place of what was wrong, good for finding further problems only.
    """

    config: LabConfig
    problems: list[Problem] = field(default_factory=list)
    spoiled: set[str] = field(default_factory=set)


def load(
    flags: Mapping[str, Any],
    sets: Iterable[str] = (),
    config_file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Loaded:
    """Merge all sources and judge them.

    Never raises for bad input: problems are returned, so that the caller can join its own.

    Args:
        flags: Dotted setting → text, as given on the command line.
        sets: `KEY=VALUE` words of --set.
        config_file: The YAML file of --config.
        environ: The variables; this process's where not given.
        defaults: A flow's own, for what no source names.

    Returns:
        The settings, and the problems.
    """
    problems: list[Problem] = []
    origin: dict[str, str] = {}
    merged: dict[str, Any] = copy.deepcopy(dict(defaults or {}))
    given = variables() if environ is None else environ
    sources: dict[str, Callable[[], dict[str, Any]]] = {
        str(config_file): lambda: _from_file(config_file, problems),
        VARIABLES: lambda: _from_environment(given, problems),
        "--set": lambda: _from_sets(sets, problems),
    }
    for name, read in sources.items():
        _merge(merged, _without_flat_sections(read(), name, problems), origin, name)
    for key, value in flags.items():
        _merge(merged, _nest(key, value), origin, FLAGS.get(key, key))
    try:
        return Loaded(LabConfig.model_validate(merged), problems)
    except ValidationError as wrong:
        faults = wrong.errors()
    problems += [_problem(fault, origin) for fault in faults]
    places = [[str(part) for part in fault["loc"]] for fault in faults]
    spoiled = {".".join(place[:depth]) for place in places for depth in (1, 2)}
    for fault in faults:
        _drop(merged, fault["loc"])
    try:
        return Loaded(LabConfig.model_validate(merged), problems, spoiled)
    except ValidationError:  # what is left of a section may make no sense by itself
        rest = {name: value for name, value in merged.items() if name not in spoiled}
        return Loaded(LabConfig.model_validate(rest), problems, spoiled)


def _drop(settings: dict[str, Any], place: Sequence[str | int]) -> None:
    """Leave out the setting that a fault names, so that what stands beside it can still be judged."""
    name, *deeper = place
    inner = settings.get(str(name))
    if deeper and isinstance(inner, dict):
        _drop(inner, deeper)
    else:
        settings.pop(str(name), None)


# Dotted setting → the flag that sets it. The command line builds its parser from this, the messages name it.
FLAGS: dict[str, str] = {
    "cluster": "--cluster",
    "existing.context": "--context",
    "existing.kubeconfig": "--kubeconfig",
    "gke.project": "--project",
    "gke.zone": "--zone",
    "local.nodes": "--nodes",
    "istio.version": "--istio-version",
    "istio.profile": "--profile",
    "istio.operator_file": "--operator-file",
    "istio.istioctl": "--istioctl",
    "app.namespace": "--namespace",
    "load.profile": "--load",
    "runs_dir": "--runs-dir",
    "keep": "--keep",
    "serve": "--serve",
    "keep_on_failure": "--keep-on-failure",
    "allow_changes": "--allow-changes",
}


def keys(model: type[BaseModel] = LabConfig, prefix: str = "") -> dict[str, str]:
    """List every setting with its description, in the model's order.

    Args:
        model: The settings, or a section of them.
        prefix: What stands before the section's names.

    Returns:
        Dotted name → description.
    """
    found: dict[str, str] = {}
    for name, info in model.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found.update(keys(kind, f"{prefix}{name}."))
        else:
            found[prefix + name] = info.description or ""
    return found


def _from_file(path: Path | None, problems: list[Problem]) -> dict[str, Any]:
    if path is None:
        return {}
    where = f"--config {path}"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as wrong:
        reason = wrong.strerror if isinstance(wrong, OSError) else "is no UTF-8 text"
        problems.append(Problem(where, f"can't be read: {reason}", "name a readable YAML file"))
        return {}
    except yaml.YAMLError as wrong:
        mark = getattr(wrong, "problem_mark", None)
        at = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problems.append(Problem(where, f"is no valid YAML{at}", "mend the file; keys are those of --help"))
        return {}
    if content is None:
        return {}
    if not isinstance(content, dict):
        remedy = "write `key: value` lines; keys are those of --help"
        problems.append(Problem(where, "holds no mapping of settings", remedy))
        return {}
    return {
        str(key): value for key, value in content.items() if value is not None
    }  # `local:` alone says nothing


def _from_environment(environ: Mapping[str, str], problems: list[Problem]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in environ.items():
        if not name.upper().startswith(ENV_PREFIX) or not value:  # an empty variable is as good as none
            continue
        head = name[len(ENV_PREFIX) :].lower().split("__")[0]
        if head not in LabConfig.model_fields:
            problems.append(Problem(name, "is no setting", closest(head, LabConfig.model_fields)))
            continue
        # One at a time, so that one that can't be read does not hide the others.
        source = EnvSettingsSource(_Variables)
        source.env_vars = {name.lower(): value}
        try:
            _merge(found, source(), {}, "")
        except SettingsError:
            problems.append(Problem(name, f"is no valid JSON: {value!r}", "give lists and sections as JSON"))
    return found


def _from_sets(words: Iterable[str], problems: list[Problem]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            problems.append(Problem(f"--set {word}", "is not KEY=VALUE", "for example --set local.nodes=1"))
            continue
        value: Any = text
        if text[:1] in ("[", "{") and not ADDRESS.fullmatch(text):
            try:
                value = yaml.safe_load(text)
            except yaml.YAMLError:
                problems.append(
                    Problem(f"--set {key}", "is neither a list nor a mapping", "quote it as YAML or JSON")
                )
                continue
        _merge(found, _nest(key, value), {}, "")
    return found


def _nest(key: str, value: Any) -> dict[str, Any]:
    head, dot, rest = key.partition(".")
    return {head: _nest(rest, value) if dot else value}


def _without_flat_sections(source: dict[str, Any], name: str, problems: list[Problem]) -> dict[str, Any]:
    """Leave out what gives a section one value, before another source's settings of that section cover it."""
    sections = {key.split(".")[0] for key in keys() if "." in key}
    flat = {key: value for key, value in source.items() if key in sections and not isinstance(value, Mapping)}
    for key, value in flat.items():
        inner = ", ".join(known for known in keys() if known.startswith(f"{key}."))
        problems.append(Problem(_where(key, name), f"is a section, not one value: {value!r}", f"set {inner}"))
    return {key: value for key, value in source.items() if key not in flat}


def _merge(
    into: dict[str, Any], source: Mapping[str, Any], origin: dict[str, str], name: str, prefix: str = ""
) -> None:
    for key, value in source.items():
        dotted = f"{prefix}{key}"
        origin[dotted] = name
        if isinstance(value, Mapping) and isinstance(into.get(key, {}), dict):
            _merge(into.setdefault(key, {}), value, origin, name, f"{dotted}.")
        else:
            into[key] = value


HINTS = {  # pydantic's name of a fault → what to do about it
    "bool_parsing": "say true or false",
    "string_type": "put it in quotes",
    "tuple_type": "write a list, as in [a, b]",
}


def _problem(fault: Any, origin: Mapping[str, str]) -> Problem:
    key = ".".join(str(part) for part in fault["loc"])
    holders = [known for known in origin if f"{key}.".startswith(f"{known}.")]
    where = _where(key, origin[max(holders, key=len)])
    given = "" if isinstance(fault["input"], (dict, list)) else f" {str(fault['input'])!r}"
    if re.search(r"//[^/]*@", given):  # an address with a password
        given = f" {HIDDEN}"
    if fault["type"] == "extra_forbidden":
        return Problem(where, "is no setting", closest(key, [*LabConfig.model_fields, *keys()]))
    if fault["type"] == "literal_error":
        return Problem(where, f"unknown value{given}", f"one of: {fault['ctx']['expected']}")
    described = next(
        (text for name, text in keys().items() if f"{key}.".startswith(f"{name}.")), "see --help"
    )
    message = fault["msg"].removeprefix("Value error, ")
    said = f"{message[:1].lower()}{message[1:]}{', not' + given if given else ''}"
    return Problem(where, said, f"{HINTS.get(fault['type'], 'give a value that fits')} ({described})")


def _where(key: str, source: str) -> str:
    """A setting as the reader wrote it: the flag, the --set word, the variable, or the file's key."""
    if source == VARIABLES:
        return ENV_PREFIX + key.upper().replace(".", "__")
    if source == "--set":
        return f"--set {key}"
    return source if source.startswith("--") else f"{key} in {source}"


def closest(name: str, names: Iterable[str]) -> str:
    """Find the names that look like one that does not exist.

    Args:
        name: What was written.
        names: What exists.

    Returns:
        The remedy, in words.
    """
    near = difflib.get_close_matches(name, list(names), n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else "see --help for all of them"
