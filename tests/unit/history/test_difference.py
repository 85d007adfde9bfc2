from meshlab.history.difference import Difference, difference, flakiest, last_green
from meshlab.history.records import from_result
from tests.examples.nights import night


def test_everything_that_changed_is_told_and_nothing_else() -> None:
    before = from_result(
        night(0, {"p": (10.0, "ms"), "q": (10.0, "ms")}, checks={"a.b": "pass", "gone.x": "pass"},
              edges=(("a", "b"), ("b", "c")), findings=(("R1", "x"), ("R2", "y")))
    )  # fmt: skip
    after = from_result(
        night(1, {"p": (12.0, "ms"), "q": (10.5, "ms")}, checks={"a.b": "fail"}, istio="1.31.0",
              edges=(("a", "b"), ("b", "d")), findings=(("R2", "y"), ("R3", "z")))
    )  # fmt: skip
    found = difference(before, after)
    assert found.checks == (("a.b", "pass", "fail"), ("gone.x", "pass", ""))
    assert [(e.source, e.target) for e in found.edges_gained] == [("b", "d")]
    assert [(e.source, e.target) for e in found.edges_lost] == [("b", "c")]
    assert ("istio.client", "1.30.0", "1.31.0") in found.versions
    assert [f.code for f in found.findings_new] == ["R3"]
    assert [f.code for f in found.findings_gone] == ["R1"]
    assert found.measures == (("p", "ms", 10.0, 12.0),)


def test_a_run_does_not_differ_from_itself() -> None:
    run = from_result(night(0, {"p": (10.0, "ms")}))
    assert difference(run, run) == Difference(run.run_id, run.run_id)


def test_flips_are_counted_per_flow_and_skips_are_no_answer() -> None:
    said = ["pass", "fail", "skipped", "pass", "infra-error", "broken", "pass"]
    runs = [from_result(night(n, checks={"a.b": verdict, "c.d": "pass"})) for n, verdict in enumerate(said)]
    runs.append(from_result(night(9, flow="full-lab", checks={"a.b": "fail"})))
    [flaky] = flakiest(runs)
    assert (flaky.check_id, flaky.flips, flaky.runs) == ("a.b", 4, 7)
    assert flaky.last_flip.endswith("0006")


def test_the_last_green_run_is_an_earlier_one_that_passed() -> None:
    runs = [from_result(night(n, verdict=v)) for n, v in enumerate(("pass", "pass", "fail", "fail"))]
    assert last_green(runs, runs[3]) == runs[1]
    assert last_green(runs, runs[0]) is None


def test_what_one_of_two_runs_did_not_look_at_is_not_compared() -> None:
    there = from_result(night(0, edges=(("a", "b"),), findings=(("R1", "x"),)))
    checks = {"graph.edges": "infra-error", "istio.analyze": "skipped"}
    blind = from_result(night(1, edges=(), checks=checks, verdict="error"))
    for found in (difference(there, blind), difference(blind, there)):
        assert not found.edges_known
        assert (found.edges_gained, found.edges_lost, found.findings_new, found.findings_gone) == (
            (),
            (),
            (),
            (),
        )
    assert difference(there, there).edges_known


def test_a_night_that_broke_off_makes_no_check_flaky() -> None:
    checks = {"a.b": "infra-error", "c.d": "fail"}
    nights = [night(n, checks=checks if n == 1 else dict.fromkeys(checks, "pass")) for n in range(3)]
    assert [each.check_id for each in flakiest([*map(from_result, nights)])] == ["a.b", "c.d"]
    nights[1]["steps"][0]["state"] = "failed"
    assert [each.check_id for each in flakiest([*map(from_result, nights)])] == ["c.d"]
