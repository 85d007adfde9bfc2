"""Where a `LabConfig` comes from: defaults, then the config file, then variables, then flags. Judged
together, once.

Every source is read as text, so that one pass of the settings model names all problems of all sources.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from meshlab.errors import Problem
from meshlab.settings import ENV_PREFIX, LabConfig


class _Variables(LabConfig, BaseSettings):
    """The shape that pydantic-settings reads variables for; never instantiated."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, env_nested_delimiter="__", frozen=True)


@dataclass
class Loaded:
    """What loading gave: the configuration, the problems, and the top-level names that a problem touches.

    With problems, `config` holds defaults in place of what was wrong, good for finding further problems only;
    it is None where not even that is possible.
    """

    config: LabConfig | None
    problems: list[Problem] = field(default_factory=list)
    spoiled: set[str] = field(default_factory=set)


def load(
    flags: Mapping[str, Any],
    sets: Iterable[str] = (),
    config_file: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    """Merge all sources and judge them.

    flags: dotted setting → text, as given on the command line. sets: `KEY=VALUE` words of --set. environ: for
    tests. Never raises for bad input: problems are returned, so that the caller can join its own.
    """
    problems: list[Problem] = []
    origin: dict[str, str] = {}
    merged: dict[str, Any] = {}
    for name, source in (
        (str(config_file), _from_file(config_file, problems)),
        ("environment", _from_environment(dict(os.environ if environ is None else environ), problems)),
        ("--set", _from_sets(sets, problems)),
    ):
        _merge(merged, source, origin, name)
    for key, value in flags.items():
        _merge(merged, _nest(key, value), origin, FLAGS.get(key, key))
    try:
        return Loaded(LabConfig.model_validate(merged), problems)
    except ValidationError as wrong:
        spoiled = set()
        for fault in wrong.errors():
            key = ".".join(str(part) for part in fault["loc"])
            spoiled.add(str(fault["loc"][0]))
            problems.append(_problem(fault, key, origin))
        rest = {name: value for name, value in merged.items() if name not in spoiled}
        return Loaded(LabConfig.model_validate(rest), problems, spoiled)


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
    "runs_dir": "--runs-dir",
    "keep": "--keep",
    "keep_on_failure": "--keep-on-failure",
    "allow_changes": "--allow-changes",
}


def keys(model: type[BaseModel] = LabConfig, prefix: str = "") -> dict[str, str]:
    """Every dotted setting with its description, in the model's order."""
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
    return content


def _from_environment(environ: dict[str, str], problems: list[Problem]) -> dict[str, Any]:
    ours = {name: value for name, value in environ.items() if name.upper().startswith(ENV_PREFIX)}
    for name in list(ours):
        head = name[len(ENV_PREFIX) :].lower().split("__")[0]
        if head not in LabConfig.model_fields:
            del ours[name]
            problems.append(Problem(name, "is no setting", _closest(head, LabConfig.model_fields)))
    source = EnvSettingsSource(_Variables, env_prefix=ENV_PREFIX, env_nested_delimiter="__")
    source.env_vars = {name.lower(): value for name, value in ours.items()}
    try:
        return source()
    except SettingsError as wrong:
        problems.append(Problem(f"{ENV_PREFIX}…", str(wrong), "give lists and sections as JSON"))
        return {}


def _from_sets(words: Iterable[str], problems: list[Problem]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            problems.append(Problem(f"--set {word}", "is not KEY=VALUE", "for example --set local.nodes=1"))
            continue
        value: Any = text
        if text[:1] in ("[", "{"):
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
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def _merge(
    into: dict[str, Any], source: Mapping[str, Any], origin: dict[str, str], name: str, prefix: str = ""
) -> None:
    for key, value in source.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping) and isinstance(into.get(key, {}), dict):
            _merge(into.setdefault(key, {}), value, origin, name, f"{dotted}.")
        else:
            into[key] = value
            origin[dotted] = name


def _problem(fault: Any, key: str, origin: Mapping[str, str]) -> Problem:
    source = origin.get(key) or next((o for k, o in origin.items() if key.startswith(k)), "")
    where = (
        source if source.startswith("--") and source != "--set" else f"{key} ({source})" if source else key
    )
    given = "" if isinstance(fault["input"], (dict, list)) else f" {str(fault['input'])!r}"
    if fault["type"] == "extra_forbidden":
        return Problem(where, "is no setting", _closest(key, keys()))
    if fault["type"] == "literal_error":
        return Problem(where, f"unknown value{given}", f"one of: {fault['ctx']['expected']}")
    described = keys().get(key, "")
    return Problem(
        where,
        f"{fault['msg'][:1].lower()}{fault['msg'][1:]}{', not' + given if given else ''}",
        described or "see --help",
    )


def _closest(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else "see --help for all settings"
