from meshlab.history.records import RunRecord, from_result
from meshlab.history.trend import changed_since_green, trend_section
from meshlab.report.html import Changed, report_html
from meshlab.report.sections import Drawn
from tests.examples.nights import night

P50 = "path-p50{path=mesh}"


def runs(values: list[float], **last: object) -> list[RunRecord]:
    count = len(values)
    return [
        from_result(night(n, {P50: (value, "ms")}, **(last if n == count - 1 else {})))  # type: ignore[arg-type]
        for n, value in enumerate(values)
    ]


def test_tonight_stands_beside_the_nights_before() -> None:
    section = trend_section(runs([10.0] * 9 + [13.0]))
    assert section is not None
    assert f'<th scope="row">{P50}</th>' in section.body
    for text in ("13 ms (bad)", ">10 ms</td>", ">11 ms</td>", "the last 10 nights", 'role="img"'):
        assert text in section.body


def test_a_night_of_a_long_incident_is_bad_still_and_the_first_screen_says_since_when() -> None:
    history = [from_result(night(n, {P50: (10.0, "ms")})) for n in range(20)]
    history += [from_result(night(n, {P50: (13.0, "ms")}, istio="1.31.0")) for n in range(20, 31)]
    section = trend_section(history)
    assert section is not None
    for text in ("13 ms (bad)", ">10 ms</td>", ">11 ms</td>"):
        assert text in section.body
    found = changed_since_green(history)
    assert found is not None and found.lines == ()
    assert found.worse == (
        ("worse", f"{P50}: 13 ms, calm 10 ms, bad above 11 ms; since {history[20].run_id}"),
        (
            "versions",
            f"istio.client 1.30.0 → 1.31.0; istio.data_plane 1.30.0 → 1.31.0, in {history[20].run_id}",
        ),
    )
    page = report_html(night(30), Drawn(), changed=found)
    assert page.index("What got worse") < page.index("</section>")


def test_what_a_night_that_broke_off_did_not_see_is_no_change() -> None:
    broken = night(
        3, verdict="error", checks={"graph.edges": "infra-error", "istio.analyze": "infra-error"}, edges=()
    )
    broken["versions"] = {}
    history = [from_result(night(n, findings=(("R1", "x"),))) for n in range(3)] + [from_result(broken)]
    found = changed_since_green(history)
    assert found is not None and found.lines == (("could not be made", "graph.edges, istio.analyze"),)


def test_what_changed_comes_before_what_did_not_pass() -> None:
    result = night(1, verdict="fail", checks={f"a.c{n}": "fail" for n in range(20)})
    page = report_html(result, Drawn(), changed=Changed("r1", (("checks", "a.c1: pass → fail"),)))
    assert page.index("What changed since") < page.index("What did not pass")


def test_only_the_last_30_nights_are_drawn() -> None:
    section = trend_section(runs([10.0] * 45))
    assert section is not None and "the last 30 nights" in section.body


def test_one_run_is_no_trend() -> None:
    assert trend_section(runs([10.0])) is None
    assert changed_since_green(runs([10.0])) is None


def test_what_changed_since_the_last_green_run_is_told_by_kind() -> None:
    history = runs([10.0] * 3, verdict="fail", checks={"a.b": "fail"}, istio="1.31.0",
                   edges=(("b", "c"),), findings=(("R1", "x"),))  # fmt: skip
    found = changed_since_green(history)
    assert found is not None and found.since == history[1].run_id
    told = dict(found.lines)
    assert "istio.client 1.30.0 → 1.31.0" in told["versions"]
    assert told["checks"] == "a.b: not made → fail"
    assert told["graph edges"] == "+ b → c\n− sleep → productpage-v1"
    assert told["findings"] == "+ R1 x"


def test_many_changes_are_counted() -> None:
    history = runs([10.0] * 2, checks={f"a.c{n}": "fail" for n in range(20)})
    found = changed_since_green(history)
    assert found is not None and dict(found.lines)["checks"].endswith("and 14 more")


def test_no_green_run_before_is_said() -> None:
    history = [from_result(night(n, verdict="fail")) for n in range(2)]
    assert changed_since_green(history) == Changed("")


def test_the_first_screen_tells_it() -> None:
    result = night(1)
    page = report_html(result, Drawn(), changed=Changed("r1", (("checks", "a.b: pass → fail"),)))
    first = page[: page.index("</section>")]
    assert "What changed since the last green run" in first and "a.b: pass → fail" in first
    assert "are those of the last green run" in report_html(result, Drawn(), changed=Changed("r1"))
    assert "no earlier run that passed" in report_html(result, Drawn(), changed=Changed(""))
    assert "green run" not in report_html(result, Drawn())
