"""Puts values into queries and texts, as Grafana does for a Prometheus datasource.

Source: Grafana's templateSrv and the Prometheus datasource's interpolateQueryExpr.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from meshlab.core.errors import IstioError
from meshlab.observability.dashboards.model import Variable

REFERENCE = re.compile(r"\$(\w+)|\[\[(\w+?)(?::(\w+))?\]\]|\$\{(\w+)(?:\.[^:}]+)?(?::([^}]+))?\}")
SPECIAL = re.compile(r"[$^*{}\[\]'+?.()|]")


@dataclass(frozen=True)
class Value:
    """What a variable stands for. chosen: the values. every: "All" was chosen. options: all there are."""

    variable: Variable
    chosen: tuple[str, ...]
    every: bool = False
    options: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """As the dashboard's head shows it."""
        return "All" if self.every else " + ".join(self.chosen)


def interpolate(text: str, values: Mapping[str, Value], builtins: Mapping[str, str] | None = None) -> str:
    """A query with its variables replaced. builtins: name → text that is put in as it is.

    What is neither stays as it is, so that whoever executes the query can replace it. Raises IstioError for a
    format (`${name:format}`) that Prometheus queries don't use.
    """

    def put(found: re.Match[str]) -> str:
        name = found[1] or found[2] or found[4]
        form = found[3] or found[5]
        if builtins and name in builtins:
            return builtins[name]
        value = values.get(name)
        return found[0] if value is None else _formatted(value, form)

    return REFERENCE.sub(put, text)


def plain(text: str, values: Mapping[str, Value]) -> str:
    """A title or text panel with its variables replaced by what a reader sees."""

    def put(found: re.Match[str]) -> str:
        value = values.get(found[1] or found[2] or found[4])
        return found[0] if value is None else value.text

    return REFERENCE.sub(put, text)


def names(text: str) -> Iterator[str]:
    """The variables that a text refers to."""
    return (found[1] or found[2] or found[4] for found in REFERENCE.finditer(text))


def _formatted(value: Value, form: str | None) -> str:
    variable = value.variable
    if value.every and variable.all_value:
        return variable.all_value
    if form == "raw":
        return ",".join(value.chosen)
    if form in ("pipe", "csv"):
        return {"pipe": "|", "csv": ","}[form].join(value.chosen)
    if form == "regex":
        escaped = [re.sub(r"[\\^$*+?.()|\[\]{}/]", r"\\\g<0>", each) for each in value.chosen]
        return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"
    if form:
        raise IstioError(
            f"the format of ${{{variable.name}:{form}}} is not known",
            remedy="add it to meshlab/observability/dashboards/templating.py",
        )
    if not variable.multi and not variable.include_all:
        return "".join(value.chosen).replace("\\", "\\\\").replace("'", "\\\\'")
    # Twice escaped: once for the regular expression, once for the PromQL string that holds it.
    escaped = [SPECIAL.sub(r"\\\\\g<0>", each.replace("\\", r"\\\\")) for each in value.chosen]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"
