import re
from xml.etree import ElementTree as ET

from meshlab.report.charts import LIMIT, MOST_SERIES, line_chart
from meshlab.report.material import Series
from tests.examples.material import BEGIN, wave


def test_a_chart_has_lines_axes_in_its_unit_and_words_for_those_who_cannot_see_it() -> None:
    chart = line_chart("Latency", [Series("a <b>", wave(0.012)), Series("c", wave(0.03))], "s")
    assert chart is not None
    root = ET.fromstring(chart.picture.svg)
    texts = [element.text or "" for element in root.iter("text")]
    assert any(text.endswith(" ms") for text in texts)
    assert any(text.count(":") == 2 for text in texts), "no time of day"
    assert {"var(--s1)", "var(--s2)"} <= {element.get("stroke") for element in root.iter("path")}
    assert chart.picture.alt.startswith("Line chart of Latency, 2 lines. a <b>: last ")
    assert [entry.name for entry in chart.legend] == ["a <b>", "c"]
    assert chart.legend[1].last == "37.6 ms"


def test_no_value_is_no_chart() -> None:
    assert line_chart("x", []) is None
    assert line_chart("x", [Series("a", ()), Series("b", ((1.0, None), (2.0, float("nan"))))]) is None


def test_many_lines_of_many_points_stay_within_the_limit_and_keep_the_highest() -> None:
    series = [Series(f"series {n}", wave(n + 1.0, points=2000, shift=n)) for n in range(60)]
    chart = line_chart("Everything at once", series, "bytes")
    assert chart is not None
    assert chart.picture.size <= LIMIT
    assert len(chart.legend) == MOST_SERIES
    assert chart.left_out == 40
    assert chart.legend[0].name == "series 40"


def test_all_zero_one_point_negative_and_broken_lines_are_drawn() -> None:
    zero = line_chart("zero", [Series("a", tuple((BEGIN + n, 0.0) for n in range(9)))], "reqps")
    one = line_chart("one", [Series("a", ((BEGIN, 3.0),))])
    negative = line_chart("negative", [Series("a", wave(-5.0))])
    odd = line_chart("odd", [Series("a", ((BEGIN, 1.0), (BEGIN + 5, 2.0), (BEGIN + 10, float("inf"))))])
    assert odd is not None and odd.legend[0].last == "2"
    broken = line_chart("broken", [Series("a", (*wave(points=5), (BEGIN + 300, 2.0), (BEGIN + 305, 2.0)))])
    assert zero is not None and one is not None and negative is not None and broken is not None
    assert "0 req/s" in zero.picture.svg
    assert 'fill="var(--s1)"' in one.picture.svg, "a lone point must be seen"
    assert negative.legend[0].last.startswith("-")
    path = next(p for p in ET.fromstring(broken.picture.svg).iter("path") if p.get("stroke") == "var(--s1)")
    assert path.get("d", "").count("M") == 2


def test_weeks_are_written_as_dates_and_hours_as_times() -> None:
    day = 86_400
    weeks = line_chart("nights", [Series("a", tuple((BEGIN + n * day, 4.0 + n) for n in range(30)))], "ms")
    hours = line_chart("day", [Series("a", tuple((BEGIN + n * 3600, 4.0 + n) for n in range(30)))], "ms")
    assert weeks is not None and hours is not None
    assert re.search(r">\d+ [A-Z][a-z]{2}<", weeks.picture.svg) and ":00<" not in weeks.picture.svg
    assert re.search(r">\d\d:00<", hours.picture.svg)


def test_a_limit_and_marks_are_lines_of_their_own() -> None:
    points = tuple((BEGIN + n * 86_400, 4.0 + n % 2) for n in range(30))
    plain = line_chart("nights", [Series("a", points)], "ms")
    marked = line_chart("nights", [Series("a", points)], "ms", limit=9.0, marks=[BEGIN + 5 * 86_400])
    assert plain is not None and marked is not None
    dashed = 'stroke-dasharray="3,3"'
    assert dashed not in plain.picture.svg and "var(--bad)" not in plain.picture.svg
    assert marked.picture.svg.count(dashed) == 2 and "var(--bad)" in marked.picture.svg
    assert marked.legend == plain.legend
