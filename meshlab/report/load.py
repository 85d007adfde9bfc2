"""The load test in the report: asked and reached rate, errors, times, and how many requests took how long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree as ET

from markupsafe import Markup

from meshlab.core.text import pluralize
from meshlab.report.rendering import figure, table
from meshlab.report.svg import Picture, add, picture
from meshlab.report.tables import Row

TITLE = "Load test"
WIDTH, ROW, LABELS, NUMBERS = (
    640,
    18,
    130,
    70,
)  # CSS pixels: whole width, a bucket's row, its name, its number


def load_html(load: Mapping[str, Any] | None) -> Markup:
    """Show a load test.

    Args:
        load: As `result.json` has it; None where none was made.

    Returns:
        The markup; nothing where none was made.
    """
    if load is None:
        return Markup("")
    rows = [_row("measured", load), *([_row("warm-up", load["warmup"])] if "warmup" in load else [])]
    drawn = draw_histogram(load["histogram"])
    caption = f"How many of {pluralize(load['requests'], 'requests')} took how long"
    return table(rows, "What was sent, and what came back") + figure(drawn, caption)


def _row(name: str, load: Mapping[str, Any]) -> Row:
    asked = load["asked_rate"]
    return {
        "part": name,
        "asked": "as many as it could" if asked is None else f"{asked:g} requests/s",
        "reached": f"{load['reached_rate']:.4g} requests/s" + (", saturated" if load["saturated"] else ""),
        "connections": f"{load['connections']} from {pluralize(load['pods'], 'pods')}",
        "seconds": f"{load['seconds']:g}",
        "answers": ", ".join(f"{count} × {status}" for status, count in load["statuses"].items()),
        **{
            name.removesuffix("_ms"): f"{load[name]:.3g} ms"
            for name in ("p50_ms", "p90_ms", "p99_ms", "p99.9_ms", "most_ms")
        },
    }


def draw_histogram(buckets: Sequence[Sequence[float]]) -> Picture:
    """Draw the buckets as bars, one below the other.

    Args:
        buckets: Milliseconds from and to, and how many requests.

    Returns:
        The drawing.
    """
    root = ET.Element("svg")
    most = max((count for _, _, count in buckets), default=1)
    for row, (start, end, count) in enumerate(buckets):
        top = row * ROW
        name = f"{start:.3g} to {end:.3g} ms"
        add(
            root, "text", name, x=LABELS - 8, y=top + 12, fill="var(--ink-2)", font_size=11, text_anchor="end"
        )
        wide = max(1.0, (WIDTH - LABELS - NUMBERS) * count / most)
        add(root, "rect", None, x=LABELS, y=top + 2, width=wide, height=ROW - 4, fill="var(--s1)")
        add(root, "text", f"{count:.0f}", x=LABELS + wide + 6, y=top + 12, fill="var(--ink)", font_size=11)
    told = "; ".join(f"{count:.0f} from {start:.3g} to {end:.3g} ms" for start, end, count in buckets)
    return picture(root, f"Histogram of response times: {told}.", WIDTH, ROW * max(1, len(buckets)))
