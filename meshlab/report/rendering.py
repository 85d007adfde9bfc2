"""The report's templates: one Jinja2 environment, HTML escaped unless it is markup already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from meshlab.core.text import pluralize
from meshlab.report.material import Row
from meshlab.report.svg import Picture
from meshlab.report.units import format_value

PASS, FAIL, WARN, NOTE, NONE = "ok", "bad", "warn", "note", ""  # tones: the colour of a badge or a cell
TONES = {"pass": PASS, "fail": FAIL, "broken": FAIL, "infra-error": WARN, "error": WARN, "skipped": NOTE}


@dataclass(frozen=True)
class Cell:
    """One cell of a matrix. tone: PASS, FAIL, WARN, NOTE or NONE; the text must tell it all without it."""

    text: str
    tone: str = NONE
    title: str = ""


@cache
def environment() -> Environment:
    """The environment. Undefined names are errors; Markdown is not escaped."""
    templates = Environment(
        loader=PackageLoader("meshlab.report", "templates"),
        autoescape=lambda name: not (name or "").endswith(".md"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["value"] = format_value
    templates.filters["cell"] = _markdown_cell
    templates.globals["tones"] = TONES
    templates.globals["pluralize"] = pluralize
    return templates


def render(template: str, **values: Any) -> Markup:
    """Fill a template.

    Args:
        template: The file's name.
        values: What it shows.

    Returns:
        The markup.
    """
    return Markup(environment().get_template(template).render(**values))


def render_text(template: str, **values: Any) -> str:
    """Fill a template of Markdown, in which nothing is escaped.

    Args:
        template: The file's name, which ends in `.md`.
        values: What it shows.

    Returns:
        The text, with a line break at its end.
    """
    return environment().get_template(template).render(**values).rstrip("\n") + "\n"


def _markdown_cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|").strip().replace("\n", "<br>")


def source(template: str) -> str:
    """A template file's text as it is: the style sheet and the script."""
    loader = environment().loader
    assert loader is not None
    return loader.get_source(environment(), template)[0]


def table(rows: Iterable[Row], caption: str, *, limit: int | None = None) -> Markup:
    """Make a table of flat records; its columns are the keys in the order in which they turn up.

    Args:
        rows: The records.
        caption: What the table is, also for those who can't see it.
        limit: Rows that are shown; how many more there are is said.

    Returns:
        The markup; nothing for no rows.
    """
    records = list(rows)
    if not records:
        return Markup("")
    columns = list(dict.fromkeys(key for record in records for key in record))
    shown = records[:limit]
    return _part("table", caption, columns, shown, len(records) - len(shown))


def matrix(
    caption: str, corner: str, columns: Sequence[str], rows: Mapping[str, Sequence[Cell | None]]
) -> Markup:
    """Named rows against named columns: a truth table, faults against checks. corner: what the rows are.

    Each row has a cell (or None) per column.
    """
    return _part("matrix", caption, corner, columns, rows)


def figure(picture: Picture, caption: str = "", file: str = "", narrow: Picture | None = None) -> Markup:
    """Put a drawing into a frame that scrolls where the drawing is wider.

    Args:
        picture: The drawing.
        caption: What stands below it.
        file: Where it is kept on its own; "" for nowhere.
        narrow: What a telephone shows instead.

    Returns:
        The markup.
    """
    return _part("figure", picture, caption, file, narrow)


def _part(macro: str, *values: Any) -> Markup:
    return Markup(getattr(environment().get_template("parts.html").module, macro)(*values))
