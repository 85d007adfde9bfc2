"""Give template variables their values, from what Prometheus has, in the order in which they need each other."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from meshlab.core.errors import IstioError, QueryError
from meshlab.observability.dashboards.model import Dashboard, Variable
from meshlab.observability.dashboards.sources import Source
from meshlab.observability.dashboards.templating import Value, interpolate, names

ALL = "$__all"
LABEL_VALUES = re.compile(r"^label_values\((?:(?P<metric>.+),\s*)?(?P<label>[a-zA-Z_]\w*)\)\s*$", re.S)
QUERY_RESULT = re.compile(r"^query_result\((?P<query>.+)\)\s*$", re.S)
NOT_ASKED = ("datasource", "adhoc")  # they name where a query goes, or add filters that nobody set


def resolve(dashboard: Dashboard, source: Source, chosen: Mapping[str, str]) -> dict[str, Value]:
    """Give each variable its value: the chosen one, else the saved one if it is an option, else the first option.

    Args:
        dashboard: The dashboard.
        source: Lists the options.
        chosen: Variable → value, as a reader picks it from the list.

    Returns:
        Variable → value.

    Raises:
        QueryError: A chosen value is not among the options yet, or the source can't be asked; trying again
            may help.
        IstioError: A variable is of an unknown kind, or a chosen one does not exist.
    """
    unknown = set(chosen) - {variable.name for variable in dashboard.variables}
    if unknown:
        raise IstioError(
            f"{dashboard.title} has no variable {', '.join(sorted(unknown))}",
            remedy="correct meshlab/observability/dashboards/choices.yaml",
        )
    values: dict[str, Value] = {}
    for variable in ordered(dashboard.variables):
        if variable.kind not in NOT_ASKED:
            options = _options(variable, source, values)
            values[variable.name] = _pick(dashboard, variable, options, chosen.get(variable.name))
    return values


def ordered(variables: Sequence[Variable]) -> list[Variable]:
    """Variables, each behind those that its query names. Raises IstioError when they go round in circles."""
    left, done = list(variables), []
    while left:
        waiting = {variable.name for variable in left}
        free = [each for each in left if not waiting & (set(names(each.query)) - {each.name})]
        if not free:
            raise IstioError(
                f"the variables {', '.join(sorted(waiting))} need each other", remedy="correct the dashboard"
            )
        done += free
        left = [each for each in left if each not in free]
    return done


def _options(variable: Variable, source: Source, values: Mapping[str, Value]) -> tuple[str, ...]:
    if variable.kind in ("custom", "interval"):
        return tuple(part.strip().rpartition(" : ")[2] for part in variable.query.split(",") if part.strip())
    if variable.kind in ("constant", "textbox"):
        return (variable.query,)
    if variable.kind != "query":
        raise IstioError(
            f"the variable {variable.name} is of kind {variable.kind}",
            remedy="add that kind to meshlab/observability/dashboards/variables.py",
        )
    query = interpolate(variable.query, values)
    if found := QUERY_RESULT.match(query):
        texts = [_as_text(labels, value) for labels, value in source.vector(found["query"])]
    elif found := LABEL_VALUES.match(query):
        texts = source.label_values(found["label"], found["metric"])
    else:
        raise IstioError(
            f"the variable {variable.name} asks {variable.query!r}",
            remedy="add that function to meshlab/observability/dashboards/variables.py",
        )
    return tuple(_sorted(_picked_out(texts, variable.regex), variable.sort))


def _as_text(labels: Mapping[str, str], value: float) -> str:
    """A series as Grafana writes it before a variable's regular expression is applied."""
    inner = ",".join(f'{name}="{text}"' for name, text in labels.items() if name != "__name__")
    return f"{labels.get('__name__', '')}{{{inner}}} {value:g}"


def _picked_out(texts: Sequence[str], regex: str) -> list[str]:
    """The regular expression's first group of each text that it matches, each value once."""
    if not regex:
        return list(dict.fromkeys(texts))
    pattern = re.compile(regex[1:].rpartition("/")[0] if regex.startswith("/") else regex)
    found = (pattern.search(text) for text in texts)
    return list(dict.fromkeys(hit[1] if pattern.groups else hit[0] for hit in found if hit))


def _sorted(options: list[str], order: int) -> list[str]:
    """Sort options in Grafana's orders.

    0 is none, then come pairs of ascending and descending: by text, by number, by text without case.
    """
    if order in (3, 4):
        return sorted(options, key=_number, reverse=order == 4)
    if order in (1, 2, 5, 6):
        return sorted(options, key=str.lower if order > 4 else str, reverse=order % 2 == 0)
    return options


def _number(text: str) -> float:
    found = re.search(r"\d+", text)
    return float(found[0]) if found else -1.0


def _pick(dashboard: Dashboard, variable: Variable, options: tuple[str, ...], wanted: str | None) -> Value:
    if wanted is not None:
        if wanted not in options and variable.kind == "query":
            raise QueryError(
                f"{dashboard.title} can't be set to {variable.name} {wanted}: "
                f"its list has {', '.join(options) or 'nothing'}",
                remedy="send traffic to it; the list is made of what Prometheus counted",
            )
        return Value(variable, (wanted,), options=options)
    saved = tuple(each for each in variable.current if each in options)
    if variable.include_all and (ALL in variable.current or not saved):
        return Value(variable, options, every=True, options=options)
    return Value(variable, saved or options[:1], options=options)
