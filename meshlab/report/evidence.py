"""A check's evidence, whatever its shape, as markup: tables for records, lists for names, else text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from meshlab.report.rendering import table


@dataclass(frozen=True)
class Limits:
    """How much of a check's evidence is shown; `result.json` has all. text: characters of one text."""

    rows: int = 60
    text: int = 2_000


def evidence_html(evidence: Mapping[str, Any], limits: Limits) -> Markup:
    """The evidence as a list of names with their values."""
    if not evidence:
        return Markup("")
    parts = (
        Markup("<dt>{}</dt><dd>{}</dd>").format(_words(name), value_html(value, str(name), limits))
        for name, value in evidence.items()
    )
    return Markup("<dl>{}</dl>").format(Markup("").join(parts))


def value_html(value: Any, name: str, limits: Limits) -> Markup:
    """One value. name: what a table of it is called."""
    if isinstance(value, Mapping) and value:
        if all(_is_scalar(one) for one in value.values()):
            value = [{"": key, "value": one} for key, one in value.items()]
        elif all(_is_record(one) for one in value.values()):
            value = [{"": key, **one} for key, one in value.items()]
        else:
            return _json(value, limits)
    if not isinstance(value, Sequence | Mapping) or isinstance(value, str | bytes):
        return _scalar(value, limits)
    if not value:
        return Markup("none")
    if all(_is_record(one) for one in value):
        rows = [{key: _inline(inner, limits) for key, inner in one.items()} for one in value]
        return table(rows, _words(name), limit=limits.rows)
    if not all(_is_scalar(one) for one in value):
        return _json(value, limits)
    shown = value[: limits.rows]
    items = Markup("").join(Markup("<li>{}</li>").format(_scalar(one, limits)) for one in shown)
    more = len(value) - len(shown)
    tail = Markup("<li>and {} more in result.json</li>").format(more) if more else Markup("")
    return Markup('<ul class="plain">{}{}</ul>').format(items, tail)


def _scalar(value: Any, limits: Limits) -> Markup:
    text = _plain(value)
    if len(text) > limits.text:
        text = f"{text[: limits.text]}… ({len(text) - limits.text} more characters in result.json)"
    return Markup("<pre>{}</pre>").format(text) if "\n" in text else escape(text)


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) and abs(value) < 1e6 else str(value)


def _json(value: Any, limits: Limits) -> Markup:
    return _scalar(json.dumps(value, indent=1, default=str, ensure_ascii=False), limits)


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _is_record(value: Any) -> bool:
    """Whether it fits into a table's row: a mapping of scalars, and of lists or small mappings of scalars."""
    return isinstance(value, Mapping) and all(
        _is_scalar(one)
        or (isinstance(one, list) and all(map(_is_scalar, one)))
        or (isinstance(one, Mapping) and all(map(_is_scalar, one.values())))
        for one in value.values()
    )


def _inline(value: Any, limits: Limits) -> Markup:
    if isinstance(value, Mapping):
        return _scalar(", ".join(f"{key}={_plain(one)}" for key, one in value.items()) or "-", limits)
    if isinstance(value, list):
        return _scalar(", ".join(map(_plain, value)) or "-", limits)
    return _scalar(value, limits)


def _words(name: Any) -> str:
    return str(name).replace("_", " ")
