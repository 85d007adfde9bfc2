"""Every query ends in one class: data, empty for a proven reason, unexpectedly empty, or an error."""

from __future__ import annotations

import math
from typing import Any

import pytest

from meshlab.core.errors import IstioError, QueryError
from meshlab.observability.dashboards.examine import EXPLAINED, drawn_again, examine
from meshlab.observability.dashboards.expected import Choice, Expectation, Expectations, Precondition
from meshlab.observability.dashboards.model import Dashboard
from meshlab.observability.dashboards.read import dashboard
from tests.fakes.clock import FakeClock
from tests.fakes.dashboards import FakeSource, json_dashboard, json_panel, json_variable

ONE = [({"a": "1"}, 2.0)]
NAN = [({"a": "1"}, math.nan), ({"a": "2"}, math.nan)]
NO_X = Precondition("no-x", "nobody sends x", "x_total", "up")
PLAIN = dashboard(json_dashboard(json_panel(1, "x", "y")))


def expectations(*entries: Expectation, **choices: tuple[Choice, ...]) -> Expectations:
    return Expectations(entries, {"A Dashboard": choices["choices"]} if choices else {})


def entry(shipped: Dashboard, number: int = 0, **more: Any) -> Expectation:
    panel, target = list(shipped.targets())[number]
    return Expectation(shipped.title, panel.id, target.ref, target.digest, NO_X, **more)


def run(shipped: Dashboard, answers: dict[str, Any], known: Expectations | None = None, **options: Any):
    clock = FakeClock()
    source = FakeSource(answers, clock)
    source.gone = options.pop("gone", source.gone)
    timeout = options.pop("timeout", 30)
    found = examine(
        source, [shipped], known or expectations(), scrape_seconds=15, timeout=timeout, clock=clock, **options
    )
    return found, source


def told(examination, **which: Any) -> list[tuple[str, str]]:
    return [(each.classification, each.reason) for each in examination.of("A Dashboard", **which)]


def test_all_have_data_at_once():
    found, source = run(PLAIN, {"x": ONE, "y": ONE})
    assert told(found) == [("data", ""), ("data", "")]
    assert [each.series for each in found.results] == [1, 1]
    assert sorted(source.asked) == ["x", "y"], "each was asked once"
    assert source.clock.slept == []
    assert (found.source, found.stale) == ("a fake", ())


def test_a_query_is_asked_until_it_has_data():
    later = {"x": lambda now: ONE if now >= 7 else [], "y": lambda now: NAN if now < 3 else ONE}
    found, source = run(PLAIN, later)
    assert told(found) == [("data", ""), ("data", "")]
    assert [each.seconds for each in found.results] == [7, 3]
    assert found.seconds == 7
    assert source.asked.count("y") == 4, "nobody asks again once it has data"


def test_without_data_at_the_deadline_it_says_why():
    found, source = run(PLAIN, {"x": [], "y": NAN}, timeout=5)
    assert told(found) == [
        ("unexpected-empty", "nothing is like x"),
        ("unexpected-empty", "2 series with NaN as their only value: there was nothing to divide by"),
    ]
    assert source.clock.now() == 5


def test_infinity_is_a_value():
    found, _ = run(PLAIN, {"x": [({}, math.inf)], "y": ONE})
    assert told(found)[0] == ("data", "")


def test_only_some_reasons_are_looked_up():
    many = dashboard(json_dashboard(*(json_panel(n, f"q{n}") for n in range(EXPLAINED + 2))))
    found, _ = run(many, {f"q{n}": [] for n in range(EXPLAINED + 2)}, timeout=1)
    reasons = [reason for _, reason in told(found)]
    assert reasons[:EXPLAINED] == [f"nothing is like q{n}" for n in range(EXPLAINED)]
    assert reasons[EXPLAINED:] == ["no series"] * 2


def test_an_expected_empty_query_is_proven_and_not_waited_for():
    found, source = run(PLAIN, {"x": [], "y": ONE, "x_total": [], "up": ONE}, expectations(entry(PLAIN)))
    assert told(found) == [("expected-empty", "nobody sends x"), ("data", "")]
    proof = found.results[0].proof
    assert proof is not None and proof.holds
    assert (proof.absent, proof.found, proof.control, proof.controls) == ("x_total", 0, "up", 1)
    assert source.clock.slept == []


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ({"x": [], "x_total": ONE, "up": ONE}, "does not hold: x_total finds 1 series"),
        ({"x": [], "x_total": [], "up": []}, "is not proven: up finds nothing, either"),
        ({"x": ONE, "x_total": ONE, "up": ONE}, "1 series, which the list rules out: nobody sends x"),
        ({"x": ONE, "x_total": [], "up": ONE}, "1 series, which the list rules out"),
    ],
)
def test_an_entry_is_no_excuse(answers: dict[str, Any], says: str):
    found, _ = run(PLAIN, {"y": ONE, **answers}, expectations(entry(PLAIN)))
    [(kind, reason), _] = told(found)
    assert kind == "unexpected-empty" and says in reason


def test_an_optional_entry_allows_data_but_still_needs_its_proof():
    known = expectations(entry(PLAIN, optional=True))
    found, _ = run(PLAIN, {"x": ONE, "y": ONE}, known)
    assert told(found)[0] == ("data", "")
    found, _ = run(PLAIN, {"x": [], "y": ONE, "x_total": ONE, "up": ONE}, known)
    assert told(found)[0][0] == "unexpected-empty"


def test_without_its_excuse_an_optional_query_is_waited_for_as_any_other():
    """Prometheus has just been restarted: what would be counted is found a moment before the query itself has data."""
    later = {"x": lambda now: ONE if now >= 4 else [], "y": ONE, "x_total": ONE, "up": ONE}
    found, _ = run(PLAIN, later, expectations(entry(PLAIN, optional=True)))
    assert told(found)[0] == ("data", "") and found.results[0].seconds == 4
    never, source = run(PLAIN, {**later, "x": []}, expectations(entry(PLAIN, optional=True)), timeout=5)
    assert told(never)[0] == ("unexpected-empty", "nothing is like x") and source.clock.now() == 5


def test_an_entry_for_another_expression_is_stale_and_excuses_nothing():
    old = Expectation("A Dashboard", 1, "A", "000000000000", NO_X)
    found, _ = run(PLAIN, {"x": [], "y": ONE}, expectations(old), timeout=2)
    assert told(found)[0][0] == "unexpected-empty"
    assert found.stale == (old,)


def test_a_refused_query_is_an_error_and_not_asked_again():
    def refuse(now: float):
        raise QueryError("parse error", remedy="correct it", retryable=False)

    found, source = run(PLAIN, {"x": refuse, "y": ONE})
    assert told(found) == [("error", "parse error"), ("data", "")]
    assert source.asked.count("x") == 1


# ── a source that goes away ──


def test_a_source_that_never_answers_is_told_as_such():
    with pytest.raises(QueryError, match="nobody answers"):
        run(PLAIN, {"x": ONE, "y": ONE}, gone=lambda now: True, timeout=10)


def test_a_source_that_comes_back_is_asked_again():
    found, _ = run(PLAIN, {"x": ONE, "y": ONE}, gone=lambda now: now < 4)
    assert told(found) == [("data", ""), ("data", "")]


def test_a_source_that_goes_away_judges_nothing():
    with pytest.raises(QueryError, match="nobody answers"):
        run(PLAIN, {"x": ONE, "y": []}, gone=lambda now: now >= 3, timeout=10)


def test_a_query_that_is_never_answered_judges_nothing():
    def late(now: float):
        raise QueryError("no answer in time", remedy="look at it")

    with pytest.raises(QueryError, match="of 2 queries could not be asked: no answer in time") as caught:
        run(PLAIN, {"x": late, "y": late}, timeout=3)
    assert caught.value.remedy == "look at it"


def test_a_source_that_is_too_slow_is_given_up_at_the_deadline():
    clock = FakeClock()

    def slow(now: float):
        clock.sleep(20)
        return ONE

    many = dashboard(json_dashboard(*(json_panel(n, f"q{n}") for n in range(9))))
    source = FakeSource({f"q{n}": slow for n in range(9)}, clock)
    with pytest.raises(QueryError, match="were not asked in time: a fake is too slow"):
        examine(source, [many], expectations(), scrape_seconds=15, timeout=30, clock=clock)
    assert len(source.asked) < 9


# ── choices ──

SERVICE = json_variable("service", "query_result(services)", regex='/name="(.*)"/')
CHOOSING = dashboard(
    json_dashboard(json_panel(1, 'http{s="$service"}', 'tcp{s="$service"}'), templating={"list": [SERVICE]})
)
CHOICES = (Choice("page", {"service": "page"}), Choice("echo", {"service": "echo"}))
BOTH = [({"name": "page"}, 1.0), ({"name": "echo"}, 1.0)]
NO_TCP = Precondition("no-tcp", "page speaks no TCP", 'tcp_total{s="$service"}', 'http_total{s="$service"}')
PROOF = {'tcp_total{s="page"}': [], 'http_total{s="page"}': ONE}


def choosing() -> Expectations:
    (panel, _), (_, tcp) = CHOOSING.targets()
    filled = Expectation(
        "A Dashboard", panel.id, tcp.ref, tcp.digest, NO_TCP, choice="page", filled_by="echo"
    )
    return expectations(filled, choices=CHOICES)


def test_what_one_choice_cant_fill_is_asked_with_the_next():
    answers = {"services": BOTH, 'http{s="page"}': ONE, 'tcp{s="page"}': [], 'tcp{s="echo"}': ONE, **PROOF}
    found, source = run(CHOOSING, answers, choosing())
    assert told(found) == [("data", ""), ("expected-empty", "page speaks no TCP")]
    assert told(found, choice="echo") == [("data", "")]
    assert 'http{s="echo"}' not in source.asked, "what has data is not asked twice"
    assert [each.classification for each in found.best()] == ["data", "data"]
    assert found.values["A Dashboard", "page"]["service"].options == ("page", "echo")


def test_the_choice_that_should_fill_it_must():
    answers = {"services": BOTH, 'http{s="page"}': ONE, 'tcp{s="page"}': [], 'tcp{s="echo"}': [], **PROOF}
    found, _ = run(CHOOSING, answers, choosing(), timeout=2)
    assert told(found, choice="echo")[0][0] == "unexpected-empty"
    assert [each.classification for each in found.best()] == ["data", "unexpected-empty"]


def test_a_choice_is_waited_for_until_its_list_offers_it():
    answers = {
        "services": lambda now: BOTH if now >= 5 else BOTH[:1],
        'http{s="page"}': ONE,
        'tcp{s="page"}': [],
        'tcp{s="echo"}': ONE,
        **PROOF,
    }
    found, _ = run(CHOOSING, answers, choosing())
    assert told(found, choice="echo") == [("data", "")] and found.seconds == 5


def test_a_choice_that_never_comes_is_the_reason():
    answers = {"services": BOTH[:1], 'http{s="page"}': ONE, 'tcp{s="page"}': [], **PROOF}
    found, _ = run(CHOOSING, answers, choosing(), timeout=2)
    [(kind, reason)] = told(found, choice="echo")
    assert kind == "unexpected-empty" and "its list has page" in reason


def test_a_list_that_grows_is_read_again():
    every = json_variable(
        "source", "query_result(sources)", regex='/name="(.*)"/', includeAll=True, multi=True
    )
    growing = dashboard(json_dashboard(json_panel(1, 'x{s=~"$source"}'), templating={"list": [every]}))
    answers = {
        "sources": lambda now: BOTH if now >= 2 else BOTH[1:],
        'x{s=~"echo"}': [],
        'x{s=~"(page|echo)"}': ONE,
    }
    found, _ = run(growing, answers)
    assert told(found) == [("data", "")]
    assert found.results[0].promql == 'x{s=~"(page|echo)"}'


def test_a_dashboard_that_is_not_understood_is_no_empty_one():
    odd = dashboard(
        json_dashboard(json_panel(1, "x"), templating={"list": [{"name": "v", "type": "groupby"}]})
    )
    with pytest.raises(IstioError, match="groupby"):
        run(odd, {"x": ONE})


# ── drawn again ──


def test_drawing_again_brings_new_values_and_no_other_class():
    answers = {"x": lambda now: [({}, now)], "y": lambda now: [({}, now)] if now < 9 else []}
    found, source = run(PLAIN, answers)
    source.clock.sleep(10)
    again = drawn_again(found, source, clock=source.clock)
    assert told(again) == told(found)
    assert [each.lines[0].points[-1][1] for each in again.results] == [10, 0], (
        "what is gone keeps what it had"
    )
    assert {query.intervals.step for query in source.queries[-2:]} == {5}
    assert {query.intervals.step for query in source.queries[:2]} == {15}


SIDED = dashboard(json_dashboard(json_panel(1, 'x{reporter="destination"}', 'y{reporter=~"source"}')))
OF_SOURCE = {
    'y{reporter=~"source"}': ONE,
    'x{reporter="destination"}': [],
    'istio_requests_total{reporter="destination"}': [],
    'istio_requests_total{reporter!="destination"}': ONE,
}


def test_a_query_for_the_side_that_is_not_kept_is_empty_for_that_reason_and_awaits_nothing():
    found, source = run(SIDED, OF_SOURCE, reporters=("source",))
    assert [kind for kind, _ in told(found)] == ["expected-empty", "data"]
    assert "keeps no series of the reporter destination" in told(found)[0][1] and source.clock.slept == []


def test_where_both_sides_are_kept_an_empty_one_is_a_fault():
    found, _ = run(SIDED, OF_SOURCE)
    assert [kind for kind, _ in told(found)] == ["unexpected-empty", "data"]


def test_that_a_side_is_not_kept_is_proven():
    lies = {**OF_SOURCE, 'istio_requests_total{reporter="destination"}': ONE}
    found, _ = run(SIDED, lies, reporters=("source",))
    assert [kind for kind, _ in told(found)] == ["unexpected-empty", "data"]
