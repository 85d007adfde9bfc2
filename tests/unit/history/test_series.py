from datetime import timedelta

from meshlab.history.records import RunRecord, from_result, moment
from meshlab.history.series import MISSED, missed, reds, regressions, series_of, version_changes
from tests.examples.nights import night

P50 = "request-p50{loop=fast}"


def runs(values: list[float], **more: object) -> list[RunRecord]:
    return [from_result(night(n, {P50: (value, "ms")}, **more)) for n, value in enumerate(values)]  # type: ignore[arg-type]


def test_a_regression_is_told_with_numbers_and_the_versions_that_changed() -> None:
    history = runs([10.0] * 12)
    history += [from_result(night(n, {P50: (13.0, "ms")}, istio="1.31.0", seconds=120)) for n in (12, 13)]
    [incident] = regressions(history)
    assert incident.what == "slower" and incident.ended == ""
    assert incident.name == f"slower:{history[13].run_id}"
    assert incident.began == history[13].run_id
    for said in ("13 ms (+30%)", "median of 12 runs 10 ms", "istio.client 1.30.0 → 1.31.0"):
        assert said in incident.text
    history += [from_result(night(n, {P50: (10.0, "ms")})) for n in (14, 15)]
    [ended] = regressions(history)
    assert ended.name == incident.name and ended.ended == history[15].run_id
    assert "is back: 10 ms" in ended.end_text


def test_measures_of_a_family_that_get_worse_together_are_one_incident_and_others_are_not() -> None:
    def made(n: int, p50: float, p90: float, memory: float) -> RunRecord:
        values = {"path-p50": (p50, "ms"), "path-p90": (p90, "ms"), "proxy-memory": (memory, "MiB")}
        return from_result(night(n, values))

    history = [made(n, 10, 12, 50) for n in range(12)]
    history += [made(12, 13, 12, 50), made(13, 13, 16, 60), made(14, 13, 16, 60), made(15, 13, 16, 60)]
    names = [(t.what, t.began) for t in regressions(history)]
    assert names == [("slower", history[13].run_id), ("resources", history[14].run_id)]
    history += [made(16, 10, 16, 60), made(17, 10, 16, 60)]
    assert [t.ended for t in regressions(history)] == ["", ""]  # one of the two is back, the other is not
    history += [made(18, 10, 12, 60), made(19, 10, 12, 60)]
    slower, _ = regressions(history)
    assert slower.ended == history[19].run_id
    history += [made(20, 13, 12, 50), made(21, 13, 12, 50)]
    assert [t.began for t in regressions(history) if t.what == "slower"] == [
        history[13].run_id,
        history[21].run_id,
    ]


def test_what_gets_worse_in_the_same_two_nights_is_one_incident() -> None:
    def made(n: int, p50: float, memory: float, seconds: float) -> RunRecord:
        return from_result(
            night(n, {"path-p50": (p50, "ms"), "proxy-memory": (memory, "MiB")}, seconds=seconds)
        )

    history = [made(n, 10, 50, 120) for n in range(12)] + [made(n, 15, 70, 200) for n in (12, 13)]
    [busy] = regressions(history)
    assert [key in busy.text for key in ("path-p50", "proxy-memory", "run-seconds")] == [True] * 3
    # Two of the three are back; what gets worse of their kind after that is another incident.
    history += [made(n, 10, 70, 120) for n in (14, 15)] + [made(n, 15, 70, 120) for n in (16, 17)]
    assert [(each.began, each.ended) for each in regressions(history)] == [
        (history[13].run_id, ""),
        (history[17].run_id, ""),
    ]


def test_a_run_without_a_verdict_says_nothing_about_a_measure() -> None:
    history = runs([10.0] * 10)
    history += [from_result(night(n, {P50: (99.0, "ms")}, verdict="error")) for n in (10, 11)]
    assert regressions(history) == []


def test_a_check_that_fails_is_one_incident_until_it_is_red_no_more() -> None:
    said = ["pass", "fail", "error", "pass", "fail"]
    history = [from_result(night(n, verdict=v, checks={"a.b": v})) for n, v in enumerate(said)]
    first, second = reds(history)
    assert (first.began, first.ended) == (history[1].run_id, history[3].run_id)
    assert "fail a.b (a.b is fail)" in first.text and "red any more: check a.b" in first.end_text
    assert second.ended == ""


def test_a_mesh_with_a_known_failure_still_tells_what_else_fails() -> None:
    red = [{"a.b"}, {"a.b"}, {"a.b", "c.d", "e.f"}, {"a.b", "c.d"}, {"a.b", "e.f"}, {"a.b"}]
    history = [
        from_result(night(n, verdict="fail", checks={name: "fail" for name in sorted(names)}))
        for n, names in enumerate(red)
    ]
    told = [(t.began[-1], t.ended[-1:], t.text.split("; ")[1:]) for t in reds(history)]
    assert told == [
        ("2", "4", ["fail c.d (c.d is fail)", "fail e.f (e.f is fail)"]),
        ("4", "5", ["fail e.f (e.f is fail)"]),
        ("0", "", ["fail a.b (a.b is fail)"]),
    ]


def test_a_fail_is_told_before_a_broken_however_many_are_broken() -> None:
    checks = {f"a.c{n}": "broken" for n in range(12)} | {"z.last": "fail"}
    [told] = reds([from_result(night(0, verdict="fail", checks=checks))])
    assert told.text.split("; ")[1] == "fail z.last (z.last is fail)"


def test_what_went_red_does_not_change_with_nights_to_come() -> None:
    red = [{"a.b"}, set(), {"a.b", "c.d"}, {"c.d"}, {"a.b", "c.d"}, {"a.b"}, set()]
    history = [
        from_result(
            night(n, verdict="fail" if names else "pass", checks={name: "fail" for name in sorted(names)})
        )
        for n, names in enumerate(red)
    ]
    whole = {t.name: t for t in reds(history)}
    assert len(whole) == len(reds(history))  # no name is used twice
    for cut in range(1, len(history)):
        for incident in reds(history[:cut]):
            assert whole[incident.name].text == incident.text
            assert not incident.ended or whole[incident.name] == incident


def test_a_run_that_broke_off_tells_the_step_and_counts_what_could_not_be_made() -> None:
    checks = {f"a.c{n}": "infra-error" for n in range(60)}
    result = night(0, verdict="error", checks=checks)
    result["steps"].append(
        {"name": "start-cluster", "state": "failed", "seconds": 1, "attempts": 1, "reason": "no answer " * 40}
    )
    [told] = reds([from_result(result)])
    assert "step start-cluster failed (no answer" in told.text and "and 54 more" in told.text
    assert len(told.text) < 500
    [bare] = reds([from_result(night(0, verdict="error"))])
    assert bare.text.endswith(": error")


def test_a_missing_night_is_noticed_and_stays_the_same_incident_when_it_ends() -> None:
    history, day = runs([10.0, 10.0]), timedelta(days=1)
    last = moment(history[-1].started)
    assert missed(history, every=day, now=last + 1.4 * day) == []
    [open_gap] = missed(history, every=day, now=last + 2 * day)
    assert open_gap.what == MISSED and "48 h" in open_gap.text and not open_gap.ended
    later = [*history, from_result(night(4))]
    [closed] = missed(later, every=day, now=last + 3.2 * day)
    assert closed.name == open_gap.name and closed.ended == later[-1].run_id


def test_versions_that_changed_on_a_night_that_broke_off_are_told_with_the_first_bad_one() -> None:
    history = runs([10.0] * 12)
    broken = night(12, {P50: (13.0, "ms")}, verdict="error")
    broken["versions"] = {"kubernetes": "v1.37.0"}  # it did not come as far as the mesh's
    history.append(from_result(broken))
    for n in (13, 14):
        result = night(n, {P50: (13.0, "ms")}, istio="1.31.0")
        result["versions"]["kubernetes"] = "v1.37.0"
        history.append(from_result(result))
    [incident] = regressions(history)
    assert "kubernetes v1.36.1 → v1.37.0; istio.client 1.30.0 → 1.31.0" in incident.text
    assert "–" not in incident.text


def test_a_slow_step_does_not_hide_a_slow_mesh() -> None:
    def made(n: int, step: float, p50: float) -> RunRecord:
        return from_result(night(n, {"step-seconds{step=x}": (step, "s"), P50: (p50, "ms")}))

    history = [made(n, 10, 10) for n in range(12)] + [made(n, 30, 10) for n in (12, 13)]
    history += [made(n, 30, 15) for n in (14, 15)]
    assert [t.what for t in regressions(history)] == ["longer", "slower"]


def test_series_hold_each_measure_in_order() -> None:
    row, nights = series_of(runs([1.0, 2.0, 3.0]))[P50]
    assert (row.unit, [n.value for n in nights]) == ("ms", [1.0, 2.0, 3.0])


def test_versions_are_compared_night_by_night() -> None:
    history = [from_result(night(n, istio=v)) for n, v in enumerate(("1", "1", "2", "2"))]
    [(run, text)] = version_changes(history)
    assert run == history[2] and "istio.data_plane 1 → 2" in text
