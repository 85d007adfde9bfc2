from dataclasses import replace
from xml.etree import ElementTree as ET

from meshlab.report.material import Span, Trace
from meshlab.report.waterfall import MOST_SPANS, draw_waterfall, span_rows, steps
from tests.examples.material import trace


def span(name: str, parent: str | None, start: int = 0) -> Span:
    return Span(name, parent, f"service-{name}", "get", start, 1.0)


def test_spans_stand_under_the_one_that_caused_them_in_order_of_time() -> None:
    assert [(step.span.id, step.depth) for step in steps(trace())] == [
        ("a", 0), ("b", 1), ("c", 2), ("d", 3), ("e", 2), ("f", 3), ("g", 4), ("h", 5),
    ]  # fmt: skip
    assert [step.start_ms for step in steps(trace())][-1] == 21.0


def test_orphans_and_circles_are_shown_once_each() -> None:
    odd = Trace("odd", (span("x", "not-there"), span("p", "q", 5), span("q", "p", 4), span("s", "s", 9)))
    assert sorted(step.span.id for step in steps(odd)) == ["p", "q", "s", "x"]


def test_the_picture_has_a_bar_for_each_span_and_a_word_for_each_error() -> None:
    drawn = draw_waterfall(trace())
    assert drawn is not None
    root = ET.fromstring(drawn.svg)
    bars = [rect for rect in root.iter("rect") if rect.get("fill") != "none"]
    assert len(bars) == 8
    texts = ["".join(text.itertext()) for text in root.iter("text")]
    assert "7.7 ms error 503" in texts
    assert "42.1 ms" in texts
    assert "8 spans of 5 services in 42.1 ms" in drawn.alt
    right = max(float(bar.get("x", 0)) + float(bar.get("width", 0)) for bar in bars)
    assert right < drawn.width


def test_a_long_trace_is_cut_and_its_table_is_not() -> None:
    long = Trace("long", tuple(span(str(n), None, n) for n in range(300)))
    drawn = draw_waterfall(long)
    assert drawn is not None
    assert drawn.height < 30 * MOST_SPANS
    assert len(span_rows(long)) == 300
    assert "300 spans" in drawn.alt


def test_no_span_is_no_picture_and_no_time_is_no_division() -> None:
    assert draw_waterfall(Trace("empty", ())) is None
    still = Trace("still", (replace(span("a", None), duration_ms=0.0),))
    assert draw_waterfall(still) is not None
