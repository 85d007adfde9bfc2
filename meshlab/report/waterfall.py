"""A trace as a waterfall: a row per span, indented under the one that caused it, bars on one axis of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from meshlab.core.text import pluralize
from meshlab.report.material import Row, Span, Trace
from meshlab.report.svg import COLOURS, Picture, add, picture
from meshlab.report.units import format_value, scale_for

MOST_SPANS = 80  # rows of one picture; the table has all
_TOP, _INDENT, _RIGHT = 26, 14, 76  # pixels: the axis, a level of the tree, room for a duration


@dataclass(frozen=True)
class Frame:
    """A form of the picture, in pixels. names: width of the names' column, 0 where they stand above the bars.

    text, bar: the baseline of a row's name and the top of its bar. room: characters of a name, an indent
    counted as two. ticks: parts of the axis.
    """

    width: float
    names: float
    row: int
    text: int
    bar: int
    room: int
    ticks: int


WIDE = Frame(width=1140, names=480, row=24, text=16, bar=6, room=64, ticks=4)
NARROW = Frame(width=340, names=4, row=36, text=12, bar=18, room=50, ticks=2)


@dataclass(frozen=True)
class Step:
    """A span in its place: how deep it stands in the tree and when it began, ms after the trace's begin."""

    span: Span
    depth: int
    start_ms: float


def steps(trace: Trace) -> list[Step]:
    """The spans as a tree read from top to bottom: children after their parent, by begin.

    A span whose parent is not in the trace stands as a root; spans that name each other as parents do too.
    """
    if not trace.spans:
        return []
    begin = min(span.start_us for span in trace.spans)
    known = {span.id for span in trace.spans}
    children: dict[str | None, list[Span]] = {}
    for span in sorted(trace.spans, key=lambda span: (span.start_us, span.id)):
        children.setdefault(span.parent if span.parent in known else None, []).append(span)
    ordered: list[Step] = []
    placed: set[str] = set()

    def place(roots: Sequence[Span]) -> None:
        stack = [(span, 0) for span in reversed(roots)]
        while stack:
            span, depth = stack.pop()
            if span.id in placed:
                continue
            placed.add(span.id)
            ordered.append(Step(span, depth, (span.start_us - begin) / 1000))
            stack += [(child, depth + 1) for child in reversed(children.get(span.id, ()))]

    place(children.get(None, []))
    for span in trace.spans:
        place([span])
    return ordered


def span_rows(trace: Trace) -> list[Row]:
    """Every span with its numbers, for the table beside the picture."""
    return [
        {
            "service": "\u2003" * step.depth + step.span.service,
            "operation": step.span.operation,
            "begins at": format_value(step.start_ms, "ms"),
            "takes": format_value(step.span.duration_ms, "ms"),
            "status": step.span.status or "-",
            "error": "yes" if step.span.error else "no",
        }
        for step in steps(trace)
    ]


def draw_waterfall(trace: Trace, frame: Frame = WIDE) -> Picture | None:
    """Draw a trace as SVG. Services have colours, errors a mark and a word.

    Args:
        trace: The trace.
        frame: WIDE has the names beside the bars, NARROW above them, for a telephone.

    Returns:
        The picture; None when the trace has no span.
    """
    ordered = steps(trace)
    if not ordered:
        return None
    shown = ordered[:MOST_SPANS]
    total = max(step.start_ms + step.span.duration_ms for step in ordered) or 1.0
    services = list(dict.fromkeys(step.span.service for step in ordered))
    height = _TOP + frame.row * len(shown) + 6
    root = ET.Element("svg", {"font-size": "12"})
    _axis(root, frame, total, height)
    for index, step in enumerate(shown):
        colour = services.index(step.span.service) % COLOURS + 1
        group = add(root, "g")
        add(group, "title", _told(step))
        _name(group, frame, step, _TOP + frame.row * index)
        _bar(group, frame, step, _TOP + frame.row * index, total, colour)
    return picture(root, _alt(trace, ordered, services, total), frame.width, height)


def _x(frame: Frame, at_ms: float, total: float) -> float:
    return frame.names + at_ms / total * (frame.width - frame.names - _RIGHT)


def _axis(root: ET.Element, frame: Frame, total: float, height: float) -> None:
    scale = scale_for(total, "ms")
    for tick in range(frame.ticks + 1):
        at = total * tick / frame.ticks
        x = _x(frame, at, total)
        add(root, "line", x1=x, x2=x, y1=_TOP - 6, y2=height - 4, stroke="var(--line)")
        anchor = "start" if tick == 0 and frame.names < 20 else "middle"
        told = f"{at * scale.factor:.3g}{scale.suffix}"
        add(root, "text", told, x=x, y=14, font_size=11, fill="var(--ink-2)", text_anchor=anchor)


def _name(group: ET.Element, frame: Frame, step: Step, top: float) -> None:
    depth = min(step.depth, 12) if frame is WIDE else 0
    room = frame.room - 2 * depth
    name = add(group, "text", x=4 + _INDENT * depth, y=top + frame.text, fill="var(--ink)")
    add(name, "tspan", _cut(step.span.service, room), font_weight=600)
    operation = _cut(step.span.operation, max(0, room - len(step.span.service) - 1))
    add(name, "tspan", operation, fill="var(--ink-2)", dx=6)


def _bar(group: ET.Element, frame: Frame, step: Step, top: float, total: float, colour: int) -> None:
    span, y = step.span, top + frame.bar
    x = _x(frame, step.start_ms, total)
    width = max(2.0, _x(frame, step.start_ms + span.duration_ms, total) - x)
    add(group, "rect", x=x, y=y, width=width, height=12, rx=2, fill=f"var(--s{colour})")
    if span.error:
        frame_of = {"fill": "none", "stroke": "var(--bad)", "stroke-width": "2.5"}
        add(group, "rect", None, frame_of, x=x, y=y, width=width, height=12, rx=2)
    text = format_value(span.duration_ms, "ms") + (f" error {span.status}".rstrip() if span.error else "")
    fits = x + width + 6 + 6.5 * len(text) <= frame.width
    style = {"fill": "var(--bad)", "font-weight": "600"} if span.error else {"fill": "var(--ink-2)"}
    place = {} if fits else {"text-anchor": "end"}
    add(group, "text", text, place, style, x=x + width + 6 if fits else x - 6, y=y + 10, font_size=11)


def _told(step: Step) -> str:
    span = step.span
    times = f"begins at {format_value(step.start_ms, 'ms')}, takes {format_value(span.duration_ms, 'ms')}"
    return f"{span.service}: {span.operation}, {times}" + (f", status {span.status}" if span.status else "")


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else (text[: length - 1] + "…" if length > 1 else "")


def _alt(trace: Trace, ordered: Sequence[Step], services: Sequence[str], total: float) -> str:
    """The waterfall in words: size, services, and the first twenty spans with their depth and time."""
    told = "; ".join(
        f"{step.span.service} {step.span.operation} {format_value(step.span.duration_ms, 'ms')}"
        + (" (error)" if step.span.error else "")
        for step in ordered[:20]
    )
    more = f"; and {len(ordered) - 20} more" if len(ordered) > 20 else ""
    return (
        f"Trace {trace.trace_id}: {pluralize(len(ordered), 'spans')} of {pluralize(len(services), 'services')} "
        f"in {format_value(total, 'ms')}. In order: {told}{more}."
    )
